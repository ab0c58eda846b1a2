"""Score: a sample file judged in the sandbox, and what it comes to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation import named_benchmarks
from evaluation.benchmark import Benchmark, UnknownVariant
from evaluation.commands import Judging, settings
from evaluation.results import RESULTS, bleu_of, write_results
from evaluation.sample_file import check as check_samples
from evaluation.sandbox import Sandbox, SandboxError
from evaluation.scoring import ceiling, judge, judged_rows, reranked
from interface.errors import UserError
from interface.progress import Steps, duration


class CannotJudge(UserError):
    """The sandbox does not work here, or some programs could not be judged."""


def require_sandbox(of: str = "") -> None:
    """Try the sandbox before long work whose end would want it; `of` begins the error.  Raises: CannotJudge."""
    try:
        with Sandbox(1):
            pass
    except SandboxError as error:
        raise CannotJudge(f"{of}{error}") from error


def benchmark_of(command: Judging) -> Benchmark:
    """The benchmark that a command names.  Raises: UnknownVariant, and what reading the problems raises."""
    benchmark = named_benchmarks.load(command.benchmark, command.problems, command.cache_dir, **command.variant())
    if command.mode not in benchmark.modes:
        raise UnknownVariant(
            f"{benchmark.name} has no mode {command.mode!r}; wanted one of {', '.join(benchmark.modes)}"
        )
    return benchmark


def score_samples(
    command: Judging,
    benchmark: Benchmark,
    samples: Path,
    output_dir: Path,
    *,
    partial: bool,
    about: dict[str, Any],
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Judge, compute, write; returns what results.json holds.  Raises: BrokenSamples, OtherVerdicts, CannotJudge.

    `check` is called after each verdict, and may raise.
    """
    started = time.monotonic()
    counts, mistakes = check_samples(samples, benchmark.task_ids, partial=partial, numbered=benchmark.numbered)
    steps = Steps(counts.total(), label="verdicts")
    how: dict[str, Any] = {"mode": command.mode, "scale": command.timeout_scale}
    wants_ceiling = command.ceiling if command.ceiling is not None else benchmark.name != "apps"

    def advance() -> None:
        steps.advance()
        check()

    try:
        with Sandbox(command.workers, warm=benchmark.warm(), unsafe=command.unsafe_no_sandbox) as sandbox:
            results = judge(benchmark, samples, output_dir, sandbox, on_verdict=advance, **how)
            reached = ceiling(benchmark, sandbox, **how) if wants_ceiling else None
    except SandboxError as error:
        raise CannotJudge(str(error)) from error
    finally:
        steps.close()
    rows = judged_rows(results)
    content = write_results(
        output_dir, benchmark, rows,
        settings=about | settings(command), mistakes=mistakes.counts, reranked=reranked(rows), ceiling=reached,
        bleu=bleu_of(benchmark, results) if command.bleu else None, seconds=time.monotonic() - started,
    )  # fmt: skip
    say_results(content)
    print(f"wrote the verdicts to {results}, the scores to {output_dir / RESULTS}")
    return content


def say_results(content: dict[str, Any]) -> None:
    """Print the scores as people ask for them."""
    few, many = content["samples_a_task"]
    each = f"{few}" if few == many else f"{few} to {many}"
    print(f"{content['benchmark']}: {content['num_tasks']} tasks, {each} samples each, {duration(content['seconds'])}")
    for name, value in content["metrics"].items():
        print(f"  {name:24} {value:8.2%}" if 0 <= value <= 1 else f"  {name:24} {value:8.3f}")
    if content["reranking"]:
        print(f"  {'best by likelihood':24} {content['reranking']['best_mean_log_probability']:8.2%}")
    if (found := content["ceiling"]) and found["tried"]:
        print(f"  {'own solutions pass':24} {found['solved']:4} of {found['tried']}")
    for comparison, found in content["details"].get("ceiling", {}).items():
        print(f"  {f'within reach, {comparison}':24} {found['reachable']:4} of {found['of']}")
    top = list(content["reasons"].items())[:4]
    print("  " + "; ".join(f"{count} {name}" for name, count in top))
    if content["mistakes"]:
        print("  left out: " + "; ".join(f"{count} {kind}" for kind, count in content["mistakes"].items()))
