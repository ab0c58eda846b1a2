"""Learning-rate schedules, in optimizer steps."""

from __future__ import annotations

import optax


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
