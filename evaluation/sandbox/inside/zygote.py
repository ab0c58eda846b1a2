"""The zygote: a warm interpreter in bubblewrap whose children are isolated, one program each.

    python -m inside.zygote STARTS ORDERS yes|no MACHINE [MODULE ...]

STARTS and ORDERS are sockets of packets to the worker, `yes` where namespaces can be made here (under bubblewrap), the
modules are imported before the first program. A start is (limits, output_bytes) with the program's channel as a
descriptor; orders are the forker's (forker.py), which kill the program and answer how it ended.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from functools import partial

from . import codec, forker, isolation, runner, seccomp

# What programs and prompts import most: an import costs milliseconds. Each slows every fork, so no more than these.
WARM = (
    "bisect", "collections", "contextlib", "copy", "enum", "functools", "heapq", "io", "itertools", "math", "operator",
    "random", "re", "string", "sys", "time", "typing", "_sitebuiltins",
)  # fmt: skip
KEPT_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FEW = 64  # descriptors that the zygote may have open; it opens five
CHANNEL = 3  # the one descriptor of a program beside the standard three, which lead to /dev/null


def main(words: list[str]) -> None:
    starts, orders = (socket.socket(fileno=int(word)) for word in words[:2])
    os.closerange(3, starts.fileno())
    os.closerange(orders.fileno() + 1, 1 << 20)  # once: where the C library has no close_range it takes milliseconds
    namespaces, machine = words[2] == "yes", words[3]
    forker.warm((*WARM, *words[4:]))
    for name in set(os.environ) - set(KEPT_VARIABLES):
        del os.environ[name]
    isolation.renounce_privileges()
    runner.add_exits()
    runner.rehearse()
    fork = partial(isolation.fork_into_own_pids, os.pidfd_open(os.getpid())) if namespaces else os.fork
    instructions = None
    if namespaces or machine in seccomp.MACHINES:
        seccomp.install(isolation.libc, seccomp.zygote_filter(machine))
        instructions = seccomp.program_filter(machine)
    isolation.limit_all()
    sys.modules["random"].seed(0)  # what draws from it from here on is a program
    forker.serve(orders, fork, partial(begin, starts, namespaces, instructions))


def begin(starts: socket.socket, namespaces: bool, instructions: bytes | None) -> None:
    """Become the process of one program; never returns. Ends without a word where isolation fails: no program ran."""
    message, (channel,) = forker.receive_start(starts, 1)
    limits, output_bytes = codec.decode(message)
    forker.confirm_start(starts)
    starts.close()
    nothing = os.open("/dev/null", os.O_RDWR)  # a description of its own: its flags are no one else's to set or see
    for standard in range(3):
        os.dup2(nothing, standard)
    os.dup2(channel, CHANNEL)  # which `starts` had when the channel came, so it is not the channel itself
    os.closerange(CHANNEL + 1, FEW)
    if not namespaces:
        os.setsid()
    isolation.confine(limits, namespaces, instructions)
    gc.enable()
    runner.Runner(socket.socket(fileno=CHANNEL), output_bytes).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
