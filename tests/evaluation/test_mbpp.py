"""MBPP's judges: the reference solutions pass, and a wrong program fails."""

from __future__ import annotations

from typing import Any

import pytest

from evaluation.mbpp import job, names_of_program
from evaluation.sandbox import Limits, Sandbox
from tests.conftest import SHARED_DATA
from tests.evaluation.test_humaneval import rows

PATIENT = Limits(60.0)
MODES = ("hardened", "reference")


def statuses(sandbox: Sandbox, problem: dict[str, Any], programs: dict[str, str], mode: str) -> dict[str, str]:
    jobs = [job(name, problem, program, mode=mode, limits=PATIENT) for name, program in programs.items()]
    return {outcome.key: outcome.status for outcome in sandbox.judge(jobs)}


@pytest.mark.parametrize("mode", MODES)
def test_tests_build_the_programs_own_objects(sandbox, mode):
    problem = {
        "test_setup_code": "pair = Pair(1)\r\npair.other = Pair(2)\r\npair.other.other = Pair(3)",
        "test_list": ["assert total(pair) == 6", "assert total([pair, pair]) == 12", "assert total(None) == 0"],
    }
    right = """class Pair:
    def __init__(self, n): self.n, self.other = n, None
def total(p):
    if p is None: return 0
    if isinstance(p, list): return sum(map(total, p))
    return p.n + total(p.other)
"""
    programs = {"right": right, "wrong": right.replace("p.n +", "1 +"), "no class": right.replace("Pair:", "P:")}
    assert statuses(sandbox, problem, programs, mode) == {"right": "passed", "wrong": "failed", "no class": "failed"}


def test_a_program_cannot_replace_what_a_test_calls(sandbox):
    problem = {"test_setup_code": "", "test_list": ["assert abs(f(1) - 0.5) < 1e-3", "assert len(f(2)) == 3"]}
    programs = {"forged": "def abs(x): return 0\ndef len(x): return 3\ndef f(n): return 7.0 if n == 1 else []\n"}
    assert statuses(sandbox, problem, programs, "hardened") == {"forged": "failed"}
    assert statuses(sandbox, problem, programs, "reference") == {"forged": "passed"}


def test_names_of_the_program_are_those_that_a_test_neither_has_nor_makes():
    assert names_of_program("import re\nx = f(1)\nassert g(x, *[y for y in h]) == re.sub('a', 'b', len(x))") == [
        "f",
        "g",
        "h",
    ]
    assert names_of_program("assert sum(1, 2) == 3") == ["sum"]


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_all_reference_solutions_pass(sandbox, mode):
    check_references(sandbox, mode, 1)


def test_a_tenth_of_the_reference_solutions_pass_and_those_that_are_special(sandbox):
    check_references(sandbox, "hardened", 10)


def check_references(sandbox: Sandbox, mode: str, step: int) -> None:
    problems = rows("mbpp.jsonl.gz")
    if not problems:
        pytest.skip(f"MBPP is not at {SHARED_DATA}")
    special = {126, 367, 533, 596, 601, 927}
    kept = [problem for problem in problems if problem["task_id"] % step == 0 or problem["task_id"] in special]
    assert len(kept) == (974 if step == 1 else 103)
    jobs = [job(problem["task_id"], problem, problem["code"], mode=mode, limits=PATIENT) for problem in kept]
    outcomes = list(sandbox.judge(jobs))
    assert len(outcomes) == len(kept)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
