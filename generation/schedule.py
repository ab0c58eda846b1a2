"""Schedule: which completion is made on which device and row, and which prompt is prefilled for it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

BUCKET = 64  # prompts are padded to a multiple of this, so that a handful of shapes is compiled


@dataclass(frozen=True)
class Job:
    """One completion to make: the tokens that the model sees, how many before them were cut, and its place.

    It draws from `name` and `sample`, so that a prompt's samples do not change with the prompts before it.
    """

    ids: list[int]
    tokens_cut: int
    task: int
    name: str
    sample: int

    @property
    def numbers(self) -> tuple[int, int]:
        return zlib.crc32(self.name.encode()), self.sample

    @property
    def bucket(self) -> int:
        return -(-len(self.ids) // BUCKET) * BUCKET


def groups(queue: Sequence[Job], width: int) -> list[list[Job]]:
    """The prompts of a queue, each by its first job, in the groups of `width` that are prefilled together."""
    firsts: dict[int, Job] = {}
    for job in queue:
        firsts.setdefault(job.task, job)
    prompts = list(firsts.values())
    return [prompts[first : first + width] for first in range(0, len(prompts), width)]


def spans(batch: Sequence[Job], group: Sequence[Job]) -> list[tuple[int, int]]:
    """The rows of a batch that belong to each prompt of a group, as (first, one past the last); (0, 0) for none."""
    rows = [[row for row, job in enumerate(batch) if job.task == prompt.task] for prompt in group]
    return [(own[0], own[-1] + 1) if own else (0, 0) for own in rows]
