"""The system calls that a program under test may not make, as two filters in the kernel's classic BPF.

A list of what is refused: on top of namespaces, dropped capabilities and limits it takes away what they leave open
(other processes, sockets, memory that no limit counts) and the parts of the kernel that most escapes went through.
Refused calls fail with EPERM; calls newer than this list do not exist (ENOSYS). The zygote has the first filter, once,
and each program inherits it; the second, short one is each program's own, since what it refuses is what the zygote
makes programs with: the kernel compiles a filter whenever one is put on.  Source of the numbers: the kernel's tables.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# Numbers below 424 differ between machines, those from 424 on do not.
_SAME = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "process_mrelease": 448, "set_mempolicy_home_node": 450,
}  # fmt: skip
NEWEST = 462  # mseal, Linux 6.10
CLONE3 = 435

_X86_64 = {
    "shmget": 29, "shmat": 30, "shmctl": 31, "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50,
    "fork": 57, "vfork": 58, "execve": 59, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68,
    "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "ptrace": 101, "setuid": 105, "setgid": 106, "setreuid": 113,
    "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "setfsuid": 122, "setfsgid": 123,
    "capset": 126, "personality": 135, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "semtimedop": 220, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238, "mq_open": 240,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
    "vmsplice": 278, "move_pages": 279, "accept4": 288, "perf_event_open": 298, "fanotify_init": 300,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320,
    "bpf": 321, "execveat": 322, "userfaultfd": 323, "syslog": 103, "vhangup": 153,
}  # fmt: skip
_AARCH64 = {
    "quotactl": 60, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "vhangup": 58, "vmsplice": 75,
    "acct": 89, "capset": 91, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
    "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "setregid": 143,
    "setgid": 144, "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid": 149, "setfsuid": 151,
    "setfsgid": 152, "setgroups": 159, "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171,
    "mq_open": 180, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "semget": 190, "semctl": 191,
    "semtimedop": 192, "semop": 193, "shmget": 194, "shmctl": 195, "shmat": 196, "socket": 198, "bind": 200,
    "listen": 201, "accept": 202, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219, "execve": 221,
    "swapon": 224, "swapoff": 225, "mbind": 235, "set_mempolicy": 237, "migrate_pages": 238, "move_pages": 239,
    "perf_event_open": 241, "accept4": 242, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip
# machine -> its AUDIT_ARCH, the number of clone, and what is refused
MACHINES = {"x86_64": (0xC000003E, 56, _X86_64), "aarch64": (0xC00000B7, 220, _AARCH64)}

MAKERS = ("fork", "unshare", "setns", "mount", "capset")  # and clone: with them the zygote makes a program's process

_CLONE_THREAD = 0x00010000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_DENY = _ERRNO | errno.EPERM
_LOAD, _EQUAL, _GREATER, _SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JGT, JSET, RET|K
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


class UnknownMachine(Exception):
    """A machine whose system calls are not listed here."""


def zygote_filter(machine: str) -> bytes:
    """The instructions that refuse all but what a program's process is made with.

    clone3's flags lie in memory that a filter cannot read, so it does not exist (ENOSYS) and the C library takes clone.
    """
    if machine not in MACHINES:
        raise UnknownMachine(f"no table of system calls for {machine}; there are those of {', '.join(MACHINES)}")
    arch, _, refused = MACHINES[machine]
    unknown = _ERRNO | errno.ENOSYS
    return _pack(
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls have numbers of their own
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, NEWEST),  # x32's, too, which are those of x86_64 with bit 30 set
        (_RETURN, 0, 0, unknown),
        (_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, unknown),
        *_refusals({*refused.values(), *_SAME.values()} - makers(refused)),
    )


def program_filter(machine: str) -> bytes:
    """The instructions that refuse the rest; a new process, not a new thread: clone differs by CLONE_THREAD."""
    _, clone, refused = MACHINES[machine]
    return _pack(
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_SET, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
        *_refusals(makers(refused)),
    )


def makers(refused: dict[str, int]) -> set[int]:
    return {refused[name] for name in MAKERS if name in refused}


def _refusals(numbers: set[int]) -> list[tuple[int, int, int, int]]:
    """Each jumps over the rest and over the allowing return."""
    jumps = [(_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(sorted(numbers))]
    return [*jumps, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]


def _pack(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(libc: ctypes.CDLL, instructions: bytes) -> None:
    """Filter every call of this process from here on. Needs no_new_privs."""
    holder = _Program(len(instructions) // 8, instructions)
    if libc.prctl(22, 2, ctypes.byref(holder), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
