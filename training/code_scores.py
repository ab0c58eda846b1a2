"""Code scores: at every n-th checkpoint the programs that the model writes are judged.

    OUTPUT_DIR/code_scores/step-N/     samples, verdicts, results.json

What judges comes from the command: training does not know of evaluation.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from interface.files import claim, remove_tree
from interface.progress import say
from modeling.config import DecoderConfig
from modeling.table import Params
from training.arguments import TrainingArguments
from training.completions import on_one_device
from training.metrics import MetricLog
from training.summary import RESULTS

FOLDER = "code_scores"


class Judge(Protocol):
    """A benchmark; called with params on one device and a folder to write into, it gives metrics by name.

    `check` is called now and then, and may raise.
    """

    name: str

    def __call__(
        self, config: DecoderConfig, params: Params, tokenizer_dir: Path, folder: Path, check: Callable[[], None]
    ) -> dict[str, float]: ...


class Asked(Exception):
    """A signal asks the run to end."""


class CodeScores:
    """Scores of a run's checkpoints. Whatever goes wrong is said once and ends the scoring, not the run."""

    def __init__(
        self, arguments: TrainingArguments, judge: Judge | None, config: DecoderConfig, tokenizer_dir: Path
    ) -> None:
        self._judge, self._every = judge, arguments.eval_pass_at_k_every
        self._config, self._tokenizer_dir = config, tokenizer_dir
        self._output_dir = Path(arguments.output_dir)
        if judge:
            claim(self._output_dir, FOLDER, RESULTS)

    def take(
        self, step: int, number: int, params: Params, log: MetricLog, stopping: Callable[[], bool], *, last: bool
    ) -> None:
        """Score the run's `number`-th checkpoint, from 1, if its turn has come; the last one's always has."""
        if self._judge is None or (number % self._every and not last) or log.has(step, "code"):
            return

        def check() -> None:
            if stopping():
                raise Asked

        folder = self._output_dir / FOLDER / f"step-{step}"
        try:
            remove_tree(folder)
            metrics = self._judge(self._config, on_one_device(params), self._tokenizer_dir, folder, check)
            log.write({"step": step, "kind": "code", "benchmark": self._judge.name} | metrics)
        except Asked:
            return
        except Exception as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)
            say(f"warning: no scores of code from here on ({said}); training goes on")
            self._judge = None

    def publish(self, step: int) -> None:
        """Put the scores of the model in output_dir beside it, where the card and the report read them."""
        found, published = self._output_dir / FOLDER / f"step-{step}" / RESULTS, self._output_dir / RESULTS
        if found.is_file():
            shutil.copyfile(found, published)
        elif published.is_file() and any(
            path.read_bytes() == published.read_bytes() for path in (self._output_dir / FOLDER).glob(f"*/{RESULTS}")
        ):
            published.unlink()  # of another step's model; what a user put there stays
