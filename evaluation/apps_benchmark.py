"""APPS: problems with their tests, in the official layout or the Hub's, and the metrics over result codes.

Prompts, all from data_processing/apps_prompt.py: `ours`, in which our models are trained; `official`, of the official
scoring script; `official_train`, which upstream trained on; `bigcode`, of bigcode-evaluation-harness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_processing.apps_problems import HUB_DATASET, Problem, ProblemPlace, find, places, read, read_tests
from data_processing.apps_prompt import apps_prompt, bigcode_prompt, official_eval_prompt, official_train_prompt
from evaluation.apps import NUM_LOST, RAISED, TOTAL_SECONDS
from evaluation.apps_codes import DIFFICULTIES, scores_by_difficulty
from evaluation.apps_comparison import COMPARISONS
from evaluation.benchmark import KS, Benchmark, choose
from evaluation.problem_files import BrokenProblems, Source, fetch
from evaluation.sandbox.jobs import Job, Limits, Outcome

REVISION = "21e74ddf8de1a21436da12e3e653065c5213e9d1"
APPS = Source(
    "test.jsonl",
    f"https://huggingface.co/datasets/{HUB_DATASET}/resolve/{REVISION}/test.jsonl",
    "5b003a65ac40feb47dd5eaec267a767a6fc435bdcfa68ff715fe869f948e760c",
)
PROMPTS = ("ours", "official", "official_train", "bigcode")
STOPS = ("\nQUESTION", "\n---", "\nANSWER")
MAX_NEW_TOKENS = 512
CLIPPY_APPS = Path(__file__).parent / "problems" / "clippy_apps"


class Apps(Benchmark):
    """Problems by "APPS/0000"; those without tests are left out and counted."""

    stops = STOPS
    modules = ("numpy",)

    def __init__(
        self,
        name: str,
        path: Path,
        facts: Mapping[str, Any],
        *,
        prompt: str = "ours",
        comparison: str = "reference",
        difficulty: str = "all",
    ) -> None:
        self.name = name
        self.variant = {
            "prompt": choose("prompt", prompt, PROMPTS),
            "comparison": choose("comparison", comparison, COMPARISONS),
            "difficulty": choose("difficulty", difficulty, ("all", *DIFFICULTIES)),
        }
        self.places: dict[str, ProblemPlace] = {}
        self.difficulties: dict[str, str] = {}
        self.numbered = []
        without_tests, content = 0, hashlib.sha256()  # of what is read, since verdicts are of these tests
        for place in places(path):
            problem = _read(place)
            if "sha256" not in facts:
                content.update(repr(problem).encode())
            self.numbered.append(f"APPS/{problem.id}")
            if difficulty not in ("all", problem.difficulty):
                continue
            if not _tests(problem).get("inputs"):
                without_tests += 1
                continue
            self.places[f"APPS/{problem.id}"] = place
            self.difficulties[f"APPS/{problem.id}"] = problem.difficulty
        if not self.places:
            raise BrokenProblems(f"{path} holds no problem with tests; wanted APPS problems, e.g. APPS/test/0000")
        self.task_ids = list(self.places)
        self.source = {"path": str(path), "sha256": content.hexdigest(), **facts, "without_tests": without_tests}
        self.problem = lru_cache(maxsize=4)(lambda task_id: _read(self.places[task_id]))

    def next_prompt(self, task_id: str, answers: Sequence[str]) -> str | None:
        if answers:
            return None
        problem = self.problem(task_id)
        question, starter, name = problem.question, problem.starter_code, _tests(problem).get("fn_name")
        if self.variant["prompt"] == "ours":
            return apps_prompt(question, starter)
        if self.variant["prompt"] == "official_train":
            return official_train_prompt(question, starter)
        form = official_eval_prompt if self.variant["prompt"] == "official" else bigcode_prompt
        return form(question, starter, name)

    def max_new_tokens(self, task_id: str) -> int:
        return MAX_NEW_TOKENS

    def job(self, key: Any, task_id: str, completion: str, *, mode: str = "hardened", scale: float = 1.0) -> Job:
        tests = _tests(self.problem(task_id))
        payload = {
            "solution": completion,
            "name": tests.get("fn_name"),
            "tests": _pairs(tests),
            "comparison": self.variant["comparison"],
            "scale": scale,
        }
        limits = Limits(TOTAL_SECONDS * scale + 2, memory_bytes=2 << 30)
        return Job(key, "evaluation.apps:judge", payload, limits, traceless=True)

    def solutions(self, task_id: str) -> Sequence[str]:
        return self.problem(task_id).solutions

    def fields(self, outcome: Outcome) -> dict[str, Any]:
        if isinstance(outcome.detail, dict):
            return {"passed": outcome.passed, **{name: outcome.detail[name] for name in ("result", "codes")}}
        codes = {"reference": [RAISED] * NUM_LOST, "strict": [RAISED]}
        return {"passed": outcome.passed, "result": str(outcome.detail), "codes": codes}

    def scores(self, rows: Mapping[str, Sequence[Mapping[str, Any]]], ks: Sequence[int] = KS) -> dict[str, Any]:
        """pass@k on the strict verdict, and under either comparison all metrics by difficulty."""
        found = super().scores(rows, ks)
        for comparison in COMPARISONS:
            codes = {task_id: [row["codes"][comparison] for row in task] for task_id, task in rows.items()}
            found[comparison] = by_difficulty = scores_by_difficulty(codes, self.difficulties, ks)
            for metric in ("strict_accuracy", "test_case_average"):
                found[f"{metric}_{comparison}"] = by_difficulty["all"][metric]
        return found


def load(
    problems: str | None = None,
    cache_dir: str | None = None,
    *,
    prompt: str = "ours",
    comparison: str = "reference",
    difficulty: str = "all",
) -> Apps:
    """The published test split, or that of a folder in either layout."""
    if problems is None:
        path, facts = fetch(APPS, cache_dir), {"sha256": APPS.sha256, "published": True}
    else:
        given = Path(problems).expanduser()
        path, facts = given if given.is_file() else find(problems, "test"), {"published": False}
    return Apps("apps", path, facts, prompt=prompt, comparison=comparison, difficulty=difficulty)


def load_clippy(*, prompt: str = "ours", comparison: str = "reference", difficulty: str = "all") -> Apps:
    """Our own problems, which come with the code."""
    path = find(str(CLIPPY_APPS), "test")
    return Apps("clippy-apps", path, {"published": True}, prompt=prompt, comparison=comparison, difficulty=difficulty)


def samples_of_codes(codes: Mapping[str, Any], numbered: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of an `all_codes.json`, as the official scorer reads it: by a problem's number one solution or several.

    The number is a problem's place among all of the split, those too that have no tests or are of another difficulty.
    A number without a problem stays the task's name, and what is no text the completion: a reader counts them.
    """
    names = {str(number): name for number, name in enumerate(numbered)}
    for number, found in codes.items():
        for code in found if isinstance(found, list) else [found]:
            yield {"task_id": names.get(number, number), "completion": code}


def _read(place: ProblemPlace) -> Problem:
    def refuse(path: str, number: int, reason: str, _: bytes) -> None:
        line = f" line {number}" if number else ""
        raise BrokenProblems(f"{path}{line}: {reason}; wanted an APPS problem. Mend it or take it away")

    problem = read(place, refuse)
    assert problem is not None
    return problem


def _tests(problem: Problem) -> dict[str, Any]:
    try:
        return read_tests(problem.input_output)
    except ValueError as error:
        raise BrokenProblems(f"the tests of problem {problem.id} are no JSON ({error}); fetch APPS again") from error


def _pairs(tests: Mapping[str, Any]) -> list[list[Any]] | None:
    """Inputs and expected output of each test; None where the reference's scorer breaks off on them.

    What stdin tests hold as lists of lines is joined.
    """
    inputs, outputs = tests["inputs"], tests["outputs"]
    if len(outputs) < len(inputs):
        return None
    if tests.get("fn_name") is not None:
        return [list(pair) for pair in zip(inputs, outputs, strict=False)]
    try:
        return [[_joined(given), _joined(wanted)] for given, wanted in zip(inputs, outputs, strict=False)]
    except TypeError:
        return None


def _joined(lines: Any) -> str:
    return lines if isinstance(lines, str) else "\n".join(lines)
