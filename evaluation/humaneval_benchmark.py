"""HumanEval: 164 functions to complete, and any file of problems in its form, our own among them.

Source: Evaluating Large Language Models Trained on Code, arXiv:2107.03374: the prompt as it is, five stop strings,
top-p 0.95, 200 samples at temperature 0.2 for pass@1 and at 0.8 for pass@100. `stripped` is the prompt and the stops of
bigcode-evaluation-harness: without the line break that ends the prompt some models' scores move by tens of points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation import humaneval
from evaluation.benchmark import Benchmark, choose
from evaluation.problem_files import ProblemFile, Source, by_id, load_rows
from evaluation.sandbox.jobs import Job, Limits

HUMANEVAL = Source(
    "HumanEval.jsonl.gz",
    "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
    "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
)
FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
PROMPTS = ("unstripped", "stripped")
CODEX_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
BIGCODE_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```", "<file_sep>")
MAX_NEW_TOKENS = 512
CLIPPY = Path(__file__).parent / "problems" / "clippy.jsonl"


class HumanEval(Benchmark):
    """HumanEval's problems, or others in its form."""

    modes = ("hardened", "reference")

    def __init__(self, name: str, file: ProblemFile, prompt: str = "unstripped") -> None:
        self.name, self.source = name, file.facts
        self.variant = {"prompt": choose("prompt", prompt, PROMPTS)}
        self.stops = CODEX_STOPS if prompt == "unstripped" else BIGCODE_STOPS
        self.problems = by_id(file, *FIELDS)
        self.task_ids = list(self.problems)

    def prompt(self, task_id: str) -> str:
        text: str = self.problems[task_id]["prompt"]
        return text if self.variant["prompt"] == "unstripped" else text.strip()

    def next_prompt(self, task_id: str, answers: Sequence[str]) -> str | None:
        return None if answers else self.prompt(task_id)

    def max_new_tokens(self, task_id: str) -> int:
        return MAX_NEW_TOKENS

    def job(self, key: Any, task_id: str, completion: str, *, mode: str = "hardened", scale: float = 1.0) -> Job:
        problem = self.problems[task_id] | {"prompt": self.prompt(task_id)}
        limits = Limits(humaneval.SECONDS * scale)
        return humaneval.job(key, problem, completion, mode=mode, limits=limits)

    def solutions(self, task_id: str) -> Sequence[str]:
        solution: str = self.problems[task_id]["canonical_solution"]
        return (solution if self.variant["prompt"] == "unstripped" else "\n" + solution,)


def load(problems: str | None = None, cache_dir: str | None = None, *, prompt: str = "unstripped") -> HumanEval:
    """The published problems, or those of a file in their form."""
    return HumanEval("humaneval", load_rows(HUMANEVAL, problems, cache_dir), prompt)


def load_clippy(*, prompt: str = "unstripped") -> HumanEval:
    """Our own problems, which come with the code."""
    own = Source(CLIPPY.name, CLIPPY.as_uri(), "")
    return HumanEval("clippy", replace(load_rows(own, str(CLIPPY)), published=True), prompt)
