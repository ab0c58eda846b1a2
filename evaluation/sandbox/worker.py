"""A worker: one judge and one program at a time, each forked from a process that is warm.

Runs as a process of its own, started by the pool; it forks the trusted judges itself and has the zygote
(inside/zygote.py) fork the programs. It has one thread and imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

from .bubblewrap import start_zygote, unavailable
from .errors import CandidateError, CandidateGone, CandidateTimeout, NotStarted, SandboxUnavailable
from .inside.codec import Unserializable, decode, encode
from .inside.frames import read_frame, write_frame
from .session import Session

START_SECONDS = 60.0  # a zygote that imports pandas and scikit-learn on a busy machine
END_SECONDS = 10.0  # the kernel takes a process and its namespaces away
JUDGE_MEMORY = 2 << 30
_MAX_RESULT = 64 << 20
_WARM = ("random", "math", "typing", "hashlib", "re", "copy", "string")  # what tests import

_libc = ctypes.CDLL(None, use_errno=True)


class Fault(Exception):
    """Something of ours broke; the job has no outcome and this worker is to be replaced."""


class Zygote:
    """The process that forks programs, and the channel to the one that runs."""

    def __init__(self, warm: list[str], unsafe: bool) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with tempfile.TemporaryFile() as errors:
            with contextlib.suppress(subprocess.SubprocessError):  # what was said is in the file
                self.process = start_zygote(theirs.fileno(), errors.fileno(), warm, unsafe=unsafe)
            theirs.close()
            self.control.settimeout(START_SECONDS)
            if not self.control.recv(4096):
                errors.seek(0)
                said = errors.read().decode("utf-8", "replace")[-2000:]
                raise unavailable(said) if "Traceback" not in said else Fault(f"the zygote failed: {said}")
        self.control.settimeout(END_SECONDS)
        self.running = False

    def start(self, limits: tuple[int, ...], output_bytes: int) -> socket.socket:
        """Have a program's process made; its channel."""
        channel, theirs = socket.socketpair()
        socket.send_fds(self.control, [encode(("start", limits, output_bytes))], [theirs.fileno()])
        theirs.close()
        self.running = True
        return channel

    def end(self) -> float:
        """Kill the program that runs; its CPU seconds."""
        self.running = False
        self.control.send(encode(("end",)))
        answer = self.control.recv(4096)
        if not answer:
            raise Fault("the zygote is gone")
        _, fault, cpu_seconds = decode(answer)
        if fault:
            raise Fault(f"the zygote could not start a program: {fault}")
        return float(cpu_seconds)


def main(host: socket.socket, warm: list[str], unsafe: bool) -> None:
    """Answer the pool's jobs until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's affair
    try:
        zygote = Zygote(warm, unsafe)
    except (SandboxUnavailable, Fault, OSError) as error:
        kind = "unavailable" if isinstance(error, SandboxUnavailable) else "fault"
        write_frame(host, encode((kind, str(error))))
        return
    for name in _WARM:
        importlib.import_module(name)
    write_frame(host, encode(("ready", "")))
    gc.collect()
    gc.freeze()
    while request := read_frame(host):
        name, payload, seconds, limits, output_bytes = decode(request)
        start = time.monotonic()
        try:
            status, detail, cpu_seconds = judge(host, zygote, resolve(name), payload, seconds, limits, output_bytes)
        except (Fault, OSError, ImportError, AttributeError) as error:
            write_frame(host, encode(("fault", f"{type(error).__name__}: {error}")))
            return
        write_frame(host, encode(("outcome", status, detail, time.monotonic() - start, cpu_seconds), None, _MAX_RESULT))


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
            elif kind == "restart":
                cpu_seconds += zygote.end()
                channel = zygote.start(limits, output_bytes)
                socket.send_fds(control, [b"c"], [channel.fileno()])
                channel.close()
            else:
                raise Fault(fields[0])
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        control.close()
        if zygote.running:
            used = zygote.end()
    cpu_seconds += used
    if verdict[0] == "gone":  # killed by the kernel at its limit of CPU time, or ended by itself
        verdict = ("timed out", "timed out") if used >= 0.9 * limits[0] else ("failed", verdict[1])
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
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (JUDGE_MEMORY, JUDGE_MEMORY))
        random.seed(0)
        channels = [channel]

        def open_channel() -> socket.socket:
            if channels:
                return channels.pop()
            write_frame(control, encode(("restart",)))
            return socket.socket(fileno=socket.recv_fds(control, 1, 1)[1][0])

        try:
            status, detail = function(Session(open_channel), payload)
            message: tuple[Any, ...] = ("verdict", status, detail)
        except CandidateTimeout:
            message = ("verdict", "timed out", "timed out")
        except CandidateGone as error:
            message = ("verdict", "gone", f"failed: {error}")
        except CandidateError as error:
            message = ("verdict", "failed", f"failed: {error}")
        except NotStarted as error:
            message = ("fault", str(error))
        except BaseException:
            message = ("fault", f"the judge raised an error of its own:\n{traceback.format_exc()}")
        write_frame(control, encode(message, None, _MAX_RESULT))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[3:], sys.argv[2] == "unsafe")
