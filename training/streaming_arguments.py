"""Arguments of run_clm_streaming_flax.py: a run counted in steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from interface.flags import flag
from training.arguments import BadArguments, TrainingArguments
from training.saves import Due, every, never


@dataclass(frozen=True, kw_only=True)
class StreamingArguments(TrainingArguments):
    """What run_clm_streaming_flax.py takes: a run counted in steps."""

    max_steps: int = flag(10_000, "optimizer steps of the run", "optimization")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps < 1:
            raise BadArguments(f"--max_steps is {self.max_steps}; wanted at least 1")
        if (profiled := self.profiled()) and profiled[0] > self.max_steps:
            raise BadArguments(
                f"--profile_steps is {self.profile_steps}; the run ends at step {self.max_steps}. Name some before that"
            )
        if self.save_strategy == "epoch":
            raise BadArguments(
                "--save_strategy epoch: a run counted in steps starts before anybody knows where an epoch ends; give "
                "--save_strategy steps with --save_steps, or use run_clm_apps.py, which counts in epochs"
            )
        if self.load_best_model_at_end and not self.do_eval:
            raise BadArguments("--load_best_model_at_end is by the loss on the validation split; give --do_eval")

    def resolved(self) -> dict[str, Any]:
        warmup_steps = self.warmup_steps or math.ceil(self.warmup_ratio * self.max_steps)
        rest = max(self.max_steps - warmup_steps, 1) if self.lr_scheduler_type == "cosine" else None
        return super().resolved() | {"warmup_steps": warmup_steps, "decay_steps": self.decay_steps or rest}

    def schedule(self) -> dict[str, Any]:
        """In steps alone, for this run's length is known: the same whether its flags or its run.json are given."""
        resolved = self.resolved()
        steps = {name: resolved[name] for name in ("warmup_steps", "decay_steps")}
        return super(StreamingArguments, replace(self, warmup_ratio=0.0, **steps)).schedule()

    def length(self) -> dict[str, float]:
        return {"max_steps": self.max_steps}

    def duration(self, global_batch: int, num_blocks: Callable[[], int]) -> tuple[int, Due]:
        return self.max_steps, never if self.save_strategy == "no" else every(self.save_steps)
