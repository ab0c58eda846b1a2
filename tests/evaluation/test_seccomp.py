"""The filters of system calls, run by a small interpreter of its instructions, for both kinds of machine."""

from __future__ import annotations

import errno
import struct

import pytest

from evaluation.sandbox.inside.seccomp import (
    CLONE3,
    MACHINES,
    MAKERS,
    NEWEST,
    UnknownMachine,
    program_filter,
    zygote_filter,
)

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
THREAD = 0x3D0F00  # the flags of a new thread of the C library
FORK = 0x1200011


def decide(instructions: bytes, arch: int, number: int, argument: int = 0) -> int:
    data = struct.pack("<IIQQ", number, arch, 0, argument)
    code = list(struct.iter_unpack("<HBBI", instructions))
    place = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            held = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x45: bool(accumulator & value),
            }[operation]
            place += if_true if held else if_false


def strictest(machine: str, arch: int, number: int, argument: int = 0) -> int:
    """What the kernel makes of both filters: killing before an error before allowing."""
    decisions = {decide(each(machine), arch, number, argument) for each in (zygote_filter, program_filter)}
    return min(decisions, key=lambda decision: (decision != KILLED, decision == ALLOWED))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filters_refuse_processes_sockets_and_privileges_and_let_threads_be(machine):
    arch, clone, refused = MACHINES[machine]
    deny, unknown = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
    for number in refused.values():
        assert strictest(machine, arch, number) == deny
    assert strictest(machine, arch, clone, THREAD) == ALLOWED
    assert strictest(machine, arch, clone, FORK) == deny
    assert strictest(machine, arch, CLONE3) == unknown
    assert strictest(machine, arch, NEWEST + 1) == unknown
    assert strictest(machine, arch, 0x40000000 + refused["execve"]) == unknown
    assert strictest(machine, arch ^ 1, 0) == KILLED
    usual = {"x86_64": (0, 1, 9, 12, 202, 257), "aarch64": (56, 63, 64, 98, 214, 222)}[machine]  # read, mmap, futex...
    assert all(strictest(machine, arch, number) == ALLOWED for number in usual)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_zygotes_own_filter_leaves_it_what_it_makes_programs_with_and_no_more(machine):
    arch, clone, refused = MACHINES[machine]
    allowed = {name for name, number in refused.items() if decide(zygote_filter(machine), arch, number) == ALLOWED}
    assert allowed == set(MAKERS) & set(refused)
    assert decide(zygote_filter(machine), arch, clone, FORK) == ALLOWED


def test_an_unknown_machine_is_refused():
    with pytest.raises(UnknownMachine, match="no table of system calls for riscv64; there are those of x86_64"):
        zygote_filter("riscv64")
