"""MBPP: short programming tasks, each with three asserts that the model may see.

Prompts: `paper`, three solved tasks and then the one to solve, with all of its tests (arXiv:2108.07732, section 3);
`incoder`, a docstring of the text and the first test (InCoder's, as in bigcode-evaluation-harness).
Splits, which are often mixed up: `full`, all 974; `test`, ids 11 to 510, on which the paper reports; `sanitized`, the
427 that its authors checked by hand, with texts and tests of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluation import humaneval, mbpp
from evaluation.benchmark import Benchmark, choose
from evaluation.problem_files import BrokenProblems, ProblemFile, Source, load_rows, text_of
from evaluation.sandbox.jobs import Job, Limits

AT = "https://raw.githubusercontent.com/google-research/google-research/e3937aa2643402c194316d74917acee1dc4e8993/mbpp"
FULL = Source("mbpp.jsonl", f"{AT}/mbpp.jsonl", "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f")
SANITIZED = Source(
    "sanitized-mbpp.json",
    f"{AT}/sanitized-mbpp.json",
    "ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9",
)
PROMPTS = ("paper", "incoder")
SPLITS = ("test", "full", "sanitized")
SHOTS = ("MBPP/2", "MBPP/3", "MBPP/4")
STOPS = {
    "paper": ("[DONE]",),
    "incoder": ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n<|/", "\n```"),
}
MAX_NEW_TOKENS = 512


class Mbpp(Benchmark):
    """A split of MBPP with one of the two prompts."""

    name = "mbpp"
    modes = ("hardened", "reference")

    def __init__(self, file: ProblemFile, prompt: str = "paper", split: str = "test") -> None:
        self.source = file.facts
        self.variant = {"prompt": choose("prompt", prompt, PROMPTS), "split": choose("split", split, SPLITS)}
        self.stops = STOPS[prompt]
        self.problems = _problems(file)
        ids = range(11, 511) if split == "test" else range(1 << 31)
        self.task_ids = [task_id for task_id, row in self.problems.items() if row["task_id"] in ids]
        missing = [shot for shot in SHOTS if shot not in self.problems]
        if prompt == "paper" and missing:
            raise BrokenProblems(
                f"{file.path} lacks {', '.join(missing)}, which the paper's prompt shows as solved; "
                "give the whole file, or --prompt incoder"
            )

    def next_prompt(self, task_id: str, answers: Sequence[str]) -> str | None:
        if answers:
            return None
        row = self.problems[task_id]
        if self.variant["prompt"] == "incoder":
            return f'"""\n{row["text"]}\n{row["test_list"][0]}\n"""\n'
        shots = (self.problems[shot] for shot in SHOTS)
        solved = "".join(f"{_question(shot)}{_clean(shot['code'])}\n[DONE]\n\n" for shot in shots)
        return solved + _question(row)

    def max_new_tokens(self, task_id: str) -> int:
        return MAX_NEW_TOKENS

    def job(self, key: Any, task_id: str, completion: str, *, mode: str = "hardened", scale: float = 1.0) -> Job:
        limits = Limits(humaneval.SECONDS * scale)
        return mbpp.job(key, self.problems[task_id], completion, mode=mode, limits=limits)

    def solutions(self, task_id: str) -> Sequence[str]:
        return (self.problems[task_id]["code"],)


def load(
    problems: str | None = None, cache_dir: str | None = None, *, prompt: str = "paper", split: str = "test"
) -> Mbpp:
    """A split's published problems, or those of a file in their form."""
    source = SANITIZED if choose("split", split, SPLITS) == "sanitized" else FULL
    return Mbpp(load_rows(source, problems, cache_dir), prompt, split)


def _problems(file: ProblemFile) -> dict[str, dict[str, Any]]:
    """Rows by "MBPP/id"; the sanitized file calls the text prompt and has imports of its own for the tests."""
    found = {}
    for number, row in enumerate(file.rows, start=1):
        row = {"text": row.get("prompt"), "test_setup_code": "\n".join(row.get("test_imports", [])), **row}
        text_of(row, number, "text", "code", "test_setup_code")
        tests = row.get("test_list")
        if not isinstance(row.get("task_id"), int) or not isinstance(tests, list) or not tests:
            raise BrokenProblems(
                f"row {number} of {file.path} has no number task_id or no test_list; wanted MBPP's form"
            )
        found[f"MBPP/{row['task_id']}"] = row
    return found


def _question(row: dict[str, Any]) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _clean(code: str) -> str:
    return code.replace("\r\n", "\n").strip()  # the file's solutions end their lines as Windows does
