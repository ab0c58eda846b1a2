"""Mutants: a function with one operator, comparison, constant or call changed, so that tests of it should fail."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from typing import Any

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.MatMult: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def mutants(function: ast.FunctionDef, count: int, seed: str) -> list[str]:
    """Up to `count` texts of the function, each with one place of its body (the docstring left alone) changed.

    The places are drawn, and come in the order of the text.
    """
    num_places = sum(1 for _ in _places(function))
    drawn = sorted(random.Random(seed).sample(range(num_places), min(count, num_places)))
    made = []
    for number in drawn:
        changed = copy.deepcopy(function)
        _change(list(_places(changed))[number])
        try:
            made.append(ast.unparse(ast.fix_missing_locations(changed)) + "\n")
        except ValueError:
            continue  # quotes in an f-string that Python 3.11 cannot spell
    return made


def returning(function: ast.FunctionDef, literal: str) -> str:
    """The function's text with nothing in its body but the return of a literal."""
    changed = copy.deepcopy(function)
    changed.body = [changed.body[0], ast.Return(ast.parse(literal, mode="eval").body)]
    return ast.unparse(ast.fix_missing_locations(changed)) + "\n"


Place = tuple[ast.AST, str, int | None]  # a node, its field, and the place where that is a list


def _places(function: ast.FunctionDef) -> Iterator[Place]:
    """Where a body can be changed, in the order of the text."""
    for statement in function.body[1:]:
        yield from _places_below(statement)


def _places_below(node: ast.AST) -> Iterator[Place]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "format_spec", "decorator_list"):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST):
                if _changeable(child):
                    yield node, name, place
                yield from _places_below(child)


def _changeable(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float | str)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) or len(node.args) == 1
    return type(node) in OPERATORS or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub))


def _change(place: Place) -> None:
    parent, name, number = place
    old = getattr(parent, name) if number is None else getattr(parent, name)[number]
    new: ast.AST
    if isinstance(old, ast.Constant):
        new = ast.Constant(_other(old.value))
    elif isinstance(old, ast.UnaryOp):
        new = old.operand
    elif isinstance(old, ast.Call):  # x.method() becomes x, f(x) too
        new = old.func.value if isinstance(old.func, ast.Attribute) else old.args[0]
    else:
        new = OPERATORS[type(old)]()
    if number is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[number] = new


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else value + 1
