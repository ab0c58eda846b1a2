"""Checkpoint writer: each checkpoint is written beside, in the background, and renamed once it is whole.

With several processes each writes its shards, on a disk that all share; process 0 writes the rest and renames. Rotation
renames before it deletes.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from interface.files import claim, remove_tree, sync_folder, sync_tree, write_json
from interface.progress import say
from training.checkpoints import RUN_STATE, TRAIN_STATE, checkpoints_in, finite, outdated
from training.integrity import fingerprints
from training.model_files import ModelFiles
from training.processes import barrier, is_primary
from training.store import Store
from training.train_state import StateWriter, params_on_host


class SaveFailed(OSError):
    """A checkpoint could not be written; those before it are whole."""


class Checkpoints:
    """A run's checkpoints: `save` returns once the state may change, the disk is written behind it."""

    def __init__(
        self,
        output_dir: Path,
        *,
        model: ModelFiles,
        identity: dict[str, Any],
        resolved: dict[str, Any],
        keep: int | None,
        with_train_state: bool,
        when_whole: Callable[[Path], None] | None = None,
        store: Store | None = None,
        evaluated_on: str | None = None,
    ) -> None:
        """`when_whole` is called with each checkpoint that has its name, from the thread that wrote it.

        `store` gets copies of them. `evaluated_on` names the data of their losses: only such of the same compare.
        """
        self.evaluated_on = evaluated_on
        self._output_dir = output_dir
        self._model = model
        self._about = {"identity": identity, "configuration": resolved}
        self._keep = keep
        self._when_whole = when_whole
        self._store = store
        self._states = StateWriter() if with_train_state else None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(
        self,
        step: int,
        state: Any,
        tokens: dict[str, Any] | None = None,
        *,
        eval_loss: float | None = None,
        interval: Sequence[dict[str, float]] = (),
    ) -> Path:
        """Start to write ckpt-`step`; waits for the one before. Every process must call it.

        tokens: where in the corpus this step's tokens start.
        eval_loss: the state's loss on the validation split.
        interval: the metrics of the steps since the last row of metrics.jsonl.
        Raises: SaveFailed where the one before could not be written.
        """
        self.wait()
        partial = self._output_dir / f".ckpt-{step}.partial"
        try:
            if is_primary():
                claim(self._output_dir, f"ckpt-{step}")
                remove_tree(partial)
                partial.mkdir()
            barrier("checkpoint-begun")
            params = params_on_host(self._model.table, state["params"])
            if self._states:
                self._states.start(partial / TRAIN_STATE, state)
        except Exception as error:
            raise self._explain(step, error) from error
        about = {
            "step": step,
            "eval_loss": finite(eval_loss),
            "evaluated_on": self.evaluated_on,
            **self._about,
            "tokens": tokens,
            "interval": list(interval),
        }
        self._thread = threading.Thread(target=self._finish, args=(step, partial, params, about), name="checkpoint")
        self._thread.start()
        return self._output_dir / f"ckpt-{step}"

    def _finish(self, step: int, partial: Path, params: Any, about: dict[str, Any]) -> None:
        try:
            try:
                if params is not None:
                    self._model.write(partial, params)
            finally:
                if self._states:
                    self._states.wait()
            if is_primary():
                write_json(partial / RUN_STATE, about | {"files": fingerprints(partial)})
                sync_tree(partial)
                final = self._output_dir / f"ckpt-{step}"
                remove_tree(final)
                partial.rename(final)
                sync_folder(self._output_dir)
                if self._when_whole is not None:
                    self._when_whole(final)
                self._rotate()
                if self._store is not None:
                    self._store.mirror(self._output_dir)
        except BaseException as error:
            self._failure = self._explain(step, error)
            if is_primary():
                remove_tree(partial)  # its room is wanted

    def _rotate(self) -> None:
        """Delete all but the newest and the best."""
        try:
            for name in outdated(checkpoints_in(self._output_dir), self._keep) if self._keep else []:
                remove_tree(self._output_dir / name)
        except OSError as error:  # somebody reads or writes there; the new one is whole all the same
            say(f"warning: an old checkpoint could not be deleted ({error}); the next save tries again")

    def _explain(self, step: int, error: BaseException) -> BaseException:
        """What went wrong, for the person who can mend it."""
        if not isinstance(error, OSError) and "No space left" not in str(error):
            return error
        cause = getattr(error, "strerror", None) or "No space left on device"
        there = checkpoints_in(self._output_dir)
        return SaveFailed(
            f"ckpt-{step} could not be written to {self._output_dir} ({cause}; "
            f"{shutil.disk_usage(self._output_dir).free / 1e9:.2f} GB are free there). "
            f"{f'The last whole checkpoint is {there[-1].name}' if there else 'There is none before it'}"
        )

    def wait(self) -> None:
        """Wait until what was started is on disk.  Raises: SaveFailed where it could not be."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def finish(self) -> None:
        """Wait until everything is where it belongs.  Raises: SaveFailed, StoreBehind."""
        self.wait()
        if self._store is not None:
            self._store.finish(self._output_dir)

    def close(self) -> None:
        """Wait for what was started, and end."""
        if self._thread is not None:
            self._thread.join()
        if self._states:
            self._states.close()
        self.check()

    def check(self) -> None:
        """Look whether what was started has failed meanwhile.  Raises: SaveFailed."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
