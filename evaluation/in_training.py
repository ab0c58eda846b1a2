"""Scores in the middle of a training run: what the training commands pass to it for --eval_pass_at_k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evaluation import named_benchmarks
from evaluation.backends import Answer, Asked, Backend, Sampling, sampled
from evaluation.commands import Judging
from evaluation.sampling import sample
from evaluation.score import require_sandbox, score_samples
from generation.sampler import Sampler, Settings
from interface.choices import BenchmarkName, Precision
from modeling.config import DecoderConfig
from modeling.table import Params
from tokenizer_patch.tokenizer import Tokenizer

SEED = 0


class PassAtK:
    """A benchmark, ready to score params. The sandbox is tried at once: a run should not find out at its first save.

    Raises: CannotJudge, and what reading the problems raises.
    """

    def __init__(self, name: BenchmarkName, problems: str | None, num_samples: int, dtype: Precision) -> None:
        self.name: str = name
        self._benchmark = named_benchmarks.load(name, problems)
        self._how = Judging(benchmark=name, problems=problems, ceiling=False, bleu=False)
        self._num_samples, self._dtype = num_samples, dtype
        # Codex's temperatures: a low one where only pass@1 is asked for
        temperature = 0.2 if num_samples < 10 else 0.8
        self._sampling = Sampling(temperature, 0.95, 0, SEED, tuple(self._benchmark.stops))
        require_sandbox(f"--eval_pass_at_k {name}: ")

    def __call__(
        self, config: DecoderConfig, params: Params, tokenizer_dir: Path, folder: Path, check: Callable[[], None]
    ) -> dict[str, float]:
        """Sample and judge; params lie on one device. Samples, verdicts and results go into `folder`.

        `check` is called between two batches of samples and after each verdict, and may raise.
        """
        backend = _Live(config, params, tokenizer_dir, self._dtype)
        folder.mkdir(parents=True, exist_ok=True)
        samples = sample(
            self._benchmark, backend, self._sampling, folder,
            task_ids=self._benchmark.task_ids, num_samples=self._num_samples,
            max_new_tokens=None, settings={"num_samples": self._num_samples}, on_sample=lambda count: check(),
        )  # fmt: skip
        about = {"num_samples": self._num_samples, "sampling": {"temperature": self._sampling.temperature}}
        content = score_samples(self._how, self._benchmark, samples, folder, partial=False, about=about, check=check)
        return dict(content["metrics"])


def judge_of(arguments: Any) -> PassAtK:
    """What a training command's flags ask for."""
    return PassAtK(
        arguments.eval_pass_at_k, arguments.eval_pass_at_k_problems, arguments.eval_pass_at_k_samples, arguments.dtype
    )


class _Live(Backend):
    """The params of a run as they are now."""

    facts: dict[str, Any] = {"backend": "jax"}  # noqa: RUF012

    def __init__(self, config: DecoderConfig, params: Params, tokenizer_dir: Path, dtype: Precision) -> None:
        devices = list(next(iter(_leaves(params))).devices())
        self._sampler = Sampler(config, params, Tokenizer.load(tokenizer_dir), dtype=dtype, devices=devices)
        self.positions = config.max_position_embeddings
        self.at_once = 2 * self._sampler.rows(Settings())

    def complete(self, asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling) -> list[list[Answer]]:
        return sampled(self._sampler, Settings, asked, max_new_tokens, sampling)


def _leaves(params: Params) -> Any:
    import jax

    return jax.tree.leaves(params)
