"""Benchmark: problems, how a model is asked for them, how an answer is judged, and what the verdicts come to.

One noun for all benchmarks. A task is asked in turns: `next_prompt` gives each prompt from the answers before it, which
is one prompt for all benchmarks but the conversations of MTPB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from evaluation.pass_at_k import Tally, mean_pass_at_k, oracle
from evaluation.sandbox.jobs import Job, Outcome
from interface.errors import UserError

KS = (1, 10, 100)


class UnknownVariant(UserError):
    """A prompt, split or comparison that a benchmark does not have."""


class Benchmark(ABC):
    """`variant` and `source` go into the results: what changes a score, and where the problems are from."""

    name: str
    variant: Mapping[str, str]
    source: Mapping[str, Any]
    task_ids: Sequence[str]
    stops: Sequence[str] = ()
    modes: Sequence[str] = ("hardened",)  # "reference" where others judge in the program's own process
    numbered: list[str] | None = None  # the tasks by the numbers of a sample file that has no names; None: task_ids
    modules: Sequence[str] = ()  # what programs import beside the standard library, where it is installed

    @abstractmethod
    def next_prompt(self, task_id: str, answers: Sequence[str]) -> str | None:
        """The prompt after these answers to the earlier ones, each as `answer` left it; None where the task is done."""

    @abstractmethod
    def max_new_tokens(self, task_id: str) -> int:
        """How long an answer may be, as published."""

    @abstractmethod
    def job(self, key: Any, task_id: str, completion: str, *, mode: str = "hardened", scale: float = 1.0) -> Job:
        """The judgement of a completion; `scale` stretches the published time limits."""

    def warm(self) -> list[str]:
        """The installed ones of `modules`, for the sandbox to hold ready."""
        return [name for name in self.modules if find_spec(name) is not None]

    def answer(self, text: str) -> str:
        """What counts of a sampled text, which was cut at the stops already."""
        return text

    def completion(self, task_id: str, answers: Sequence[str]) -> str:
        """What a sample file holds of a task's answers."""
        return answers[0]

    def solutions(self, task_id: str) -> Sequence[str]:
        """Completions that the benchmark itself holds for right; their scores are its ceiling."""
        return ()

    def fields(self, outcome: Outcome) -> dict[str, Any]:
        """What a verdict adds to its sample's row: `result`, `passed`, and what `scores` reads."""
        return {"result": str(outcome.detail), "passed": outcome.passed}

    def scores(self, rows: Mapping[str, Sequence[Mapping[str, Any]]], ks: Sequence[int] = KS) -> dict[str, Any]:
        """Metrics over the judged rows of each task."""
        tallies = [Tally(len(task), sum(bool(row["passed"]) for row in task)) for task in rows.values()]
        return {**mean_pass_at_k(tallies, ks), "oracle": oracle(tallies)}


def choose(kind: str, value: str, known: Sequence[str]) -> str:
    """A variant's value.  Raises: UnknownVariant."""
    if value not in known:
        raise UnknownVariant(f"no {kind} {value!r}; wanted one of {', '.join(known)}")
    return value
