"""Isolation of one program: namespaces, limits, capabilities and system calls of a process that is about to run it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct

from .seccomp import install

NEW_MOUNTS, NEW_IPC, NEW_PIDS = 0x00020000, 0x08000000, 0x20000000
_NO_SUID, _NO_DEVICES = 2, 4
_PARENT_DEATH, _DROP_BOUNDING, _NO_NEW_PRIVILEGES = 1, 24, 38  # of prctl
_NOT_DUMPABLE = 4
_STACK_BYTES = 8 << 20

libc = ctypes.CDLL(None, use_errno=True)
_prctl, _unshare = libc.prctl, libc.unshare


def checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    checked(_unshare(flags), "unshare")


def fork_into_own_pids(own: int) -> int:
    """os.fork whose child is process 1 of a namespace of its own; `own` is a pidfd of this process."""
    unshare(NEW_PIDS)
    process = os.fork()
    if process:
        checked(libc.setns(own, NEW_PIDS), "setns")  # else the next child would go where this one was
    return process


def die_with_parent() -> None:
    checked(_prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")


def renounce_privileges() -> None:
    """What the zygote and its children do without: programs that grant privileges, and capabilities through them."""
    checked(_prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    for capability in range(64):
        if _prctl(_DROP_BOUNDING, capability, 0, 0, 0):
            break  # past the kernel's last, or there is nothing to drop for an ordinary user outside a namespace


def limit_all() -> None:
    """The limits that are the same for every program; the zygote has them, and its children inherit them."""
    for which, value in (
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_STACK, _STACK_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 256),
    ):
        limit(which, value)


def limit(which: int, value: int) -> None:
    """Set a limit for good, at most as high as it is."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def confine(limits: tuple[int, ...], namespaces: bool, instructions: bytes | None) -> None:
    """Bind this process to the limits (cpu seconds, memory, file bytes, threads) and the zygote's own, for good.

    With namespaces it gets mounts and System V IPC of its own and an empty /tmp in memory, where it stands afterwards.
    """
    cpu_seconds, memory_bytes, file_bytes, num_threads = limits
    if namespaces:
        unshare(NEW_MOUNTS | NEW_IPC)
        options = f"size={file_bytes},nr_inodes=1024,mode=1777".encode()
        checked(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", _NO_SUID | _NO_DEVICES, options), "mounting /tmp")
        os.chdir("/tmp")
    limit(resource.RLIMIT_CPU, cpu_seconds)
    limit(resource.RLIMIT_FSIZE, file_bytes)
    limit(resource.RLIMIT_NPROC, num_threads)
    limit(resource.RLIMIT_AS, memory_bytes)
    drop_capabilities()
    if instructions is not None:
        install(libc, instructions)


def drop_capabilities() -> None:
    header = struct.pack("<Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    checked(libc.capset(header, bytes(24)), "capset")
