"""Agreement: whether all processes of a run end a loop at the same turn.

Each puts a flag into every batch, and the sum of the flags, which a step computes, is the same for all. They read it
two turns late: by then it has been computed, and nobody waits for a step that was just dispatched.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import jax
import numpy as np

from training.placement import Placement
from training.processes import count
from training.stopping import Stopping


class Agreement:
    """Of one loop. A single process asks nobody, and ends it at once."""

    def __init__(self, stopping: Stopping, placement: Placement) -> None:
        self._stopping = stopping
        self._placement = placement
        self._sums: deque[jax.Array] = deque()

    def flags(self) -> dict[str, Any]:
        """What a batch carries of this process; none of a single one."""
        return {} if count() == 1 else {"flags": self._placement.flag(self._stopping.asked)}

    def reached(self, flags: jax.Array) -> bool:
        """Whether to end after a turn whose flags sum to `flags`."""
        if count() == 1:
            return self._stopping.asked
        self._sums.append(flags)
        return len(self._sums) > 2 and bool(np.asarray(self._sums.popleft()))
