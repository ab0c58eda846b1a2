"""Guessed inputs: argument tuples for a function, from its annotations, defaults, names and the constants in its body.

They come in groups, one for each choice of kinds for the parameters, likelier ones first: whoever runs them leaves a
group that only raises and stops after one that gives enough.
"""

from __future__ import annotations

import ast
import random
import re
from itertools import product
from typing import Any

from data_processing.literal_calls import Call

POOLS: dict[str, tuple[Any, ...]] = {
    "int": (0, 1, 2, 3, 5, 7, 10, 12, 24, 100, -1, -6),
    "float": (0.0, 0.5, 1.0, 2.5, 3.75, 10.0, -1.5, 100.25),
    "str": ("", "a", "hello", "Hello World", "abc abc", "level", "a,b;c", "12", "3.5", "x_y-z", " padded ",
            "one\ntwo\n"),
    "ints": ([], [1], [3, 1, 2], [1, 2, 3, 4, 5], [5, -3, 0, 5, 2], [2, 2, 2], [10, 7, 7, 1], [-1, -2]),
    "strs": ([], ["a"], ["b", "a", "c"], ["apple", "Bear", "fig"], ["x", "x", "y"], ["one two", "", " Three "]),
    "floats": ([], [1.5], [0.5, 2.5, -1.0], [3.0, 1.0, 2.0, 2.0], [10.25, 0.75]),
    "bool": (True, False),
    "dict": ({}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2, "c": 3, "d": 3}, {"x": "y", "y": "z"}),
    "matrix": ([[1]], [[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]], [[0, 1, 0], [1, 0, 1], [0, 0, 1]]),
    "pairs": ([], [("a", 1)], [("a", 1), ("b", 2)], [("b", 2), ("a", 1), ("b", 3)]),
    "intervals": ((1, 2), (0, 0), (3, -4), (5, 1), (2, 2)),
    "bytes": (b"", b"a", b"hello", b"\x00\xff\x10", b"12 34"),
    "set": (set(), {1}, {1, 2, 3}, {2, 4}),
    "none": (None,),
}  # fmt: skip
TYPES = {"int": int, "float": float, "str": str, "ints": list, "strs": list, "floats": list, "bool": bool,
         "dict": dict, "matrix": list, "pairs": list, "intervals": tuple, "bytes": bytes, "set": set}  # fmt: skip
COMMON = ("str", "int", "ints", "strs", "float", "dict", "matrix", "bytes", "pairs", "intervals", "set", "bool")
# A parameter's name, whole, one of FIRST before its first underscore, or after its last one, and the kinds for it.
FIRST = ("num", "n", "is", "has", "max", "min")
NAMED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"n|k|i|j|m|num|count|size|length|len|width|height|index|idx|pos|start|stop|end|step|limit|depth|year|month|day"
     r"|base|digits|level|indent|port|code|bits|seconds|minutes|hours|amount|degree|max|min|total|age|number",
     ("int", "float")),
    (r"x|y|z|a|b|c|value|val|v|p|q|r|t|ratio|rate|weight|alpha|beta|angle|lo|hi|low|high",
     ("int", "float", "str", "ints")),
    (r"s|text|string|str|word|line|name|path|title|key|prefix|suffix|sep|char|ch|pattern|msg|message|url|filename"
     r"|source|content|sentence|label|letter|token|delimiter|version|encoding|expr|expression|letters|tag|header|html",
     ("str",)),
    (r"nums|numbers|ints|values|arr|array|list|lst|l|xs|ys|items|data|seq|sequence|iterable|elements|vector|it|vals"
     r"|scores|weights|points|args|population|result|results", ("ints", "strs", "floats", "str")),
    (r"words|lines|names|strings|tokens|strs|keys|parts|paths|fields|columns|labels|texts", ("strs", "ints")),
    (r"d|dict|mapping|dic|counts|table|config|options|params|kwargs|graph|obj|map", ("dict", "ints")),
    (r"is|has|flag|verbose|reverse|ascending|strict|ignore|case|enabled|inclusive", ("bool",)),
    (r"matrix|grid|rows|board|mat|table|image|lists", ("matrix", "ints")),
    (r"pair|pairs|tuples|edges|intervals|point", ("pairs", "intervals")),
    (r"bytes|buf|buffer|blob|raw", ("bytes", "str")),
)  # fmt: skip
MAX_GROUPS, GROUP_SIZE = 48, 12
MOST_CONSTANTS = 8
_MOST_KINDS = {1: 12, 2: 8, 3: 5, 4: 4}  # of a parameter, by the number of parameters
_FEWEST_KINDS = 3
_INNER = {"int": "ints", "str": "strs", "float": "floats", "bool": "ints", "ints": "matrix", "floats": "matrix",
          "strs": "matrix", "intervals": "pairs"}  # fmt: skip


def guess_inputs(function: ast.FunctionDef, seed: str) -> list[list[Call]]:
    """Groups of calls; the same for the same function and seed."""
    draw = random.Random(seed)
    given = function.args
    places = [*given.posonlyargs, *given.args]
    needed = len(places) - len(given.defaults)
    defaults = dict(zip((one.arg for one in places[needed:]), given.defaults))
    defaults |= {one.arg: value for one, value in zip(given.kwonlyargs, given.kw_defaults) if value}
    parameters = [*places, *given.kwonlyargs]
    most = _MOST_KINDS.get(len(parameters), _FEWEST_KINDS)
    kinds = [_kinds(one, defaults.get(one.arg), function)[:most] for one in parameters]
    ranked = sorted(product(*(range(len(one)) for one in kinds)), key=lambda ranks: (sum(ranks), ranks))
    pools = {kind: (*_constants(function, kind), *values) for kind, values in POOLS.items()}
    groups = []
    for ranks in ranked[:MAX_GROUPS]:
        chosen = [pools[names[rank]] for names, rank in zip(kinds, ranks)]
        calls = []
        for number, values in enumerate(_rows(chosen, draw)):
            full = number % 4 != 3 or not defaults
            arguments = values[: len(places)] if full else values[:needed]
            named = {
                one.arg: value
                for one, value in zip(given.kwonlyargs, values[len(places) :])
                if full or one.arg not in defaults
            }
            calls.append(Call(tuple(arguments), named))
        groups.append(calls)
    return groups


def _rows(pools: list[tuple[Any, ...]], draw: random.Random) -> list[list[Any]]:
    """A row of values for each call: each pool shuffled, and again when it is used up; of one pool each value once."""
    size = len(pools[0]) if len(pools) == 1 else GROUP_SIZE
    columns = []
    for pool in pools:
        column: list[Any] = []
        while len(column) < size:
            column += draw.sample(pool, len(pool))
        columns.append(column[:size])
    return [list(row) for row in zip(*columns)]


def _kinds(parameter: ast.arg, default: ast.expr | None, function: ast.FunctionDef) -> list[str]:
    """The kinds that a parameter may take, likelier ones first."""
    said = _annotated(parameter.annotation) if parameter.annotation else []
    if said:
        return said
    found = [*_default_kinds(default), *_used_kinds(parameter.arg, function)]
    name = parameter.arg.lower()
    words = (name, *(word for word in FIRST if name.startswith(f"{word}_")), name.rpartition("_")[2])
    found += [kind for word in words for pattern, kinds in NAMED if re.fullmatch(pattern, word) for kind in kinds]
    attributes = _attributes(parameter.arg, function)
    fitting = [kind for kind in (*found, *COMMON) if attributes <= set(dir(TYPES[kind]))]
    return list(dict.fromkeys(fitting)) or list(COMMON)


def _annotated(node: ast.expr) -> list[str]:
    """The kinds of an annotation; none where it says nothing that is known."""
    if isinstance(node, ast.BinOp):
        return list(dict.fromkeys([*_annotated(node.left), *_annotated(node.right)]))
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            try:
                return _annotated(ast.parse(node.value, mode="eval").body)
            except (SyntaxError, ValueError):
                return []
        return ["none"] if node.value is None else []
    name = (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")).lower()
    if isinstance(node, ast.Subscript):
        outer = _annotated(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        inner = [kind for part in parts for kind in _annotated(part)]
        named = (getattr(node.value, "attr", "") or getattr(node.value, "id", "")).lower()
        if named in ("optional", "union"):
            return list(dict.fromkeys([*inner, *(["none"] if named == "optional" else [])]))
        if "ints" in outer:
            return list(dict.fromkeys(_INNER[kind] for kind in inner if kind in _INNER)) or outer
        return outer
    if name in ("int", "float", "str", "bool", "bytes", "dict", "set"):
        return [name]
    known: dict[str, list[str]] = {
        "complex": ["float"], "number": ["int", "float"], "real": ["float"], "mapping": ["dict"],
        "defaultdict": ["dict"], "anystr": ["str"], "tuple": ["intervals", "ints"], "abstractset": ["set"],
    }  # fmt: skip
    if name in ("list", "sequence", "iterable", "iterator", "collection"):
        return ["ints", "strs"]
    return known.get(name, [])


def _default_kinds(default: ast.expr | None) -> list[str]:
    if default is None:
        return []
    value = ast.literal_eval(default)
    kind = type(value).__name__
    if kind in ("int", "float", "str", "bool", "bytes", "dict", "set"):
        return [kind]
    return {"list": ["ints", "strs"], "tuple": ["intervals"]}.get(kind, [])


def _used_kinds(name: str, function: ast.FunctionDef) -> list[str]:
    """What a parameter stands beside in the body: a number or a text."""
    found = []
    for node in ast.walk(function):
        sides: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Mult):
            sides = [node.left, node.right]
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Name) and side.id == name for side in sides):
            for side in sides:
                kind = type(side.value).__name__ if isinstance(side, ast.Constant) else ""
                found += [kind] if kind in ("int", "float", "str", "bytes") else []
    return found


def _attributes(name: str, function: ast.FunctionDef) -> set[str]:
    """The attributes that the body takes of a parameter."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def _constants(function: ast.FunctionDef, kind: str) -> list[Any]:
    """Short constants of a kind in the body, which its branches wait for; a text also in the middle of another."""
    if kind not in ("int", "float", "str", "bytes"):
        return []
    found: list[Any] = [
        node.value
        for statement in function.body[1:]
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and type(node.value).__name__ == kind
    ]
    short = [value for value in found if (len(value) < 40 if kind in ("str", "bytes") else abs(value) < 10_000)]
    if kind == "str":
        short = [text for value in short for text in (value, f"ab{value}cd")]
    return [value for value in dict.fromkeys(short) if value not in POOLS[kind]][:MOST_CONSTANTS]
