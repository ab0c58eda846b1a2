"""Reranking: of a task's samples keep the one that the model itself finds likeliest, and see whether it passed.

Source: Evaluating Large Language Models Trained on Code, arXiv:2107.03374, section 3.3: the mean log-probability of a
sample's tokens chooses best without any oracle. Ours are of the untempered model, without the end of the completion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.pass_at_k import Tally, mean_pass_at_k, oracle
from interface.errors import UserError


class NoLogProbability(UserError):
    """A sample says nothing of its likelihood, so nothing can be chosen by it."""


@dataclass(frozen=True)
class Ranked:
    """A sample as reranking sees it."""

    mean_log_probability: float | None
    passed: bool


def best_of(samples: Sequence[Ranked], task_id: str = "") -> int:
    """The place of the likeliest sample, the first of equals.  Raises: NoLogProbability.

    >>> best_of([Ranked(-2.0, False), Ranked(-1.0, True), Ranked(-1.0, False)])
    1
    """
    chances = []
    for place, sample in enumerate(samples):
        if sample.mean_log_probability is None or math.isnan(sample.mean_log_probability):
            raise NoLogProbability(
                f"sample {place} of {task_id or 'a task'} has no mean_log_probability; wanted one in every sample. "
                "Samples of `python -m evaluation run` with --backend jax have them"
            )
        chances.append(sample.mean_log_probability)
    return max(range(len(chances)), key=lambda place: chances[place])  # max keeps the first of equals


def rerank(tasks: Mapping[str, Sequence[Ranked]]) -> dict[str, float]:
    """pass@1 of the likeliest of n samples, beside pass@1 of any of them and the oracle's choice."""
    tallies = [Tally(len(samples), sum(sample.passed for sample in samples)) for samples in tasks.values()]
    chosen = [samples[best_of(samples, task_id)].passed for task_id, samples in tasks.items()]
    return {
        "best_mean_log_probability": float(np.mean(chosen)),
        "random": mean_pass_at_k(tallies, (1,))["pass@1"],
        "oracle": oracle(tallies),
    }
