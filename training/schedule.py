"""Learning-rate schedules, in optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optax


def make_schedule(numbers: Mapping[str, Any], max_steps: int) -> optax.Schedule:
    """The schedule that a command's arguments describe by its numbers, in a run of `max_steps`."""
    peak, warmup_steps = numbers["peak"], numbers["warmup_steps"]
    if "warmup_ratio" in numbers:
        warmup_steps = math.ceil(numbers["warmup_ratio"] * max_steps)
    if numbers["kind"] == "cosine":
        return warmup_cosine(peak, warmup_steps, numbers.get("decay_steps") or max(max_steps - warmup_steps, 1))
    if numbers["kind"] == "linear":
        return warmup_linear(peak, warmup_steps, max_steps)
    return warmup_constant(peak, warmup_steps)


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


def warmup_constant(peak: float, warmup_steps: int) -> optax.Schedule:
    """Rise linearly from 0 to `peak`, stay there."""
    rise = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([rise, optax.constant_schedule(peak)], [warmup_steps])
