"""Blocks: the batch of a step as a pure function of (seed, step, token files).

Position p of the endless stream of blocks is block `permutation(seed, epoch, p // W)[p % W]` of window `p // W`.
The order does not depend on when a window was written, on the number of devices or of processes, so resuming at step
k needs nothing but k: no block is lost and none repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from data_processing.token_files import TokenFiles, Wait

Batch = dict[str, np.ndarray]  # tokens, targets int32 [B, T]; loss_weights float32 [B, T]; rows int32 [B] to train


@lru_cache(maxsize=8)
def permutation(seed: int, epoch: int, window: int, size: int) -> np.ndarray:
    """The order of a window's blocks in an epoch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, window]))).permutation(size)


class Blocks:
    """The training order over a split's token files.

    `wait` is called while a window is not there yet; it returns after a moment or raises.
    """

    def __init__(self, files: TokenFiles, seed: int, global_batch: int, wait: Wait) -> None:
        self.files = files
        self.seed = seed
        self.global_batch = global_batch
        self._wait = wait
        self._num_blocks: int | None = None

    def batch(self, step: int) -> Batch:
        """The global batch of optimizer step `step`, from 0: arrays [global_batch, T], and the rows' numbers."""
        first = step * self.global_batch
        batch = stack([self.files.block(*self.locate(p)) for p in range(first, first + self.global_batch)])
        return batch | {"rows": np.arange(self.global_batch, dtype=np.int32)}

    def locate(self, position: int) -> tuple[int, int]:
        """The (window, block in it) of a position; waits until the window is there."""
        W = self.files.identity.window_blocks
        while True:
            if self._num_blocks is None:
                self._num_blocks = self.files.num_blocks()
            total = self._num_blocks
            if total is not None:
                epoch, within = divmod(position, total)
                window = within // W
                return window, int(permutation(self.seed, epoch, window, min(W, total - window * W))[within % W])
            # Still growing: only the first epoch can be meant, and only its last window may hold fewer than W blocks.
            window = position // W
            if self.files.window_path(window + 1).is_file():
                return window, int(permutation(self.seed, 0, window, W)[position % W])
            self._wait()


def in_order(files: TokenFiles, batch_size: int) -> Iterator[Batch]:
    """Every block of complete token files once, in order; the last batch is filled up with rows of weight 0."""
    total = files.num_blocks()
    assert total is not None, "evaluation reads complete token files"
    W = files.identity.window_blocks
    for first in range(0, total, batch_size):
        rows = [files.block(*divmod(b, W)) for b in range(first, min(first + batch_size, total))]
        while len(rows) < batch_size:
            tokens, targets, weights = rows[-1]
            rows.append((tokens, targets, np.zeros_like(weights)))
        yield stack(rows)


def stack(rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Batch:
    """Join blocks into the arrays of a batch."""
    tokens, targets, weights = (np.stack(part) for part in zip(*rows))
    return {"tokens": tokens, "targets": targets, "loss_weights": weights}
