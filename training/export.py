"""Export: the model that a run ends with, copied from a checkpoint into output_dir itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interface.files import open_atomically, write_json
from interface.progress import say
from training.checkpoints import best_of, checkpoints_in, eval_loss_of, fault_of, step_of

NAME = "exported.json"


def export(output_dir: Path, last: Path, file_names: Iterable[str], *, best: bool) -> dict[str, Any]:
    """Copy the model of the run's best checkpoint, or of `last`, into output_dir; say which, and record it.

    Without an evaluation there is no best, and the last one is taken. Returns what NAME records.
    """
    names = [name for name in file_names if (last / name).is_file()]
    candidates = [*checkpoints_in(output_dir)] if best else []
    chosen = best_of(candidates)
    while chosen is not None and (fault := fault_of(chosen, names)):
        say(f"{chosen.name}, the best by its loss on the validation split, is broken ({fault})")
        candidates.remove(chosen)
        chosen = best_of(candidates)
    source = last if chosen is None else chosen
    for name in names:
        with (source / name).open("rb") as old, open_atomically(output_dir / name) as new:
            shutil.copyfileobj(old, new, 1 << 20)
    loss = eval_loss_of(source)
    kind = "last" if chosen is None else "best"
    record = {"checkpoint": source.name, "step": step_of(source), "eval_loss": loss, "kind": kind}
    write_json(output_dir / NAME, record)
    told = "no evaluation" if loss is None else f"eval loss {loss:.4f}"
    say(f"the model is that of {source.name}, the {kind} checkpoint ({told})")
    return record
