"""Trackers: TensorBoard and Weights & Biases as sinks of the metric rows."""

from __future__ import annotations

import netrc
import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from interface.files import claim, write_text
from interface.progress import say


class Tracker(Protocol):
    def log(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def named(row: dict[str, Any]) -> dict[str, float]:
    """A row's numbers under the reference's names: train_loss, eval_loss, eval_perplexity, learning_rate."""
    prefix = {"loss": f"{row['kind']}_loss", "perplexity": f"{row['kind']}_perplexity"}
    return {prefix.get(name, name): v for name, v in row.items() if isinstance(v, int | float) and name != "step"}


class TensorBoard:
    """Event files in output_dir/tensorboard, without TensorFlow."""

    def __init__(self, output_dir: Path) -> None:
        from tensorboardX import SummaryWriter

        claim(output_dir, "tensorboard")
        self._writer = SummaryWriter(str(output_dir / "tensorboard"))

    def log(self, row: dict[str, Any]) -> None:
        for name, value in named(row).items():
            self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run under output_dir/wandb; offline where there is no key, resumed under the same id."""

    def __init__(self, output_dir: Path, run_name: str, configuration: dict[str, Any]) -> None:
        import wandb

        claim(output_dir, "wandb", "wandb_run_id.txt")
        record = output_dir / "wandb_run_id.txt"
        if not record.is_file():
            write_text(record, secrets.token_hex(4))
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
        if mode == "offline":
            say(f"wandb: no key found, logging offline; `wandb sync {output_dir}/wandb/offline-run-*` uploads it later")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "code-clippy"),
            id=record.read_text().strip(),
            resume="allow",
            name=run_name,
            dir=str(output_dir),
            config=configuration,
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, row: dict[str, Any]) -> None:
        self._run.log({**named(row), "step": row["step"]})

    def close(self) -> None:
        self._run.finish()


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def open_trackers(
    names: tuple[str, ...], output_dir: Path, run_name: str, configuration: dict[str, Any]
) -> list[Tracker]:
    """Start the named trackers."""
    makers: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(output_dir),
        "wandb": lambda: WandB(output_dir, run_name, configuration),
    }
    return [makers[name]() for name in names]
