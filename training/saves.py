"""Saves: after which optimizer steps a checkpoint is written. The last step of a run always is one of them."""

from __future__ import annotations

from collections.abc import Callable

Due = Callable[[int], bool]  # whether a checkpoint is due once so many steps are done


def every(steps: int) -> Due:
    return lambda done: done % steps == 0


def epoch_ends(num_blocks: int, global_batch: int) -> Due:
    """The steps that complete an epoch: epoch e ends within step ceil(e * num_blocks / global_batch)."""

    def completes_one(done: int) -> bool:
        return done * global_batch // num_blocks > (done - 1) * global_batch // num_blocks

    return completes_one


def never(done: int) -> bool:
    return False
