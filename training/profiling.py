"""Profile: a trace of some optimizer steps, written by jax's profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax

from interface.files import claim
from interface.progress import say
from training.arguments import BadArguments
from training.processes import is_primary

FOLDER = "profile"


class Profile:
    """Traces optimizer steps `first` to `last` of --profile_steps, counted from 1, on the primary process.

    Raises: BadArguments where the run ends before them.
    """

    def __init__(self, output_dir: Path, steps: tuple[int, int] | None, done: int, max_steps: int) -> None:
        if steps and steps[0] > max_steps:
            raise BadArguments(
                f"--profile_steps is {steps[0]}:{steps[1]}; the run ends at step {max_steps}. Name some before that"
            )
        left = steps if steps and steps[1] > done else None  # a resumed run is past them, with the same command line
        self._folder = output_dir / FOLDER
        self._steps = left if is_primary() else None
        self._tracing = False
        if self._steps:
            claim(output_dir, FOLDER)

    def begin(self, step: int) -> None:
        """Start the trace where `step` is the first one to trace, or the first that is left of them."""
        if self._steps and not self._tracing and self._steps[0] <= step <= self._steps[1]:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True

    def end(self, step: int, metrics: Any) -> None:
        """End the trace after the last step; waits for it, which no other step is waited for."""
        if self._tracing and self._steps and step >= self._steps[1]:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Write what was traced."""
        if not self._tracing:
            return
        self._tracing, self._steps = False, None
        jax.profiler.stop_trace()
        found = sorted(self._folder.rglob("perfetto_trace.json.gz"))
        say(
            f"wrote a profile to {self._folder}: open {found[-1] if found else 'it'} at https://ui.perfetto.dev, or "
            f"`pip install xprof` and `xprof --logdir {self._folder}`"
        )
