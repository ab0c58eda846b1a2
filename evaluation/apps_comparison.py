"""Comparison of an APPS answer with the expected one: what was printed, or what a call returned.

`reference` is the official cascade, each step with its quirks: the later ones ignore the order of lines, the order of
tokens in a line, and duplicates, so "3 1 2" passes for "1 2 3". `strict` takes the cascade's first six steps and then
compares tokens in their places, so all that it accepts the reference accepts too.
Source: hendrycks/apps, eval/testing_util.py, in our own words; numpy's allclose is written out (rtol 1e-5, atol 1e-8).
"""

from __future__ import annotations

import math
from typing import Any, Literal

Comparison = Literal["reference", "strict"]
COMPARISONS: tuple[Comparison, ...] = ("reference", "strict")


def same_output(printed: str, expected: str, comparison: Comparison) -> bool:
    """Compare what a program printed with what it should have.

    >>> same_output("3 1 2\\n", "1 2 3", "reference"), same_output("3 1 2\\n", "1 2 3", "strict")
    (True, False)
    """
    lines = printed.splitlines()
    if "\n".join(lines).strip() == expected.strip():  # (1)
        return True
    if "\n".join(line.strip() for line in lines).strip() == expected.strip():  # (2)
        return True
    # a line of nothing but blanks is emptied and stays: it is dropped before it is stripped
    wanted = [line.strip() for line in expected.split("\n") if line]
    if lines == wanted:  # (4)
        return True
    lines = [line for line in lines if line]
    if _close_lines(lines, wanted):  # (6)
        return True
    given = [tokens for line in lines if (tokens := line.split())]
    asked = [line.split() for line in wanted]
    if comparison == "strict":
        return given == asked or _rounded_in_place(given, asked)
    # Steps (3), one line as it is, and (5), without empty lines, accept nothing that (1) and (8) do not.
    # Step (7) of the reference compares lines with sets of tokens, and drops the test from the count where that raises.
    # Lines are text, so it neither matches nor raises, and no test is dropped.
    return _sets(given) == _sets(asked) or _rounded_sets(given, asked)  # (8), (9)


def same_value(value: Any, expected: Any, comparison: Comparison) -> bool:
    """Compare what a call returned with what it should have; `expected` is mostly a list that holds the one answer.

    No tolerance for floats, and 1 == True.  `strict` takes a bool for a bool only, and unwraps a list of one only.

    >>> same_value((1, 2), [[1, 2]], "strict"), same_value(1, [1, 2], "reference"), same_value(1, [1, 2], "strict")
    (True, True, False)
    """
    answers = [expected]
    if isinstance(expected, list) and expected and (comparison == "reference" or len(expected) == 1):
        answers.append(expected[0])
    given = list(value) if isinstance(value, tuple) else value  # JSON knows no tuples
    if any(_equal(given, answer, comparison) for answer in answers):
        return True
    if isinstance(given, list) and given and isinstance(given[0], tuple) and len(answers) == 2:
        try:
            return _equal([list(part) for part in given], answers[1], comparison)
        except TypeError:  # a part that is no sequence
            return False
    return False


def int_keys(inputs: Any, expected: Any) -> tuple[Any, Any]:
    """Make digits numbers again where a dict is the first input or the answer: JSON's keys are text.

    As the reference has it, such inputs become that one dict, and such an answer a list of it.
    """
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) and _all_int(inputs[0]):
        inputs = [_with_int_keys(inputs[0])]
    answer = expected[0] if isinstance(expected, list) and expected else expected
    if isinstance(answer, dict) and _all_int(answer):
        expected = [_with_int_keys(answer)]
    return inputs, expected


def close(a: float, b: float) -> bool:
    """numpy's isclose of a result `a` and a reference `b`."""
    return a == b or (math.isfinite(b) and abs(a - b) <= 1e-8 + 1e-5 * abs(b))


def _close_lines(lines: list[str], wanted: list[str]) -> bool:
    try:
        numbers, references = [float(line) for line in lines], [float(line) for line in wanted]
    except ValueError:
        return False
    return len(numbers) == len(references) and all(map(close, numbers, references))


def _sets(lines: list[list[str]]) -> set[frozenset[str]]:
    return {frozenset(tokens) for tokens in lines}


def _rounded_sets(given: list[list[str]], asked: list[list[str]]) -> bool:
    try:
        one, other = ({frozenset(_rounded(tokens)) for tokens in lines} for lines in (given, asked))
    except ValueError:
        return False
    return one == other


def _rounded_in_place(given: list[list[str]], asked: list[list[str]]) -> bool:
    try:
        return [_rounded(tokens) for tokens in given] == [_rounded(tokens) for tokens in asked]
    except ValueError:
        return False


def _rounded(tokens: list[str]) -> list[float]:
    return [round(float(token), 3) for token in tokens]


def _equal(value: Any, answer: Any, comparison: Comparison) -> bool:
    return bool(value == answer) and (comparison == "reference" or _bools(value) == _bools(answer))


def _bools(value: Any) -> Any:
    """A shadow of a value that tells its bools from its numbers; the order of a dict's or set's parts is left out."""
    if isinstance(value, dict):
        return {key: _bools(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_bools(part) for part in value]
    return isinstance(value, bool)


def _all_int(value: dict[Any, Any]) -> bool:
    try:
        _with_int_keys(value)
    except (ValueError, TypeError):
        return False
    return True


def _with_int_keys(value: dict[Any, Any]) -> dict[int, Any]:
    return {int(key): part for key, part in value.items()}
