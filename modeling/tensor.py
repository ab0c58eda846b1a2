"""Tensor: a stored array of weights that is read when it is asked for, whole or some of its rows."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from interface.errors import UserError


class CheckpointError(UserError):
    """A model directory is missing, incomplete or does not fit its config."""


class Tensor(NamedTuple):
    """A stored tensor: its shape, and how to read rows [start:stop] of its first axis, all of them where not told."""

    shape: tuple[int, ...]
    read: Callable[..., np.ndarray]


Tensors = dict[str, Tensor]


def stored(path: Path, dtype: np.dtype, at: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """A tensor over numbers that lie plain in a file from byte `at` on; `strides` count numbers.

    Read, not mapped: pages of a mapped file count as this process's memory until the kernel wants them back.
    """

    def read(start: int = 0, stop: int | None = None) -> np.ndarray:
        box = (len(range(shape[0])[start:stop]), *shape[1:]) if shape else ()
        first = at + (start * strides[0] if shape else 0) * dtype.itemsize
        count = 1 + sum((n - 1) * stride for n, stride in zip(box, strides, strict=True)) if prod(box) else 0
        flat = np.fromfile(path, dtype, count, offset=first)
        if len(flat) < count:
            raise CheckpointError(f"{path} ends before a tensor that it lists; fetch or write it again")
        return np.lib.stride_tricks.as_strided(flat, box, [stride * dtype.itemsize for stride in strides])

    return Tensor(shape, read)
