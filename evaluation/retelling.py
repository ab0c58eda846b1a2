"""Retelling: Codex-D's loop with models at both ends, graded by the tests, BLEU beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation import named_benchmarks
from evaluation.backends import Asked, Backend, Jax, Sampling
from evaluation.codex_d import Complete, NotDescribable, describable, scores
from evaluation.codex_d import retell as tell
from evaluation.commands import Retell
from evaluation.humaneval_benchmark import HumanEval
from evaluation.results import RESULTS
from evaluation.sandbox import Sandbox, SandboxError
from evaluation.score import CannotJudge, require_sandbox
from interface.files import open_atomically, write_json
from interface.progress import Steps
from interface.report import versions

RETOLD = "retold.jsonl"


def grade(command: Retell, output_dir: Path) -> dict[str, float]:
    """Describe, write, run; greedy, so that nothing is left to chance. Returns the scores.  Raises: CannotJudge."""
    benchmark = named_benchmarks.load(command.benchmark, command.problems)
    assert isinstance(benchmark, HumanEval)
    problems, left_out = describable([benchmark.problems[name] for name in benchmark.task_ids[: command.num_tasks]])
    if not problems:
        raise NotDescribable(
            f"none of {len(left_out)} problems ends with a function that has a docstring and a body; wanted some"
        )
    require_sandbox()
    describer = Jax(command.model, None, None, command.dtype)
    same = command.writer in (None, command.model)
    writer = describer if same else Jax(str(command.writer), None, None, command.dtype)
    describe = _complete(describer, command.max_new_tokens, ())
    write = _complete(writer, command.max_new_tokens, benchmark.stops)
    steps = Steps(len(problems), label="functions")
    retold = []
    for one in tell(problems, describe, write):
        retold.append(one)
        steps.advance()
    steps.close()
    by_id = {str(problem["task_id"]): dict(problem) for problem in problems}
    try:
        with Sandbox(warm=benchmark.warm()) as sandbox:
            jobs = (one.job(by_id[one.task_id]) for one in retold if not one.refused)
            passed = {outcome.key: outcome.passed for outcome in sandbox.judge(jobs)}
    except SandboxError as error:
        raise CannotJudge(str(error)) from error
    with open_atomically(output_dir / RETOLD) as file:
        for one in retold:
            row = asdict(one) | {"passed": passed.get(one.task_id, False)}
            file.write((json.dumps(row) + "\n").encode())
    found = scores(retold, passed, by_id)
    about = {
        "benchmark": f"{benchmark.name}-retold", "metrics": found, "left_out": left_out, "versions": versions(),
        "settings": {"model": command.model, "writer": command.writer or command.model},
    }  # fmt: skip
    write_json(output_dir / RESULTS, about)
    return found


def _complete(backend: Backend, max_new_tokens: int, stops: Any) -> Complete:
    greedy = Sampling(0.0, 1.0, 0, 0, tuple(stops))

    def complete(prompt: str) -> str:
        return backend.complete([Asked("0", prompt, 1)], max_new_tokens, greedy)[0][0].text

    return complete
