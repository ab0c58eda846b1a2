"""One run: whether a run's processes write into one folder and are about to train the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interface.errors import UserError
from training.arguments import TrainingArguments
from training.processes import barrier, count, first_here, gather, rank

# flags whose values may differ between the machines of a run: what they name is compared, or concerns nobody else
OF_THE_MACHINE = {
    "output_dir", "run_name", "model_name_or_path", "config_name", "tokenizer_name", "cache_dir", "data_dir",
    "train_file", "validation_file", "token_cache_dir", "preprocessing_num_workers", "cache_limit_gb", "sample_prompts",
    "eval_pass_at_k_problems",
}  # fmt: skip


class OutputNotShared(UserError):
    """A run's processes do not see one output_dir."""


class ProcessesDiffer(UserError):
    """A run's processes have different flags, models or data."""


def require_seen(checkpoint: Path) -> None:
    """Raises: OutputNotShared where only process 0, which has chosen it, sees a checkpoint."""
    if not checkpoint.is_dir():
        raise _not_shared(str(checkpoint))


def require_one_run(arguments: TrainingArguments, identity: dict[str, Any], checkpoint: Path | None) -> None:
    """Compare this process with process 0, before the long work.

    `identity` is what the parameters and the evaluations depend on. Each process calls it and waits for all.
    Raises: OutputNotShared, ProcessesDiffer.
    """
    if count() == 1:
        return
    if first_here(Path(arguments.output_dir)):
        raise _not_shared(f"what process 0 writes to --output_dir {arguments.output_dir}")
    flags = {f"--{name}": value for name, value in arguments.resolved().items() if name not in OF_THE_MACHINE}
    mine = json.loads(json.dumps(flags | identity | {"checkpoint": checkpoint and checkpoint.name}))
    wanted = gather("run", mine)[0]
    differing = [
        f"{name} is {wanted.get(name)!r} there and {mine.get(name)!r} here"
        for name in sorted(wanted.keys() | mine.keys())
        if wanted.get(name) != mine.get(name)
    ]
    if differing:
        raise ProcessesDiffer(
            f"process {rank()} would not train what process 0 trains: {'; '.join(differing)}. Give all of them the "
            "same flags, model and data"
        )
    barrier("compared")  # nobody writes before all have agreed


def _not_shared(what: str) -> OutputNotShared:
    return OutputNotShared(
        f"process {rank()} does not see {what}: each machine has such a folder of its own. Give one that all of them "
        "see: on NFS, say"
    )
