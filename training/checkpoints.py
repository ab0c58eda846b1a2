"""Checkpoints of a run: `output_dir/ckpt-N/`, whole whenever it has that name.

    ckpt-N/config.json, model.safetensors, tokenizer...   the model in Hugging Face's layout
    ckpt-N/train_state/                                   params, optimizer state, step (training.train_state)
    ckpt-N/run_state.json                                 step, loss on the validation split, what the run depends on,
                                                          its configuration, where in the corpus the step's tokens
                                                          start, the metrics of an interval that goes on after
                                                          it, and each file's size and checksum

training.checkpoint_writer writes them; here they are found, judged and read.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from interface.errors import UserError
from interface.files import write_json
from interface.progress import say
from training.integrity import fault_in
from training.processes import gather, is_primary
from training.train_state import restore_state

RUN_STATE = "run_state.json"
TRAIN_STATE = "train_state"


class ResumeRefused(UserError):
    """A checkpoint does not belong to the run that was asked for, or cannot be gone on from."""


def checkpoints_in(output_dir: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; whole when they got their names, which `fault_of` asks again."""
    return sorted((p for p in Path(output_dir).glob("ckpt-*") if is_checkpoint(p.name)), key=number_of)


def is_checkpoint(name: str) -> bool:
    return re.fullmatch(r"ckpt-\d+", name) is not None


def number_of(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint of an output_dir is named for, whatever is in it."""
    return int(checkpoint.name.split("-")[1])


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that a checkpoint's state has behind it, whatever its name is."""
    return int(run_state_of(checkpoint)["step"])


def run_state_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says about its run."""
    state: dict[str, Any] = json.loads((checkpoint / RUN_STATE).read_text())
    return state


def place_of(checkpoint: Path) -> dict[str, Any] | None:
    """Where in the corpus the tokens of a checkpoint's step start, for a machine that does not have them."""
    place: dict[str, Any] | None = run_state_of(checkpoint)["tokens"]
    return place


def interval_of(checkpoint: Path) -> list[dict[str, float]]:
    """The metrics of the steps since the last row of metrics.jsonl."""
    steps: list[dict[str, float]] = run_state_of(checkpoint)["interval"]
    return steps


def eval_loss_of(checkpoint: Path) -> float | None:
    """A checkpoint's loss on the validation split; None where there was no evaluation, or it was not finite."""
    loss: float | None = _readable(checkpoint).get("eval_loss")
    return loss


def _readable(checkpoint: Path) -> dict[str, Any]:
    try:
        return run_state_of(checkpoint)
    except (OSError, ValueError):  # broken: it is no candidate for anything
        return {}


def note_eval_loss(checkpoint: Path, loss: float, evaluated_on: str | None) -> None:
    """Record an evaluation that a signal had cut off before the checkpoint was written."""
    found = {"eval_loss": finite(loss), "evaluated_on": evaluated_on}
    write_json(checkpoint / RUN_STATE, run_state_of(checkpoint) | found)


def finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None


def best_of(checkpoints: Sequence[Path]) -> Path | None:
    """The checkpoint of the least loss on the validation split, the earliest of equals; None where none has one."""
    best = _least([_readable(path) for path in checkpoints])
    return None if best is None else checkpoints[best]


def outdated(checkpoints: Sequence[Path], keep: int) -> list[str]:
    """The names of those, oldest first, that are neither among the `keep` newest nor the best."""
    return outdated_states([(path.name, _readable(path)) for path in checkpoints], keep)


def outdated_states(states: Sequence[tuple[str, dict[str, Any]]], keep: int) -> list[str]:
    """`outdated` of checkpoints by name and run state."""
    best = _least([state for _, state in states])
    return [name for place, (name, _) in enumerate(states[:-keep]) if place != best]


def _least(states: Sequence[dict[str, Any]]) -> int | None:
    """Which has the least loss, of those that were evaluated on what the newest of them was: others do not compare."""
    scored = [(state["eval_loss"], place) for place, state in enumerate(states) if state.get("eval_loss") is not None]
    if not scored:
        return None
    on = states[scored[-1][1]].get("evaluated_on")
    return min((loss, place) for loss, place in scored if states[place].get("evaluated_on") == on)[1]


def fault_of(checkpoint: Path, names: Sequence[str] | None = None) -> str | None:
    """What keeps a checkpoint, or only these of its files, from being whole; None where nothing does."""
    try:
        recorded = run_state_of(checkpoint)["files"]
    except (OSError, ValueError) as error:
        return f"{RUN_STATE} cannot be read: {error}"
    except KeyError:
        return f"{RUN_STATE} lists no files"
    return fault_in(checkpoint, recorded, names)


def find_checkpoint(output_dir: Path, wanted: str) -> Path | None:
    """The checkpoint to go on from: a folder by name, or with "auto" the newest whole one with a train state, if any.

    Process 0 decides for all.  Raises: ResumeRefused where a folder was named and is no such checkpoint, or where
    there are checkpoints and none is whole.
    """
    found: Path | None = None
    failure: ResumeRefused | None = None
    if is_primary():
        try:
            found = _newest(output_dir) if wanted == "auto" else _named(Path(wanted).expanduser())
        except ResumeRefused as error:
            failure = error
    mine = -2 if failure else -1 if found is None else number_of(found) if wanted == "auto" else 0
    decided = gather("checkpoint", mine)[0]
    if failure or decided == -2:
        raise failure or ResumeRefused("process 0 found no checkpoint to go on from; what it said tells why")
    if wanted != "auto":
        return Path(wanted).expanduser()
    return output_dir / f"ckpt-{decided}" if decided >= 0 else None


def _newest(output_dir: Path) -> Path | None:
    broken = []
    for path in reversed(checkpoints_in(output_dir)):
        fault = fault_of(path)
        if fault:
            broken.append(f"{path.name} is broken ({fault})")
        elif (path / TRAIN_STATE).is_dir():
            if broken:
                say(f"{'; '.join(broken)}: going on from {path.name}")
            return path
    if broken:
        raise ResumeRefused(
            f"{output_dir} holds no whole checkpoint with a train state: {'; '.join(broken)}. Bring one back, or start "
            "again with --overwrite_output_dir and without --resume_from_checkpoint"
        )
    return None


def _named(path: Path) -> Path:
    if not (path / TRAIN_STATE).is_dir() or not (path / RUN_STATE).is_file():
        raise ResumeRefused(
            f"{path} holds no {TRAIN_STATE}/ and {RUN_STATE}; wanted a ckpt-N folder that was written with "
            "--save_optimizer true, or auto"
        )
    if fault := fault_of(path):
        raise ResumeRefused(f"{path} is broken ({fault}); name another checkpoint, or give auto")
    return path


def check_same_run(checkpoint: Path, identity: dict[str, Any], allowed: Sequence[str] = ()) -> None:
    """Refuse a checkpoint of another run, naming every difference that is not allowed.  Raises: ResumeRefused."""
    saved = run_state_of(checkpoint)["identity"]
    wanted = json.loads(json.dumps(identity))
    names = sorted((saved.keys() | wanted.keys()) - {"shards"})  # the batches do not depend on them
    for name in allowed:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise ResumeRefused(
                f"--allow_changes names {name!r}, on which no run depends; "
                + (f"did you mean {near[0]}?" if near else f"it takes {', '.join(names)}")
            )
    differing = {
        name: f"{name} was {saved.get(name)!r}, is now {wanted.get(name)!r}"
        for name in names
        if saved.get(name) != wanted.get(name)
    }
    refused = [name for name in differing if name not in allowed]
    if refused:
        raise ResumeRefused(
            f"{checkpoint} is of another run: {'; '.join(differing[name] for name in refused)}. Give the flags that it "
            f"was made with, or another --output_dir; --allow_changes {','.join(differing)} goes on all the same"
        )
    for said in differing.values():
        say(f"going on from {checkpoint.name} although {said}")


def restore(checkpoint: Path, abstract_state: Any) -> Any:
    """Read a train state into the shapes, types and places of `abstract_state`.  Raises: ResumeRefused."""
    try:
        state = restore_state(checkpoint / TRAIN_STATE, abstract_state)
    except Exception as error:  # Orbax raises many kinds
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise ResumeRefused(
            f"{checkpoint / TRAIN_STATE} does not fit this run or this release ({cause}); give the flags and the "
            "versions that it was made with, or another checkpoint"
        ) from error
    jax.block_until_ready(state)
    return state
