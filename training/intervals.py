"""Intervals: means over logging intervals, written one interval late so that training never waits for a line.

A thread waits for the last step of each interval and notes when it was done. Nobody else asks the devices for anything
between two evaluations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from interface.progress import Steps, say
from modeling.cost import training_flops
from training.arguments import TrainingArguments
from training.checkpoints import interval_of
from training.metrics import MetricLog, loss_metrics, peak_memory
from training.peak import peak_flops
from training.preparation import Run
from training.skips import Skips, was_skipped

Values = tuple[list[dict[str, Any]], Any, float]  # each step's metrics, the parameters' norm, when they were there


class _Interval(NamedTuple):
    step: int  # the last one
    values: Future[Values]
    carried: int  # how many of its first steps an earlier part of the run has done
    waited: float  # seconds for batches
    paused: float  # seconds that were no training


class Intervals:
    """The metrics of the steps since the last line, and the line that waits to be written."""

    def __init__(self, arguments: TrainingArguments, run: Run, log: MetricLog, bar: Steps) -> None:
        self._log = log
        self._bar = bar
        self._arguments = arguments
        self._tokens_a_step = run.global_batch * arguments.block_size
        self._flops_a_token = training_flops(run.config, arguments.block_size, lora=run.files.lora)
        self._peak = peak_flops(jax.devices(), arguments.peak_tflops)
        self._skips = Skips(arguments.max_skipped_steps)
        self._norm = jax.jit(optax.tree.norm)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        # of an interval in which a checkpoint was written, the run that goes on from it has the first steps too
        self._open: list[dict[str, Any]] = interval_of(run.checkpoint) if run.checkpoint else []
        self._carried = len(self._open)
        self._waited = self._paused = 0.0
        self._closed: _Interval | None = None
        self._mark = time.monotonic()  # when the last step of the interval before was done

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Take note of a step that was just started."""
        self._open.append(metrics)

    def open_steps(self) -> list[dict[str, float]]:
        """The metrics of the steps since the last interval's end, for a checkpoint; waits for them."""
        return [{name: np.asarray(v).item() for name, v in step.items()} for step in jax.device_get(self._open)]

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the time that the loop waits for a batch."""
        started = time.monotonic()
        yield
        self._waited += time.monotonic() - started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no training and is left out of the pace; waits for the steps before.  Raises: Diverged."""
        self.flush()
        jax.block_until_ready(self._open)
        started = time.monotonic()
        yield
        self._paused += time.monotonic() - started

    def close(self, step: int, params: Any) -> None:
        """End the interval at `step`, which left `params`; write the one before.  Raises: Diverged."""
        self.flush()
        values = self._reader.submit(_read, self._open, self._norm(params))
        self._closed = _Interval(step, values, self._carried, self._waited, self._paused)
        self._open, self._carried, self._waited, self._paused = [], 0, 0.0, 0.0

    def flush(self) -> None:
        """Write the interval that waits to be written.  Raises: Diverged."""
        if self._closed is None:
            return
        interval, self._closed = self._closed, None
        steps, parameter_norm, ready = interval.values.result()
        seconds = max(ready - self._mark - interval.paused, 1e-9)
        self._mark = ready
        pace = self._tokens_a_step * (len(steps) - interval.carried) / seconds
        useful = [values for values in steps if not was_skipped(values)] or steps
        row = {
            "step": interval.step,
            "kind": "train",
            **loss_metrics(*(math.fsum(v[name] for v in useful) for name in ("loss_sum", "weight", "bytes"))),
            "learning_rate": float(steps[-1]["learning_rate"]),
            "gradient_norm": float(useful[-1]["gradient_norm"]),
            "parameter_norm": float(parameter_norm),
            "tokens_per_second": pace,
            "mfu": pace * self._flops_a_token / self._peak if self._peak else None,
            "data_wait": interval.waited / seconds,
            "tokens": self._tokens_a_step * interval.step,
            "skipped": int(steps[-1]["skipped"]),
        }
        if not self._arguments.skip_memory_metrics:
            row |= peak_memory(jax.local_devices())
        self._log.write(row)
        say(
            f"step {interval.step:6d}  loss {row['loss']:.4f}  lr {row['learning_rate']:.3e}  "
            f"grad norm {row['gradient_norm']:.3f}  {pace:,.0f} tokens/s  "
            + (f"MFU {row['mfu']:.1%}  " if self._peak else "")
            + (f"{row['skipped']} skipped  " if row["skipped"] else "")
            + f"{self._bar.time_left(interval.step)} left"
        )
        for number, values in enumerate(steps, interval.step - len(steps) + 1):
            self._skips.see(number, values)

    def end(self) -> None:
        """End the thread."""
        self._reader.shutdown()


def _read(steps: list[dict[str, jax.Array]], parameter_norm: jax.Array) -> Values:
    jax.block_until_ready((steps, parameter_norm))
    ready = time.monotonic()
    return *jax.device_get((steps, parameter_norm)), ready
