"""Sandbox: workers that judge programs side by side."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import self_test
from .bubblewrap import unavailable, zygote_command
from .errors import InfrastructureFailure
from .inside.codec import TRUSTED_BYTES, Unserializable, decode, encode
from .inside.frames import read_frame, write_frame
from .jobs import Job, Outcome

ROOT = Path(__file__).parent.parent.parent  # judges are imported from here
# without what modules want done after forks (see inside/forker.py)
_START = """import os, sys
os.register_at_fork = lambda **_: None
sys.path.insert(0, sys.argv[1])
import socket
from evaluation.sandbox import worker
worker.main(socket.socket(fileno=int(sys.argv[2])))"""
ATTEMPTS = 3  # at a job that meets an infrastructure failure
MAX_FAILURES = 10  # jobs that failed so, after which the rest is not tried
GRACE_SECONDS = 20.0  # beyond its limit, after which a worker counts as dead


class _Worker:
    """A worker's process, as the pool sees it."""

    def __init__(self, warm: Sequence[str], unsafe: bool, hash_seed: int) -> None:
        command = zygote_command(warm, unsafe=unsafe, hash_seed=hash_seed)  # where there is no bubblewrap, no process
        self.socket, theirs = socket.socketpair()
        self.job: Job | None = None
        self.attempt = 0
        self.deadline = 0.0
        words = [sys.executable, "-S", "-s", "-P", "-X", "utf8", "-c", _START, str(ROOT), str(theirs.fileno())]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen(words, pass_fds=(theirs.fileno(),), env=environment, stdin=subprocess.DEVNULL)
        theirs.close()
        write_frame(self.socket, encode(command))

    def wait_ready(self) -> None:
        kind, text = decode(read_frame(self.socket) or encode(("fault", "a worker ended as it started")))
        if kind == "no zygote" and "Traceback" not in text:
            raise unavailable(text)
        if kind != "ready":
            raise InfrastructureFailure(f"the sandbox's worker did not start: {text}")

    def begin(self, job: Job, attempt: int) -> None:
        limits = job.limits
        request = encode((job.judge, float(limits.seconds), limits.as_tuple(), limits.output_bytes, job.traceless))
        payload = encode(job.payload, None, TRUSTED_BYTES)
        self.job, self.attempt = job, attempt
        self.deadline = time.monotonic() + limits.seconds + GRACE_SECONDS
        write_frame(self.socket, request)
        write_frame(self.socket, payload)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()


class Sandbox:
    """A context of workers; `judge` streams jobs through them.

    There is no mode: `reference` is what a judge does that calls `session.check_in_process`. `warm` names modules that
    programs find imported (numpy, say: 0.1 s each otherwise); `hash_seed` decides the order of their sets. With
    `unsafe` there are no namespaces, only processes with limits, and no self-test: for programs that you trust.
    Raises SandboxUnavailable, IsolationIneffective.
    """

    def __init__(
        self, workers: int | None = None, *, warm: Sequence[str] = (), unsafe: bool = False, hash_seed: int = 0
    ) -> None:
        self.num_workers = workers or len(os.sched_getaffinity(0))
        self.warm, self.unsafe, self.hash_seed = tuple(warm), unsafe, hash_seed
        self._workers: list[_Worker] = []

    def __enter__(self) -> Sandbox:
        if self.unsafe:
            print(
                "WARNING: the code that the model wrote runs without isolation, as you, with all your files",
                file=sys.stderr,
            )
        try:
            self._workers = [_Worker(self.warm, self.unsafe, self.hash_seed) for _ in range(self.num_workers)]
            for worker in self._workers:
                worker.wait_ready()
            if not self.unsafe:
                self.self_test()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        while self._workers:
            self._workers.pop().close()

    def self_test(self) -> None:
        """Attack the sandbox from within. Raises IsolationIneffective, naming what is open."""
        self_test.run(self.judge)

    def judge(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Judge jobs as they come, as many at a time as there are workers; outcomes come in any order.

        A job that meets an infrastructure failure is tried ATTEMPTS times, each on a new worker, and then has no
        outcome: the others are judged, and InfrastructureFailure is raised at the end.
        """
        source = iter(jobs)
        failures: list[str] = []
        exhausted = False
        with selectors.DefaultSelector() as selector:
            idle = list(range(len(self._workers)))
            busy: set[int] = set()
            while True:
                while idle and not exhausted and len(failures) < MAX_FAILURES:
                    job = next(source, None)
                    if job is None:
                        exhausted = True
                        break
                    place = idle.pop()
                    self._begin(place, job, 1)
                    busy.add(place)
                    selector.register(self._workers[place].socket, selectors.EVENT_READ, place)
                if not busy:
                    break
                for place in self._next_ready(selector, busy):
                    worker = self._workers[place]
                    selector.unregister(worker.socket)
                    answer = self._answer(worker)
                    if answer[0] == "outcome":
                        key = worker.job.key if worker.job else None
                        worker.job = None
                        busy.remove(place)
                        idle.append(place)
                        yield Outcome(key, *answer[1:])
                    elif self._try_again(place, str(answer[1]), failures):
                        selector.register(self._workers[place].socket, selectors.EVENT_READ, place)
                    else:
                        busy.remove(place)
                        idle.append(place)
        if failures:
            raise InfrastructureFailure(
                f"{len(failures)} jobs could not be judged, each tried {ATTEMPTS} times on a new worker, and have no "
                f"score; what was judged stands. Give the command again when this is mended: {'; '.join(failures[:3])}"
            )

    def _begin(self, place: int, job: Job, attempt: int) -> None:
        with contextlib.suppress(OSError):  # its worker is dead: the empty answer will say so
            self._workers[place].begin(job, attempt)

    def _next_ready(self, selector: selectors.BaseSelector, busy: set[int]) -> list[int]:
        """Workers that have answered, or that are past any answer."""
        deadline = min(self._workers[place].deadline for place in busy)
        ready = [key.data for key, _ in selector.select(max(0.0, deadline - time.monotonic()))]
        now = time.monotonic()
        return ready or [place for place in busy if self._workers[place].deadline <= now]

    def _answer(self, worker: _Worker) -> tuple[Any, ...]:
        if worker.deadline <= time.monotonic():
            return ("fault", f"no answer {GRACE_SECONDS:g} s after the limit")
        try:
            worker.socket.settimeout(GRACE_SECONDS)
            answer = read_frame(worker.socket)
            worker.socket.settimeout(None)
            return decode(answer) if answer else ("fault", "its worker died")
        except (OSError, Unserializable) as error:
            return ("fault", str(error))

    def _try_again(self, place: int, reason: str, failures: list[str]) -> bool:
        """Replace a worker and give the new one the same job, unless it had enough; whether it has."""
        worker = self._workers[place]
        job, attempt = worker.job, worker.attempt
        worker.close()
        self._workers[place] = replacement = _Worker(self.warm, self.unsafe, self.hash_seed)
        replacement.wait_ready()
        assert job is not None
        if attempt == ATTEMPTS:
            failures.append(f"{job.key}: {reason}")
            return False
        self._begin(place, job, attempt + 1)
        return True
