"""Schedule: which completion is made on which device and row, and which prompt is prefilled for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BUCKET = 64  # prompts are padded to a multiple of this, so that a handful of shapes is compiled


@dataclass(frozen=True)
class Job:
    """One completion to make: the tokens that the model sees, how many before them were cut, and its numbers."""

    ids: list[int]
    tokens_cut: int
    task: int
    sample: int

    @property
    def bucket(self) -> int:
        return -(-len(self.ids) // BUCKET) * BUCKET


def rounds(held: Sequence[Sequence[Job]]) -> list[list[tuple[int, list[Job]]]]:
    """Split what each device holds into runs of one prompt, as (first row, jobs); round i has each device's i-th."""
    runs: list[list[tuple[int, list[Job]]]] = []
    for mine in held:
        tasks = sorted({job.task for job in mine})
        runs.append([])
        for task in tasks:
            run = [job for job in mine if job.task == task]
            runs[-1].append((mine.index(run[0]), run))
    most = max(map(len, runs))
    return [[own[i] if i < len(own) else (0, []) for own in runs] for i in range(most)]
