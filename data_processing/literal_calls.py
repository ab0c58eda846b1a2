"""Calls with literal arguments in a document, and the values that doctests and assertions say they have."""

from __future__ import annotations

import ast
import doctest
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST = 40  # of one function


@dataclass(frozen=True)
class Call:
    """Arguments of a call, by place and by name."""

    arguments: tuple[Any, ...]
    named: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What a document shows of its functions, by their names: calls, and calls with their values."""

    calls: dict[str, list[Call]]
    examples: dict[str, list[tuple[Call, Any]]]


def literal_calls(module: ast.Module) -> Seen:
    """Find calls in code and in doctests, values in doctests, `assert f(1) == 2` and `assertEqual(f(1), 2)`."""
    calls: dict[str, list[Call]] = defaultdict(list)
    examples: dict[str, list[tuple[Call, Any]]] = defaultdict(list)
    for node in ast.walk(module):
        for called, value in _stated(node):
            name, call = _call(called) or ("", None)
            if call is not None and len(examples[name]) < MOST:
                examples[name].append((call, value))
        for inner in ast.walk(_doctests(node)) if _is_text(node) else [node]:
            name, call = _call(inner) or ("", None)
            if call is not None and len(calls[name]) < MOST:
                calls[name].append(call)
    return Seen(dict(calls), dict(examples))


def _stated(node: ast.AST) -> Iterator[tuple[ast.expr, Any]]:
    """Calls and the literal that each is said to give."""
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
        yield from _equal(node.test)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) >= 2:
        if node.func.attr in ("assertEqual", "assertEquals"):
            yield from _sides(node.args[0], node.args[1])
    elif _is_text(node):
        for example in _examples(node.value.value):  # type: ignore[attr-defined]
            try:
                said = ast.parse(example.source.strip(), mode="eval").body
                value = ast.literal_eval(example.want.strip())
            except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
                continue
            if isinstance(said, ast.Compare) and value is True:
                yield from _equal(said)
            else:
                yield said, value


def _equal(test: ast.Compare) -> Iterator[tuple[ast.expr, Any]]:
    if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        yield from _sides(test.left, test.comparators[0])


def _sides(left: ast.expr, right: ast.expr) -> Iterator[tuple[ast.expr, Any]]:
    for called, literal in ((left, right), (right, left)):
        if isinstance(called, ast.Call):
            try:
                yield called, ast.literal_eval(literal)
                return
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue


def _call(node: ast.AST) -> tuple[str, Call] | None:
    """The name that is called (the last one of a.b.c), and its arguments, where all are literals."""
    if not isinstance(node, ast.Call):
        return None
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    try:
        arguments = tuple(ast.literal_eval(one) for one in node.args)
        named = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords if one.arg}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return (name, Call(arguments, named)) if name and len(named) == len(node.keywords) else None


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a string, a docstring say, with a doctest in it."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return False
    return isinstance(node.value.value, str) and ">>>" in node.value.value


def _examples(text: str) -> list[doctest.Example]:
    try:
        return doctest.DocTestParser().get_examples(text)
    except ValueError:  # inconsistent white space
        return []


def _doctests(node: ast.AST) -> ast.AST:
    """The doctests of a string as one module."""
    body: list[ast.stmt] = []
    for example in _examples(node.value.value):  # type: ignore[attr-defined]
        try:
            body += ast.parse(example.source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return ast.Module(body, [])
