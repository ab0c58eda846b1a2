"""Mutants: by hand, one place each."""

from __future__ import annotations

import ast

from data_processing.mutants import mutants, returning


def function(text: str) -> ast.FunctionDef:
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


SOURCE = """def f(a, b=2):
    'Do 1 < 2.'
    c: int = a + b
    if not a < 3 and b is None:
        c -= 1
    return str(c).strip('x') or True
"""


def test_every_mutant_by_hand():
    lines = ast.unparse(function(SOURCE)).split("\n")
    changed = []
    for text in mutants(function(SOURCE), 100, "seed"):
        differing = [line for line, old in zip(text.split("\n"), lines) if line != old]
        assert len(differing) == 1 and len(text.strip().split("\n")) == len(lines)
        changed.append(differing[0].strip())
    assert changed == [
        "c: int = a - b",
        "if not a < 3 or b is None:",
        "if a < 3 and b is None:",
        "if not a >= 3 and b is None:",
        "if not a < 4 and b is None:",
        "if not a < 3 and b is not None:",
        "c += 1",
        "c -= 2",
        "return str(c).strip('x') and True",
        "return str(c) or True",
        "return c.strip('x') or True",
        "return str(c).strip('xx') or True",
        "return str(c).strip('x') or False",
    ]


def test_few_are_drawn_by_the_seed_and_the_function_stays_as_it_was():
    node = function(SOURCE)
    before, every = ast.dump(node), mutants(node, 100, "")
    few = mutants(node, 4, "a")
    assert len(few) == 4 and few == sorted(few, key=every.index) and ast.dump(node) == before
    assert few == mutants(node, 4, "a") and any(few != mutants(node, 4, str(seed)) for seed in range(9))


def test_a_body_without_a_place_to_change_has_no_mutant():
    assert mutants(function("def f(a, b):\n    'Doc 1.'\n    return a[b]\n"), 9, "") == []


def test_a_body_that_returns_a_literal():
    assert returning(function(SOURCE), "[float('inf'), {1}]") == (
        'def f(a, b=2):\n    """Do 1 < 2."""\n    return [float(\'inf\'), {1}]\n'
    )
