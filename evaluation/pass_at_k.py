"""pass@k: the chance that at least one of k samples passes, estimated from n samples a task.

Source: Evaluating Large Language Models Trained on Code, arXiv:2107.03374, section 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tally:
    """How many samples a task has, and how many of them passed."""

    num_samples: int
    num_passed: int


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Estimate pass@k of one task without bias: 1 - C(n - c, k) / C(n, k), as a product that does not overflow.

    >>> pass_at_k(6, 3, 1), pass_at_k(200, 3, 100)
    (0.4999999999999999, 0.8768844221105527)
    """
    assert 1 <= k <= num_samples and 0 <= num_passed <= num_samples, (num_samples, num_passed, k)
    if num_samples - num_passed < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(num_samples - num_passed + 1, num_samples + 1)))


def mean_pass_at_k(tallies: Iterable[Tally], ks: Sequence[int] = (1, 10, 100)) -> dict[str, float]:
    """The mean over tasks, for every k that all tasks have samples enough for.

    >>> mean_pass_at_k([Tally(10, 1), Tally(2, 0)], ks=(1, 2, 5))
    {'pass@1': 0.04999999999999999, 'pass@2': 0.09999999999999998}
    """
    tasks = list(tallies)
    fewest = min((tally.num_samples for tally in tasks), default=0)
    return {
        f"pass@{k}": float(np.mean([pass_at_k(tally.num_samples, tally.num_passed, k) for tally in tasks]))
        for k in ks
        if k <= fewest
    }


def oracle(tallies: Iterable[Tally]) -> float:
    """The share of tasks of which any sample passed: what a perfect choice among the samples would reach."""
    return float(np.mean([tally.num_passed > 0 for tally in tallies]))
