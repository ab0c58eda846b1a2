"""Calls and examples of a document."""

from __future__ import annotations

from data_processing.literal_calls import MOST, Call, literal_calls
from data_processing.standalone import parse

SOURCE = '''
def f(a, b=0):
    """Doc.

    >>> f(1)
    3
    >>> f(2, b=[1])  # doctest: +SKIP
    {'x': (1, None)}
    >>> f(3) == 4
    True
    >>> f(5)
    Traceback (most recent call last):
    ValueError
    >>> f(x)
    7
    >>> print(f(6))
    8
    >>> f(7) (
    1
    """


assert f(8) == 9 and f(10)
assert 12 == m.f(11)
assert f(*[13]) == f(14) == f(**{})
assert f(15) < 16
self.assertEqual(f(-17), "18", "message")
self.assertEqual(f, 1)
'''


def test_by_hand():
    seen = literal_calls(parse(SOURCE))
    assert sorted(map(repr, seen.examples["f"])) == sorted(map(repr, [
        (Call((1,)), 3), (Call((2,), {"b": [1]}), {"x": (1, None)}), (Call((3,)), 4), (Call((11,)), 12),
        (Call((-17,)), "18"),
    ]))  # fmt: skip
    assert {call.arguments for call in seen.calls["f"]} == {
        (8,), (10,), (11,), (14,), (15,), (-17,), (1,), (2,), (3,), (5,), (6,)
    }  # fmt: skip


def test_no_more_than_some_calls_of_a_name_are_kept():
    seen = literal_calls(parse("\n".join(f"f({number})" for number in range(99))))
    assert len(seen.calls["f"]) == MOST


def test_what_is_no_doctest_is_left():
    assert literal_calls(parse("'''\n  >>> f(1)\n 2\n'''\n")).examples == {}
