"""The zygote: a warm interpreter that forks one isolated process for each program and kills it when told.

    python -m inside.zygote FD yes|no MACHINE [MODULE ...]

FD is a socket of packets to the worker, `yes` where namespaces can be made here (under bubblewrap), the modules are
imported before the first program. Requests are ("start", limits, output_bytes, guard) with the program's channel as a
descriptor, and ("end",): each start is followed by one end, which kills the process and answers how it ended.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Sequence

from . import codec, isolation, runner, seccomp

# What programs and prompts import most: an import costs milliseconds. Each slows every fork, so no more than these.
WARM = (
    "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime", "enum", "functools", "heapq", "io",
    "itertools", "math", "operator", "random", "re", "string", "sys", "time", "typing", "_sitebuiltins",
)  # fmt: skip
KEPT_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FEW = 64  # descriptors that the zygote may have open; it opens four
CHANNEL = 3  # the one descriptor of a program beside the standard three, which lead to /dev/null


def main(words: list[str]) -> None:
    control = socket.socket(fileno=int(words[0]))
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, 1 << 20)  # once: where the C library has no close_range it takes milliseconds
    namespaces, machine = words[1] == "yes", words[2]
    warm((*WARM, *words[3:]))
    for name in set(os.environ) - set(KEPT_VARIABLES):
        del os.environ[name]
    isolation.renounce_privileges()
    runner.add_exits()
    runner.rehearse()
    own = os.pidfd_open(os.getpid())
    instructions = None
    if namespaces or machine in seccomp.MACHINES:
        seccomp.install(isolation.libc, seccomp.zygote_filter(machine))
        instructions = seccomp.program_filter(machine)
    isolation.limit_all()
    sys.modules["random"].seed(0)  # what draws from it from here on is a program
    gc.collect()
    gc.disable()
    gc.freeze()
    control.send(codec.encode(("ready",)))

    guarded = False
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        if not message:
            return
        (_, limits, output_bytes, guard), channel = codec.decode(message), descriptors[0]
        if guard and not guarded:
            guarded = True
            warm(("inside.guard",))
            gc.freeze()
        process, fault = 0, ""
        try:
            if namespaces:
                isolation.unshare(isolation.NEW_PIDS)
            process = os.fork()
            if process == 0:
                begin(channel, limits, output_bytes, namespaces, instructions)
            if namespaces:
                isolation.return_to_own_pids(own)
        except OSError as error:
            fault = str(error)
        os.close(channel)
        if not control.recv(4096):
            return
        killed, cpu_seconds = False, 0.0
        if process:
            os.kill(process, signal.SIGKILL)
            _, status, usage = os.wait4(process, 0)
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            cpu_seconds = usage.ru_utime + usage.ru_stime
        control.send(codec.encode(("ended", fault, killed, cpu_seconds)))


def warm(names: Sequence[str]) -> None:
    """Import modules for all programs to come.

    What they want done after a fork (random: draw a seed; threading: count threads) is not for programs, which get
    their seed from here and start with one thread, and would take a third of a fork's time.
    """
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        os.register_at_fork = register


def begin(
    channel: int, limits: tuple[int, ...], output_bytes: int, namespaces: bool, instructions: bytes | None
) -> None:
    """Become the process of one program; never returns. Ends without a word where isolation fails: no program ran."""
    try:
        nothing = os.open("/dev/null", os.O_RDWR)  # a description of its own: its flags are no one else's to set or see
        for standard in range(3):
            os.dup2(nothing, standard)
        channel = os.dup(channel) if channel == CHANNEL else channel
        os.dup2(channel, CHANNEL)
        os.closerange(CHANNEL + 1, FEW)
        if not namespaces:
            os.setsid()
        isolation.confine(limits, namespaces, instructions)
        gc.enable()
        runner.Runner(socket.socket(fileno=CHANNEL), output_bytes).serve()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
