"""Hub push: a run's checkpoints and its last model go to a repository of the Hugging Face Hub while the run goes on.

What a push sends is pinned first, in a folder of hard links that has the repository's layout, so that rotation may
delete what it likes meanwhile. The push is a process of its own, which can be ended at any moment. At most one is under
way and one waits for it, the newest; that one fails costs a line in the log, unless it is the last.

    --hub_strategy end               the model and its companions, once, when the run is done
                   every_save        the same after each checkpoint too
                   checkpoint        and last-checkpoint/, the newest checkpoint
                   all_checkpoints   and every ckpt-N/ that is there when a push begins
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, NamedTuple

from interface.errors import NotPushed
from interface.progress import say
from interface.push import PushRefused, full_id, open_repository, push_all, push_and_tell
from interface.workers import start_process
from modeling.adapter_files import is_adapter
from modeling.hub import TOKENIZER_FILES
from training.arguments import TrainingArguments
from training.checkpoints import RUN_STATE, TRAIN_STATE, checkpoints_in

MODEL_FILES = ("config.json", "generation_config.json", *TOKENIZER_FILES, "model*.safetensors", "*.index.json",
               "adapter_config.json", "adapter_model.safetensors")  # fmt: skip
COMPANIONS = ("README.md", "figure-*.png", "report.html", "metrics.jsonl")  # of output_dir, as they are at that moment
LAST_CHECKPOINT = "last-checkpoint"
GRACE_SECONDS = 5.0  # for the push that is under way when a run is asked to stop; a spot machine has 30 in all


class _Push(NamedTuple):
    name: str  # ckpt-N, or "the model"
    command: str  # that makes up for it
    folder: Path  # what is sent, pinned
    replaced: Sequence[str]
    checkpoints: frozenset[str]  # whole folders in it


class HubPush:
    """The pushes of one run, from its main process."""

    def __init__(self, output_dir: Path, repo_id: str, strategy: str, with_optimizer: bool, private: bool) -> None:
        """Open the repository.  Raises: PushRefused where the token may not write there."""
        self.repo_id = full_id(repo_id, tell=say)
        self.url = open_repository(self.repo_id, private=private, tell=say)
        self._output_dir = output_dir
        self._strategy = strategy
        self._with_optimizer = with_optimizer
        self._sent: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: _Push | None = None
        self._current: _Push | None = None
        self._thread: threading.Thread | None = None
        self._process: BaseProcess | None = None
        self._ending = False
        self._failure: str | None = None  # of the push that ended last

    @classmethod
    def of(cls, configuration: dict[str, Any]) -> HubPush:
        """Those of a run by its resolved configuration.  Raises: PushRefused."""
        return cls(
            Path(configuration["output_dir"]),
            configuration["hub_model_id"] or configuration["run_name"],
            configuration["hub_strategy"],
            configuration["hub_push_optimizer"],
            configuration["hub_private_repo"],
        )

    def __enter__(self) -> HubPush:
        for left in self._output_dir.glob(".push-*.partial"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give what is under way a few seconds, then end it, and say what was not pushed."""
        if self._thread is not None:
            self._thread.join(GRACE_SECONDS)
        with self._lock:
            self._ending = True
            left = [push for push in (self._current, self._waiting) if push is not None]
            if self._process is not None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()
        for late in left:
            say(f"{late.name} was not pushed to {self.url}; this does it: {late.command}")
            shutil.rmtree(late.folder, ignore_errors=True)

    def saved(self, checkpoint: Path) -> None:
        """Push a checkpoint that is whole, as the strategy says; returns at once and never raises."""
        if self._strategy == "end":
            return
        try:
            self._ask(self._pin(checkpoint))
        except Exception as error:  # a full disk, or what nobody thought of: the run is worth more than a push
            say(f"{checkpoint.name} is not pushed to {self.url}: {error}")

    def finish(self) -> None:
        """Push the model of output_dir and wait for it.  Raises: NotPushed."""
        last = self._pin(None)
        self._ask(last)
        say(f"waiting for the last push to {self.url}; where it is broken off, this does it: {last.command}")
        assert self._thread is not None, "it was asked for"
        self._thread.join()
        if self._failure is not None:
            raise NotPushed(
                f"the run is done and its model is whole in {self._output_dir}, but it was not pushed to {self.url}: "
                f"{self._failure}\nThis does it: {last.command}"
            )

    def now(self, checkpoint: str | None) -> str:
        """Push a checkpoint by its name, or the model of output_dir; return the commit's URL.  Raises: PushRefused."""
        folder = self._output_dir / checkpoint if checkpoint else self._output_dir
        if not (folder / "config.json").is_file() and not is_adapter(folder):
            names = ", ".join(path.name for path in checkpoints_in(self._output_dir)) or "none"
            raise PushRefused(
                f"{folder} holds no model; wanted one of the checkpoints there ({names}), by --checkpoint"
            )
        pinned = self._pin(folder if checkpoint else None)
        try:
            return push_all(pinned.folder, self.repo_id, message=pinned.name, replaced=pinned.replaced, tell=say)
        finally:
            shutil.rmtree(pinned.folder, ignore_errors=True)

    def _pin(self, checkpoint: Path | None) -> _Push:
        """Link what a push of a checkpoint, or of output_dir's model, is to send."""
        model_dir = checkpoint or self._output_dir
        files = {path.name: path for name in MODEL_FILES for path in model_dir.glob(name)}
        files |= {path.name: path for name in COMPANIONS for path in self._output_dir.glob(name)}
        whole = checkpoints_in(self._output_dir)
        folders: dict[str, Path] = {}
        if self._strategy == "checkpoint" and (checkpoint or whole):
            folders = {LAST_CHECKPOINT: checkpoint or whole[-1]}
        if self._strategy == "all_checkpoints":
            folders = {path.name: path for path in whole if path.name not in self._sent}
        for name, folder in folders.items():
            files |= {f"{name}/{inside}": folder / inside for inside in self._whole(folder)}
        pinned = Path(mkdtemp(prefix=".push-", suffix=".partial", dir=self._output_dir))
        for name, path in files.items():
            _link(path, pinned / name)
        which = ["--checkpoint", checkpoint.name] if checkpoint else []
        command = [sys.executable, "-m", "training", "push", "--run_dir", str(self._output_dir), *which]
        return _Push(
            checkpoint.name if checkpoint else "the model",
            shlex.join(command),
            pinned,
            list(folders),
            frozenset(folders),
        )

    def _whole(self, folder: Path) -> Iterator[Path]:
        """The files of a checkpoint, by their place in it; the optimizer's state only where it was asked for."""
        kept = (RUN_STATE, *((TRAIN_STATE,) if self._with_optimizer else ()))
        for name in (*MODEL_FILES, *kept):
            for path in folder.glob(name):
                inside = path.rglob("*") if path.is_dir() else [path]
                yield from (file.relative_to(folder) for file in inside if file.is_file())

    def _ask(self, wanted: _Push) -> None:
        with self._lock:
            passed, self._waiting = self._waiting, wanted
            if self._thread is None or self._current is None:
                self._current, self._waiting = wanted, None
                self._thread = threading.Thread(target=self._work, name="hub", daemon=True)
                self._thread.start()
        if passed is not None:
            say(f"{passed.name} is not pushed: {wanted.name} is newer, and the push before them is not done")
            shutil.rmtree(passed.folder, ignore_errors=True)

    def _work(self) -> None:
        """Push what was asked for, then what waits, until nothing does."""
        wanted = self._current
        while wanted is not None:
            try:
                failure = self._send(wanted)
            except Exception as error:  # no process to be had, say: this thread has to go on all the same
                failure = str(error) or type(error).__name__
            done = wanted
            with self._lock:
                if self._ending:
                    return
                self._failure = failure
                if failure is None:
                    self._sent |= done.checkpoints
                # from here on another thread may take over, where nothing waits
                wanted = self._current = self._waiting
                self._waiting = None
            if failure is not None:
                say(f"{done.name} was not pushed to {self.url}: {failure}")
            shutil.rmtree(done.folder, ignore_errors=True)

    def _send(self, wanted: _Push) -> str | None:
        """Push in a process and wait for its end; returns why it failed, if it did."""
        receiving, sending = _pipe()
        with receiving:
            with sending, self._lock:
                if self._ending:
                    return "the run ended"
                self._process = start_process(
                    push_and_tell, sending, str(wanted.folder), self.repo_id, wanted.name, wanted.replaced
                )
            failure: str | None = "the process that pushed was ended from outside"
            try:
                while True:
                    kind, text = receiving.recv()
                    if kind != "refused":
                        say(text)
                    if kind != "told":
                        failure = text if kind == "refused" else None
            except EOFError:
                pass
        self._process.join()
        return failure


def open_hub(arguments: TrainingArguments) -> HubPush | None:
    """The pushes of a run that is to push, its repository opened.  Raises: PushRefused."""
    return HubPush.of(arguments.resolved()) if arguments.push_to_hub else None


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it: what is appended to, and all on a file system without links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name != "metrics.jsonl":
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)


def _pipe() -> tuple[Connection, Connection]:
    from multiprocessing import get_context

    receiving, sending = get_context("spawn").Pipe(duplex=False)
    return receiving, sending
