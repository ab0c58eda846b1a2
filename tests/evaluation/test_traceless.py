"""Traceless tests: what may share a judge's process, and that it changes nothing there."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import pytest

from evaluation import humaneval, mbpp
from evaluation.humaneval_benchmark import CLIPPY
from evaluation.traceless import leaves_no_trace
from tests.conftest import SHARED_DATA
from tests.evaluation.test_humaneval import problems_at_hand

PLAIN = """
METADATA = {"author": "x"}
def check(candidate):
    values = [candidate(n) for n in range(3)]
    values[0] = sorted(values, key=lambda value: -value)
    try:
        assert abs(candidate(1.5) - 2) < 1e-6 and "".join(map(str, values)).startswith("[")
    except (ValueError, TypeError):
        assert True
"""


def test_computing_with_values_leaves_no_trace():
    assert leaves_no_trace(PLAIN)
    assert leaves_no_trace("assert f(1) == 2", frozenset({"f"}))


@pytest.mark.parametrize(
    "text",
    [
        "import random\nrandom.seed(0)", "from os import environ", "assert f(1) == 2", "open('x', 'w')",
        "exec('import os')", "eval('1')", "globals()", "setattr(int, 'x', 1)", "__builtins__",
        "(x for x in []).gi_frame.f_builtins.clear()", "().__class__", "def f():\n    global print\n    print = 1",
        "len.x = 1", "def f(): pass\nf.calls = 0", "class A: pass", "input()", "breakpoint()", "exit()",
        "__debug = 1", "def __f(): pass", "del print", "not python", "x = '\0'", "(" * 500, "async def f(): pass",
        "print(1)", "def g(exec): pass\nexec('import os')", "def g(c, setattr=None): pass\nsetattr(int, 'x', 1)",
        "f = lambda input: input\ninput()", "x = " + "-" * 200_000 + "1", "x" + ".a" * 100_000,
    ],
)  # fmt: skip
def test_what_may_reach_further_is_refused(text):
    assert not leaves_no_trace(text)


def modules() -> dict[str, dict[str, Any]]:
    """What the names of Python's own modules stand for; other modules may have threads that work beside a test."""
    found = {name: sys.modules[name] for name in sys.stdlib_module_names & sys.modules.keys()}
    return {name: dict(vars(module)) for name, module in found.items()}


def changed(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> set[str]:
    """The names, module.name, that came, went or stand for something else."""
    every = {(module, name) for state in (before, after) for module in state for name in state[module]}
    nothing = object()
    return {
        f"{module}.{name}"
        for module, name in every
        if before.get(module, {}).get(name, nothing) is not after.get(module, {}).get(name, nothing)
    }


@pytest.mark.parametrize("benchmark", ["ours", "humaneval"])
def test_tests_so_found_change_no_module_and_draw_nothing(benchmark):
    rows = problems_at_hand() if benchmark == "humaneval" else list(map(json.loads, CLIPPY.read_text().splitlines()))
    if not rows:
        pytest.skip(f"HumanEval is not at {SHARED_DATA}")
    found = 0
    for problem in rows:
        entry_point = problem["entry_point"]
        if humaneval.may_use(problem["test"], problem["prompt"], entry_point) or not leaves_no_trace(
            problem["test"], frozenset({entry_point})
        ):
            continue
        found += 1
        namespace: dict[str, Any] = {}
        exec(problem["prompt"] + problem["canonical_solution"], namespace)
        names = {entry_point: namespace[entry_point]}
        before, state = modules(), random.getstate()
        exec(compile(problem["test"], "<string>", "exec"), names)
        names["check"](names[entry_point])
        assert changed(before, modules()) == set() and state == random.getstate()
    assert found > 0.95 * len(rows)


def test_the_check_above_sees_a_change():
    before = modules()
    random.seed  # noqa: B018
    assert changed(before, modules()) == set()
    sys.modules["random"].trace = 1  # type: ignore[attr-defined]
    assert changed(before, modules()) == {"random.trace"}
    del sys.modules["random"].trace  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("use", "prompt"),
    [
        ("helper(1)", "def helper(x):\n    return x + 1\n\ndef f(x):\n"),
        ("eval('help' + 'er(1)')", "def helper(x):\n    return x + 1\n\ndef f(x):\n"),
        ("sqrt(4)", "from math import  *\n\ndef f(x):\n"),
        ("math.sqrt(4)", "import math\n\ndef f(x):\n"),
        ("abs(1)", "abs = max\n\ndef f(x):\n"),
    ],
)
def test_names_of_the_prompt_are_had_where_tests_may_use_them(use, prompt):
    assert humaneval.may_use(f"def check(f):\n    assert f(1) == {use}", prompt, "f")
    assert "*" in prompt or not humaneval.may_use("def check(f):\n    assert f(1) == min(2, 3)", prompt, "f")


def test_text_that_is_no_program_is_left_to_the_judge():
    nested = "x = " + "-" * 200_000 + "1"
    assert humaneval.may_use(nested, "def f(x):\n", "f") and not mbpp.is_traceless(nested)
    assert not mbpp.is_traceless("x" + ".a" * 100_000)


def test_a_program_s_name_that_may_stand_for_a_module_is_no_plain_one():
    assert mbpp.is_traceless("\nassert f(1) == 2")
    assert not mbpp.is_traceless("assert f(1) == math.pi") and not mbpp.is_traceless("assert os.remove('x') == f(1)")
