"""Arguments of run_clm_apps.py: a run counted in epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import data_processing
from interface.flags import flag
from training.arguments import BadArguments, TrainingArguments
from training.saves import Due, epoch_ends, every, never


@dataclass(frozen=True, kw_only=True)
class AppsArguments(TrainingArguments):
    """What run_clm_apps.py takes: a run counted in epochs."""

    dataset_name: str | None = flag(
        None, "path of a script of prompts and answers; default: data_processing/apps.py", "data"
    )
    data_dir: str | None = flag(None, "folder of APPS; default: codeparrot/apps from the Hub", "data")
    max_eval_samples: int | None = flag(None, "evaluate on at most this many samples (here: solutions)", "data")
    segment_ids: bool = flag(True, "a document sees no other one in its block, and its positions start at 0", "data")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = flag(
        "linear", "after warmup: cosine, down to a tenth of the peak; linear, down to 0 at the end; constant",
        "optimization",
    )  # fmt: skip
    num_train_epochs: float = flag(3.0, "passes over the training data", "optimization")
    load_best_model_at_end: bool = flag(
        True, "leave the best checkpoint's model in output_dir, by loss on validation, not the last one's", "output"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_train_epochs <= 0:
            raise BadArguments(f"--num_train_epochs is {self.num_train_epochs}; wanted more than 0")
        if self.cache_limit_gb is not None:
            raise BadArguments(
                "--cache_limit_gb is for runs counted in steps; a run counted in epochs reads every token"
            )
        if self.dataset_name is None:
            object.__setattr__(self, "dataset_name", str(Path(data_processing.__file__).with_name("apps.py")))

    def eval_limit(self) -> dict[str, int | None]:
        return {"max_rows": self.max_eval_samples}

    def length(self) -> dict[str, float]:
        return {"num_train_epochs": self.num_train_epochs}

    def duration(self, global_batch: int, num_blocks: Callable[[], int]) -> tuple[int, Due]:
        blocks = num_blocks()
        due = {"steps": every(self.save_steps), "epoch": epoch_ends(blocks, global_batch), "no": never}
        return self.steps_of_epochs(self.num_train_epochs, blocks, global_batch), due[self.save_strategy]

    def steps_of_epochs(self, num_epochs: float, num_blocks: int, global_batch: int) -> int:
        """The optimizer step that ends so many passes over the blocks; the last one is filled up from the next pass."""
        return math.ceil(num_epochs * num_blocks / global_batch - 1e-9)
