"""Guessed inputs: of the annotated kinds, of the likely ones, of what the body waits for."""

from __future__ import annotations

import ast

import pytest

from data_processing.guessed_inputs import MAX_GROUPS, guess_inputs


def groups(text: str, seed: str = ""):
    return guess_inputs(ast.parse(text).body[0], seed)


def first(text: str):
    return [call.arguments[0] for call in groups(text)[0] if call.arguments]


@pytest.mark.parametrize(
    ("parameter", "kinds"),
    [
        ("x: int", [int]), ("x: float", [float]), ("x: str", [str]), ("x: 'bytes'", [bytes]), ("x: bool", [bool]),
        ("x: typing.Dict[str, int]", [dict]), ("x: set[int]", [set]), ("x: int | None", [int]),
        ("x: Optional[str]", [str]), ("x=3", [int]), ("x='a'", [str]), ("x=b''", [bytes]),
        ("text", [str]), ("num_words", [int]), ("is_strict", [bool]), ("zz", [str]),
    ],
)  # fmt: skip
def test_the_first_group_is_of_the_likely_kind(parameter, kinds):
    assert {type(value) for value in first(f"def f({parameter}):\n    'Doc.'\n")} == set(kinds)


@pytest.mark.parametrize(
    ("parameter", "inner"), [("x: list[int]", int), ("x: Sequence[str]", str), ("x: List[List[float]]", list)]
)
def test_lists_hold_what_they_are_said_to_hold(parameter, inner):
    values = first(f"def f({parameter}):\n    'Doc.'\n")
    assert all(type(value) is list for value in values)
    assert {type(item) for value in values for item in value} == {inner}


def test_none_is_tried_where_it_is_allowed():
    assert [call.arguments for call in groups("def f(x: str | None):\n    'Doc.'\n")[1]] == [(None,)]


def test_what_the_body_does_with_a_parameter_says_what_it_is():
    assert {type(value) for value in first("def f(q):\n    'D'\n    return q.items()\n")} == {dict}
    assert {type(value) for value in first("def f(q):\n    'D'\n    return q.upper()\n")} == {str}
    assert {type(value) for value in first("def f(q):\n    'D'\n    return q - 1\n")} == {int}


def test_constants_of_the_body_are_tried():
    values = first("def f(text):\n    'D'\n    return 1 if text == 'magic' else text.split('#')\n")
    assert {"magic", "#", "ab#cd"} <= set(values) and "D" not in values


def test_defaults_are_left_out_in_turns_and_names_are_kept():
    calls = groups("def f(a, b=2, *, c, d=4):\n    'D'\n")[0]
    shapes = {(len(call.arguments), *sorted(call.named)) for call in calls}
    assert shapes == {(2, "c", "d"), (1, "c")}


def test_groups_are_few_and_the_same_for_a_seed():
    text = "def f(a, b, c, d, e, g):\n    'D'\n"
    assert len(groups(text)) == MAX_GROUPS and groups(text, "1") == groups(text, "1") != groups(text, "2")
