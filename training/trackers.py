"""Trackers: TensorBoard and Weights & Biases as sinks of the metric rows and of the sampled completions.

A tracker is no part of the training: one that fails in the middle of a run is dropped, and the run goes on.
"""

from __future__ import annotations

import netrc
import os
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from interface.errors import UserError
from interface.files import claim, write_text
from interface.progress import say
from training.arguments import TrainingArguments
from training.processes import is_primary

WANDB_INIT_SECONDS = 30.0  # a server that does not answer: offline instead
WANDB_FINISH_SECONDS = 120.0  # at the end, for what is not uploaded yet; it stays on disk
BY_KIND = ("loss", "perplexity", "bits_per_byte")  # what train and eval rows both have


class TrackerFailed(UserError):
    """A tracker cannot be started."""


class Tracker(Protocol):
    """A place that metrics are sent to; whatever it raises, the run goes on."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics.jsonl."""

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows of samples.jsonl of one step."""

    def close(self) -> None:
        """Hand over what is still held; in bounded time."""


def named(row: Mapping[str, Any]) -> dict[str, float]:
    """A row's numbers under the reference's names: train_loss, eval_loss, eval_perplexity, learning_rate."""
    prefix = {name: f"{row['kind']}_{name}" for name in BY_KIND}
    return {prefix.get(name, name): v for name, v in row.items() if isinstance(v, int | float) and name != "step"}


class TensorBoard:
    """Event files in output_dir/tensorboard, without TensorFlow.

    Written by the calling thread: tensorboardX's own writer has a thread that dies of a full disk in silence, and the
    run then waits for its queue for ever.
    """

    def __init__(self, output_dir: Path, resumed_at: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        claim(output_dir, "tensorboard")
        folder = output_dir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{secrets.token_hex(4)}")
        if resumed_at:  # what an earlier process wrote of these steps and later ones is not shown any more
            self._write(resumed_at + 1, session_log=SessionLog(status=SessionLog.START))

    def _write(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **what))

    def log(self, row: Mapping[str, Any]) -> None:
        from tensorboardX import summary

        for name, value in named(row).items():
            self._write(row["step"], summary=summary.scalar(name, value))
        self._writer.flush()

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import summary

        for number, row in enumerate(samples):
            code = "".join(f"    {line}\n" for line in (row["prompt"] + row["completion"]).split("\n"))
            self._write(row["step"], summary=summary.text(f"samples/{number}", code))  # four spaces: code in markdown
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run under output_dir/wandb; offline where there is no key or no answer, resumed under the same id."""

    def __init__(self, output_dir: Path, run_name: str, configuration: Mapping[str, Any]) -> None:
        import wandb

        claim(output_dir, "wandb", "wandb_run_id.txt")
        record = output_dir / "wandb_run_id.txt"
        if not record.is_file():
            write_text(record, secrets.token_hex(4))
        start = partial(
            wandb.init,
            project=os.environ.get("WANDB_PROJECT", "code-clippy"),
            id=record.read_text().strip(),
            resume="allow",
            name=run_name,
            dir=str(output_dir),
            config=dict(configuration),
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=WANDB_INIT_SECONDS, finish_timeout=WANDB_FINISH_SECONDS
            ),
        )
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
        why = "no key found"
        try:
            self._run = start(mode=mode)
        except Exception as error:  # wandb raises many kinds: no network, a key that is not taken, no answer in time
            if mode == "offline":
                raise
            why = f"no run could be opened online ({_first_line(error)})"
            wandb.teardown()  # else its service takes the id for one in use
            mode = "offline"
            self._run = start(mode=mode)
        if mode == "offline":
            runs = f"{shlex.quote(f'{output_dir}/wandb')}/offline-run-*"
            say(f"wandb: {why}, logging offline; `wandb sync {runs}` uploads it later")
        self._run.define_metric("*", step_metric="step")
        self._table = wandb.Table

    def log(self, row: Mapping[str, Any]) -> None:
        self._run.log({**named(row), "step": row["step"]})

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        columns = ["step", "prompt", "completion"]
        table = self._table(columns=columns, data=[[row[name] for name in columns] for row in samples])
        self._run.log({"samples": table, "step": samples[0]["step"]})

    def close(self) -> None:
        self._run.finish()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class Trackers:
    """The trackers of a run by name; one that raises is dropped, with one warning."""

    def __init__(self, trackers: Mapping[str, Tracker] | None = None) -> None:
        self._trackers = dict(trackers or {})

    def log(self, row: Mapping[str, Any]) -> None:
        self._each(lambda tracker: tracker.log(row))

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        self._each(lambda tracker: tracker.show(samples))

    def close(self) -> None:
        self._each(lambda tracker: tracker.close())
        self._trackers.clear()

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # whatever it is, it is no reason to end a run
                del self._trackers[name]
                say(
                    f"warning: the tracker {name} has failed ({_first_line(error)}) and gets nothing more; training "
                    "goes on, and metrics.jsonl has every row"
                )


def open_trackers(arguments: TrainingArguments, resumed_at: int = 0) -> Trackers:
    """Start the trackers that --report_to names; before the long work. Only the primary process has any.

    Raises: TrackerFailed.
    """
    output_dir = Path(arguments.output_dir)
    resolved = arguments.resolved()
    makers: dict[str, Callable[[], Tracker]] = {
        "tensorboard": lambda: TensorBoard(output_dir, resumed_at),
        "wandb": lambda: WandB(output_dir, resolved["run_name"], resolved),
    }
    opened: dict[str, Tracker] = {}
    for name in arguments.trackers() if is_primary() else ():
        try:
            opened[name] = makers[name]()
        except UserError:
            raise
        except Exception as error:
            raise TrackerFailed(
                f"the tracker {name} cannot be started ({_first_line(error)}); mend it, or leave it out of --report_to"
            ) from error
    return Trackers(opened)
