"""Checkpoints of a run: `output_dir/ckpt-N/`, whole whenever it has that name.

    ckpt-N/config.json, model.safetensors, tokenizer...   the model in Hugging Face's layout
    ckpt-N/train_state/                                   params, optimizer state, step (Orbax)
    ckpt-N/run_state.json                                 step, what the run depends on, its configuration, and where
                                                          in the corpus the step's tokens start

Each is written beside, in the background, and renamed. Rotation renames before it deletes.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from interface.errors import UserError
from interface.files import claim, remove_tree, sync_folder, sync_tree, write_json
from modeling.checkpoint import Model, save
from modeling.config import DecoderConfig

RUN_STATE = "run_state.json"
TRAIN_STATE = "train_state"


class ResumeRefused(UserError):
    """A checkpoint does not belong to the run that was asked for, or cannot be gone on from."""


def checkpoints_in(output_dir: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    found = [p for p in Path(output_dir).glob("ckpt-*") if re.fullmatch(r"ckpt-\d+", p.name)]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def find_checkpoint(output_dir: Path, wanted: str) -> Path | None:
    """The checkpoint to go on from: a folder by name, or with "auto" the newest that holds a train state, if any.

    Raises: ResumeRefused where a folder was named and is no such checkpoint.
    """
    if wanted == "auto":
        usable = [path for path in checkpoints_in(output_dir) if (path / TRAIN_STATE).is_dir()]
        return usable[-1] if usable else None
    path = Path(wanted).expanduser()
    if not (path / TRAIN_STATE).is_dir() or not (path / RUN_STATE).is_file():
        raise ResumeRefused(
            f"{path} holds no {TRAIN_STATE}/ and {RUN_STATE}; wanted a ckpt-N folder that was written with "
            "--save_optimizer true, or auto"
        )
    return path


def check_same_run(checkpoint: Path, identity: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run, naming every difference.  Raises: ResumeRefused."""
    saved = json.loads((checkpoint / RUN_STATE).read_text())["identity"]
    wanted = json.loads(json.dumps(identity))
    differing = [
        f"{name} was {saved.get(name)!r}, is now {wanted.get(name)!r}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name) and name != "shards"  # the batches do not depend on them
    ]
    if differing:
        raise ResumeRefused(
            f"{checkpoint} is of another run: {'; '.join(differing)}. Give the flags that it was made with, "
            "or another --output_dir"
        )


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that a checkpoint's state has behind it."""
    return int(json.loads((checkpoint / RUN_STATE).read_text())["step"])


def place_of(checkpoint: Path) -> dict[str, Any] | None:
    """Where in the corpus the tokens of a checkpoint's step start, for a machine that does not have them."""
    place: dict[str, Any] | None = json.loads((checkpoint / RUN_STATE).read_text()).get("tokens")
    return place


def restore(checkpoint: Path, abstract_state: Any) -> Any:
    """Read a train state into the shapes, types and places of `abstract_state`.  Raises: ResumeRefused."""
    with ocp.StandardCheckpointer() as reader:
        try:
            return reader.restore((checkpoint / TRAIN_STATE).absolute(), abstract_state)
        except Exception as error:  # Orbax raises many kinds for a file that is cut short
            cause = next(iter(str(error).splitlines()), type(error).__name__)
            raise ResumeRefused(
                f"{checkpoint / TRAIN_STATE} cannot be read ({cause}); remove {checkpoint} to go on from the "
                "checkpoint before it"
            ) from error


class Checkpoints:
    """Writer of a run's checkpoints: `save` returns once the state is copied, the disk is written behind it."""

    def __init__(
        self,
        output_dir: Path,
        *,
        config: DecoderConfig,
        tokenizer_dir: Path,
        eos_token_id: int,
        identity: dict[str, Any],
        resolved: dict[str, Any],
        keep: int | None,
        with_train_state: bool,
    ) -> None:
        self._output_dir = output_dir
        self._config = config
        self._tokenizer_dir = tokenizer_dir
        self._eos_token_id = eos_token_id
        self._identity = identity
        self._resolved = resolved
        self._keep = keep
        self._with_train_state = with_train_state
        self._orbax = ocp.StandardCheckpointer()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, step: int, state: Any, tokens: dict[str, Any] | None = None) -> Path:
        """Start to write ckpt-`step`; waits for the one before. Raises what went wrong with that one.

        `tokens` is where in the corpus this step's tokens start.
        """
        self.wait()
        name = f"ckpt-{step}"
        claim(self._output_dir, name)
        partial = self._output_dir / f".{name}.partial"
        remove_tree(partial)
        partial.mkdir()
        params = jax.tree.map(
            lambda leaf: np.array(leaf, copy=True), state["params"]
        )  # the next step reuses its memory
        if self._with_train_state:
            self._orbax.save((partial / TRAIN_STATE).absolute(), state)  # copies, then writes in the background
        self._thread = threading.Thread(target=self._finish, args=(step, partial, params, tokens), name="checkpoint")
        self._thread.start()
        return self._output_dir / name

    def _finish(self, step: int, partial: Path, params: Any, tokens: dict[str, Any] | None) -> None:
        try:
            save(
                partial,
                Model(self._config, params),
                tokenizer_dir=self._tokenizer_dir,
                eos_token_id=self._eos_token_id,
            )
            about = {"identity": self._identity, "configuration": self._resolved}
            write_json(partial / RUN_STATE, {"step": step, **about, "tokens": tokens})
            self._orbax.wait_until_finished()
            sync_tree(partial)
            final = self._output_dir / f"ckpt-{step}"
            remove_tree(final)
            partial.rename(final)
            sync_folder(self._output_dir)
            for old in checkpoints_in(self._output_dir)[: -self._keep] if self._keep else []:
                remove_tree(old)
        except BaseException as error:
            self._failure = error

    def wait(self) -> None:
        """Wait until what was started is on disk. Raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        self.wait()
        self._orbax.close()
