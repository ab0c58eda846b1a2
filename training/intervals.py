"""Intervals: means over logging intervals, written one interval late so that logging never waits for a step."""

from __future__ import annotations

import time

import jax

from interface.progress import Steps, say
from training.arguments import TrainingArguments
from training.metrics import MetricLog, peak_memory


class Intervals:
    """The metrics of the steps since the last line, and the line that waits to be written."""

    def __init__(self, log: MetricLog, bar: Steps, tokens_a_step: int, arguments: TrainingArguments) -> None:
        self._log = log
        self._bar = bar
        self._tokens_a_step = tokens_a_step
        self._arguments = arguments
        self._open: list[dict[str, jax.Array]] = []
        self._closed: tuple[int, list[dict[str, jax.Array]]] | None = None
        self._mark = time.monotonic()

    def add(self, metrics: dict[str, jax.Array]) -> None:
        self._open.append(metrics)

    def close(self, step: int) -> None:
        """End the interval at `step`; write the one before."""
        self.flush()
        if self._open:
            self._closed = (step, self._open)
            self._open = []

    def restart_clock(self) -> None:
        """Leave out of the pace what was no training."""
        self._mark = time.monotonic()

    def flush(self) -> None:
        """Write the interval that waits to be written."""
        if self._closed is None:
            return
        step, steps = self._closed
        self._closed = None
        values = jax.device_get(steps)
        now = time.monotonic()
        weight = sum(float(v["weight"]) for v in values)
        row = {
            "step": step,
            "kind": "train",
            "loss": sum(float(v["loss"]) * float(v["weight"]) for v in values) / max(weight, 1e-9),
            "learning_rate": float(values[-1]["learning_rate"]),
            "gradient_norm": float(values[-1]["gradient_norm"]),
            "tokens_per_second": self._tokens_a_step * len(values) / max(now - self._mark, 1e-9),
            "tokens": self._tokens_a_step * step,
            "skipped": int(values[-1]["skipped"]),
        }
        self._mark = now
        if not self._arguments.skip_memory_metrics:
            row |= peak_memory(jax.local_devices())
        self._log.write(row)
        say(
            f"step {step:6d}  loss {row['loss']:.4f}  lr {row['learning_rate']:.3e}  "
            f"grad norm {row['gradient_norm']:.3f}  {row['tokens_per_second']:,.0f} tokens/s  "
            f"{self._bar.time_left(step)} left"
        )
