"""Equivalence of what an MTPB program printed last and the expected value.

`reference` casts the printed value to the type of the expected one, so print(3.9) passes for 3; a printed 1 is not
True; floats are near within 1e-6 on their own and exact inside a list; a dict or None never passes.
`strict` takes the same text, or an equal value without casts, with numbers near at any depth: dicts and None too.
Source: salesforce/CodeGen, codegen1/benchmark/mtpb_exec.py, `check_equivalence`, in our own words.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from evaluation.apps_comparison import close

Equivalence = Literal["reference", "strict"]
TOLERANCE = 1e-6
PLAIN, SERIES, OTHER = "plain", "series", "other"


class Printed(NamedTuple):
    """The first argument of the last print, as it comes from the candidate's process.

    `value` is it, where it consists of plain Python values (numpy's turned into those, as the reference does); a pandas
    series as the list of its elements.  Of any other object there are what int(), float() and list() made of it.
    """

    kind: str
    value: Any
    text: str
    casts: dict[str, Any] = {}  # noqa: RUF012


def equivalent(printed: Printed, expected: Any, equivalence: Equivalence) -> bool:
    """Whether a printed value is the expected one.

    >>> three = Printed(PLAIN, 3.9, "3.9")
    >>> equivalent(three, 3, "reference"), equivalent(three, 3, "strict")
    (True, False)
    """
    try:
        return _reference(printed, expected) if equivalence == "reference" else _strict(printed, expected)
    except (TypeError, ValueError, OverflowError, RecursionError):  # a cast that cannot be, numbers beside text
        return False


def can_pass(expected: Any, equivalence: Equivalence) -> bool:
    """Whether any value is equivalent to the expected one: the reference knows no dicts and no None."""
    return equivalence == "strict" or type(expected) in (str, int, float, bool, list)


def _reference(printed: Printed, expected: Any) -> bool:
    if printed.kind == SERIES:
        return _all_close(printed.value, expected)
    value, text = printed.value, printed.text
    if isinstance(value, list) and value and type(value[0]) is tuple:
        value = [list(part) for part in value]
        text = str(value)
    if not can_pass(expected, "reference"):
        return False
    kind = type(expected)
    if printed.kind == OTHER or type(value) is not kind:
        if kind is bool or kind is str:  # bool("False") is true, so texts are compared
            return text == str(expected)
        value = printed.casts.get(kind.__name__) if printed.kind == OTHER else kind(value)
    if kind is float:
        return abs(value - expected) < TOLERANCE
    return bool(value == expected)


def _strict(printed: Printed, expected: Any) -> bool:
    if printed.text == str(expected):
        return True
    value = printed.casts.get("list") if printed.kind == OTHER else printed.value
    if printed.kind == OTHER and value is None:
        return False
    return _same(value, expected)


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, bool) or isinstance(expected, bool) or value is None or expected is None:
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return value == expected or abs(value - expected) < TOLERANCE
    if isinstance(value, list | tuple) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(_same(value[key], expected[key]) for key in expected)
    return bool(type(value) is type(expected) and value == expected)


def _all_close(values: list[Any], expected: Any) -> bool:
    """numpy's allclose of two arrays of one axis; a single number or a list of one stands against any length."""
    wanted = expected if isinstance(expected, list) else [expected]
    if len(values) == 1 or len(wanted) == 1:
        length = len(wanted) if len(values) == 1 else len(values)
        values, wanted = (part * length if len(part) == 1 else part for part in (values, wanted))
    return len(values) == len(wanted) and all(map(_close, values, wanted))


def _close(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) or isinstance(wanted, str):
        raise TypeError("numpy compares no texts")
    return close(float(value), float(wanted))
