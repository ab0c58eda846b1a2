"""Skips: optimizer steps that changed nothing, and the end of a run that takes nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from interface.errors import UserError


class Diverged(UserError):
    """Too many steps in a row had nothing that could be learnt from."""


def was_skipped(metrics: Mapping[str, Any]) -> bool:
    """Whether a step changed nothing, by its metrics: the rule of training.step.train_step."""
    return not (math.isfinite(metrics["gradient_norm"]) and metrics["weight"] > 0)


class Skips:
    """Counts the steps in a row that changed nothing.  `limit` of them are too many; 0: never."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row: list[Mapping[str, Any]] = []

    def see(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Take note of a step's metrics.  Raises: Diverged."""
        self._in_a_row = [*self._in_a_row, metrics] if self._limit and was_skipped(metrics) else []
        if self._limit and len(self._in_a_row) == self._limit:
            empty = sum(not seen["weight"] > 0 for seen in self._in_a_row)
            why = "a batch without weight" if empty == self._limit else "gradients that are not finite"
            raise Diverged(
                f"steps {step - self._limit + 1} to {step} had {why} and changed nothing. Checkpoints hold the state "
                "before them: go on from one with a lower --learning_rate or with --dtype float32, or look at the data "
                "of these steps; --max_skipped_steps sets how many in a row are too many (0: any number may be)"
            )
