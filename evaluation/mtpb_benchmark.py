"""MTPB: 115 problems in three to nine turns, each with five inputs, which are sampled and judged one by one.

`multi` asks turn by turn, each after all that was asked and answered before; `single` puts all turns into one prompt.
Source: CodeGen, arXiv:2203.13474, and salesforce/CodeGen, codegen1/benchmark. There is no published form of `single`;
ours lists the turns as comments and cuts its answer only at an end of text or two empty lines, since the rule for a
turn (a second `print`, a second `def`) would cut a whole program short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.apps_comparison import COMPARISONS
from evaluation.benchmark import KS, Benchmark, choose
from evaluation.mtpb import GRACE_SECONDS, SECONDS
from evaluation.mtpb_equivalence import can_pass
from evaluation.problem_files import BrokenProblems, ProblemFile, Source, by_id, load_rows
from evaluation.sandbox.jobs import Job, Limits, Outcome
from generation.conversation import truncate

MTPB = Source(
    "mtpb.jsonl",
    "https://raw.githubusercontent.com/salesforce/CodeGen/979d788c2d76f83c43f4dc826465d34df95c5e74/codegen1/benchmark/mtpb.jsonl",
    "3ab79ddb160f484a63491330ba72204930d56cc946f7c0c5fb469622a941f89c",
)
TURNS = ("multi", "single")
PREFIX = "# Import libraries.\n\nimport numpy as np\n\n"
ENDS = ("<|endoftext|>", "\n\n\n")
WITHOUT_DATA = {"38": "datasets/*.csv", "46": "datasets/*.csv"}  # files that were never published
DEFAULT_LENGTH = 256


class Case(NamedTuple):
    """One problem with one of its inputs: its turns filled in, and what it has to print."""

    problem: str
    turns: tuple[str, ...]
    expected: Any
    max_gen_length: int


class Mtpb(Benchmark):
    """Cases by "MTPB/problem/case"; a completion is the whole history, as it is executed."""

    name = "mtpb"
    modules = ("numpy", "pandas", "sklearn", "scipy")

    def __init__(self, file: ProblemFile, turns: str = "multi", comparison: str = "reference") -> None:
        self.source = file.facts
        self.variant = {
            "turns": choose("turns", turns, TURNS),
            "comparison": choose("comparison", comparison, COMPARISONS),
        }
        self.cases = _cases(file)
        self.task_ids = list(self.cases)

    def next_prompt(self, task_id: str, answers: Sequence[str]) -> str | None:
        turns = self._turns(task_id)
        return self._history(turns, answers) + turns[len(answers)] if len(answers) < len(turns) else None

    def max_new_tokens(self, task_id: str) -> int:
        case = self.cases[task_id]
        return case.max_gen_length * (len(case.turns) if self.variant["turns"] == "single" else 1)

    def answer(self, text: str) -> str:
        if self.variant["turns"] == "multi":
            return truncate(text)
        return text[: min((place for end in ENDS if (place := text.find(end)) >= 0), default=len(text))]

    def completion(self, task_id: str, answers: Sequence[str]) -> str:
        return self._history(self._turns(task_id), answers)

    def job(self, key: Any, task_id: str, completion: str, *, mode: str = "hardened", scale: float = 1.0) -> Job:
        payload = {
            "program": completion,
            "expected": self.cases[task_id].expected,
            "equivalence": self.variant["comparison"],
            "scale": scale,
        }
        limits = Limits((SECONDS + 2 * GRACE_SECONDS) * scale, memory_bytes=4 << 30)
        return Job(key, "evaluation.mtpb:judge", payload, limits, traceless=True)

    def fields(self, outcome: Outcome) -> dict[str, Any]:
        detail = outcome.detail if isinstance(outcome.detail, dict) else {"result": str(outcome.detail)}
        verdicts = detail.get("verdicts", dict.fromkeys(COMPARISONS, False))
        return {"result": detail["result"], "passed": outcome.passed, "verdicts": verdicts}

    def scores(self, rows: Mapping[str, Sequence[Mapping[str, Any]]], ks: Sequence[int] = KS) -> dict[str, Any]:
        """pass@k over cases, and the pass rate under either comparison beside the most that can be reached."""
        found = super().scores(rows, ks)
        samples = [row for task in rows.values() for row in task]
        for comparison in COMPARISONS:
            passed = sum(bool(row["verdicts"][comparison]) for row in samples)
            found[f"pass_rate_{comparison}"] = passed / len(samples)
        return found | {"ceiling": {comparison: self.ceiling(comparison) for comparison in COMPARISONS}}

    def ceiling(self, comparison: str) -> dict[str, Any]:
        """How many cases any program can pass, and why it cannot pass the others."""
        reasons = {task_id: _unreachable(case, comparison) for task_id, case in self.cases.items()}
        unreachable = {task_id: reason for task_id, reason in reasons.items() if reason}
        return {"reachable": len(self.cases) - len(unreachable), "of": len(self.cases), "unreachable": unreachable}

    def _turns(self, task_id: str) -> list[str]:
        turns = [f"# {turn}\n" for turn in self.cases[task_id].turns]
        return turns if self.variant["turns"] == "multi" else ["".join(turns)]

    def _history(self, turns: Sequence[str], answers: Sequence[str]) -> str:
        return PREFIX + "".join(f"{turn}{answer}\n\n" for turn, answer in zip(turns, answers, strict=False))


def load(
    problems: str | None = None, cache_dir: str | None = None, *, turns: str = "multi", comparison: str = "reference"
) -> Mtpb:
    """The published problems, or those of a file in their form."""
    return Mtpb(load_rows(MTPB, problems, cache_dir), turns, comparison)


def _unreachable(case: Case, comparison: str) -> str:
    if case.problem in WITHOUT_DATA:
        return f"reads {WITHOUT_DATA[case.problem]}, which was not published"
    if not can_pass(case.expected, "strict" if comparison == "strict" else "reference"):
        return f"the reference compares no {type(case.expected).__name__}"
    return ""


def _cases(file: ProblemFile) -> dict[str, Case]:
    """The inputs of each problem; an output without an input (id 57 has one) is left out, as zip does."""
    found = {}
    for name, row in sorted(by_id(file, "id").items(), key=lambda item: (len(item[0]), item[0])):
        try:
            for number, (given, expected) in enumerate(zip(row["inputs"], row["outputs"], strict=False)):
                turns = tuple(prompt.format(**given) for prompt in row["prompts"])
                length = row.get("max_gen_length", DEFAULT_LENGTH)
                found[f"MTPB/{name}/{number}"] = Case(name, turns, expected, length)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise BrokenProblems(
                f"problem {name} of {file.path} has no prompts that its inputs fill ({error!r}); wanted MTPB's form"
            ) from error
    return found
