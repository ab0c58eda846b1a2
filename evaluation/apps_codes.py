"""Result codes of an APPS sample, one a test, and the metrics over them.

-2: the program cannot be built (the whole result is [-2]); -1: the test raised or ran out of time; False; True.
The first published scorer took the mean of these numbers and asked numpy whether all were true: -1 and -2 are, so a
model whose every program failed to compile solved every problem. Here a test passes only where its code is True.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.apps import NOT_BUILT, RAISED
from evaluation.pass_at_k import Tally, mean_pass_at_k

Code = int | bool

DIFFICULTIES = ("introductory", "interview", "competition")


def passes(code: Code) -> bool:
    return code > 0


def strict(codes: Sequence[Code]) -> bool:
    """Whether a sample passes all of its tests."""
    return all(map(passes, codes))


def test_case_average(codes: Sequence[Code]) -> float:
    """The share of a sample's tests that it passes.

    >>> test_case_average([-2]), test_case_average([-1, True]), strict([-2, -2]), strict([-1, True])
    (0.0, 0.5, False, False)
    """
    return sum(map(passes, codes)) / len(codes)


def scores(results: Mapping[str, Sequence[Sequence[Code]]], ks: Sequence[int] = (1, 10, 100)) -> dict[str, Any]:
    """Metrics of the samples of some problems: each problem counts alike, each sample of it too.

    With one sample a problem the two averages are the official ones. A compile or a run-time error counts once a
    sample, however many tests it struck.
    """
    samples = [codes for problem in results.values() for codes in problem]
    tallies = [Tally(len(problem), sum(map(strict, problem))) for problem in results.values()]
    return {
        "problems": len(results),
        "samples": len(samples),
        "compile_errors": sum(NOT_BUILT in codes for codes in samples),
        "runtime_errors": sum(RAISED in codes for codes in samples),
        "test_case_average": float(
            np.mean([np.mean([test_case_average(codes) for codes in problem]) for problem in results.values()])
        ),
        "strict_accuracy": mean_pass_at_k(tallies, (1,))["pass@1"],
        **mean_pass_at_k(tallies, ks),
    }


def scores_by_difficulty(
    results: Mapping[str, Sequence[Sequence[Code]]], difficulty: Mapping[str, str], ks: Sequence[int] = (1, 10, 100)
) -> dict[str, dict[str, Any]]:
    """`scores` of all problems, and of those of each difficulty that occurs."""
    found = {"all": scores(results, ks)}
    for level in sorted({difficulty[task] for task in results}, key=_hardness):
        found[level or "unknown"] = scores({task: results[task] for task in results if difficulty[task] == level}, ks)
    return found


def _hardness(level: str) -> tuple[int, str]:
    return (DIFFICULTIES.index(level) if level in DIFFICULTIES else len(DIFFICULTIES), level)
