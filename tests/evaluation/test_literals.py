"""Literals: text that gives the value back, and is the same for the same value."""

from __future__ import annotations

import math

import pytest

from evaluation.literals import MAX_CHARACTERS, NO_VALUE, TOO_LARGE, NotPlain, spell

VALUES = [
    None, True, 0, -3, 1.5, -0.0, math.inf, 2 + 3j, "a'\n\ud800", b"\x00", [], [1, [2]], (), (1,), (1, "b"), set(),
    {3, 1}, frozenset(), frozenset({"a"}), {}, {"b": {1}, "a": (2,)}, [-math.inf],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_text_of_a_value_gives_it_back(value):
    again = eval(spell(value))
    assert again == value and type(again) is type(value) and spell(again) == spell(value)
    spell(value).encode()


def test_order_leaves_no_trace():
    assert spell({"b": 1, "a": 2}) == spell({"a": 2, "b": 1}) == "{'a': 2, 'b': 1}"
    assert spell({10, 9, "a"}) == "{'a', 10, 9}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, NO_VALUE), ([object()], NO_VALUE), (int, NO_VALUE), (complex(math.nan, 1), NO_VALUE),
        (..., NO_VALUE),
        ("a" * MAX_CHARACTERS, TOO_LARGE), ([0] * (MAX_CHARACTERS + 1), TOO_LARGE), (10**5000, TOO_LARGE),
    ],
    ids=map(str, range(8)),
)  # fmt: skip
def test_what_no_test_compares_is_refused(value, reason):
    with pytest.raises(NotPlain, match=reason):
        spell(value)
