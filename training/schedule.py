"""Learning-rate schedules, in optimizer steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optax


def make_schedule(numbers: Mapping[str, Any], max_steps: int) -> optax.Schedule:
    """The schedule that a command's arguments describe by its numbers."""
    if numbers["kind"] == "cosine":
        return warmup_cosine(numbers["peak"], numbers["warmup_steps"], numbers["decay_steps"])
    return warmup_linear(numbers["peak"], numbers["warmup_steps"], max_steps)


def warmup_cosine(peak: float, warmup_steps: int, decay_steps: int) -> optax.Schedule:
    """Rise linearly from 0 to `peak`, fall along a cosine of `decay_steps` to a tenth of it, stay there.

    The reference's --decay_steps counts from the end of warmup; optax's counts from the start.
    """
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=peak,
        warmup_steps=warmup_steps,
        decay_steps=warmup_steps + decay_steps,
        end_value=peak / 10,
    )


def warmup_linear(peak: float, warmup_steps: int, max_steps: int) -> optax.Schedule:
    """Rise linearly from 0 to `peak`, fall linearly to 0 at `max_steps` (run_clm_apps.py of the reference)."""
    rise = optax.linear_schedule(0.0, peak, warmup_steps)
    fall = optax.linear_schedule(peak, 0.0, max(max_steps - warmup_steps, 1))
    return optax.join_schedules([rise, fall], [warmup_steps])
