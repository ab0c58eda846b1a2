"""APPS: comparison and codes, a row for each behaviour of the reference."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import apps_codes, apps_comparison, apps_program
from evaluation.apps_codes import scores, scores_by_difficulty
from evaluation.apps_comparison import close, int_keys, same_output, same_value

# printed, expected, accepted by the reference, accepted by `strict`
OUTPUTS = [
    ("1: both stripped", "  a b\n\n", "a b", True, True),
    ("1: other line ends", "a\r\nb", "a\nb", True, True),
    ("1: with a line of blanks in the middle", "1\n \n2", "1\n \n2", True, True),
    ("2: each line stripped", "a \n b\n", "a\nb", True, True),
    ("3: one line as it is", "a", "a", True, True),
    ("2: and the expected ones before and after all others", "a \nb", " \na\nb", True, True),
    ("4: an expected line of blanks is an empty one", "1\n\n2", "1\n \n2", True, True),
    ("4: the expected lines stripped, empty ones dropped", "a\nb\n", "a \n\n b", True, True),
    ("5: printed empty lines dropped", "a\n\nb", "a\nb", True, True),
    ("6: floats line by line", "0.33333333\n2", "0.33333334\n2.0", True, True),
    ("6: within 1e-5 of the expected one, which rounding would part", "99999.0", "99999.9", True, True),
    ("6: without the printed empty lines", "99999.0\n\n1", "99999.9\n1", True, True),
    ("6: not beyond", "99998.0", "99999.9", False, False),
    ("6: infinite is infinite", "inf", "inf ", True, True),
    ("6: as many lines", "0.5\n0.5", "0.50", True, False),
    ("8: blanks inside a line", "1  2", "1 2", True, True),
    ("8: order in a line ignored", "3 1 2", "1 2 3", True, False),
    ("8: order of lines ignored", "b\na", "a\nb", True, False),
    ("8: duplicates ignored", "2\n1\n2\n2", "1\n2", True, False),
    ("8: duplicates in a line ignored", "1 1 2", "1 2", True, False),
    ("8: tokens do not wander between lines", "1 2\n3", "1\n2 3", False, False),
    ("8: an expected line of blanks asks for an empty one", "1 \n2 3", "1\n \n2  3", False, False),
    ("9: floats rounded to three digits", "0.12345 2", "0.1234501 2.0", True, True),
    ("9: and then without order", "2 0.12345", "0.1234501 2.0", True, False),
    ("9: text among them ends it", "x 0.12345", "x 0.1234501", False, False),
    ("nothing printed", "", "0", False, False),
    ("nothing expected", "0", "", False, False),
    ("nothing at all", "\n \n", "", True, True),
    ("case counts", "yes", "YES", False, False),
]


@pytest.mark.parametrize(("printed", "expected", "reference", "strict"), [row[1:] for row in OUTPUTS],
                         ids=[row[0] for row in OUTPUTS])  # fmt: skip
def test_the_cascade(printed, expected, reference, strict):
    assert same_output(printed, expected, "reference") is reference
    assert same_output(printed, expected, "strict") is strict


LINES = st.lists(st.lists(st.sampled_from(["1", "2", "1.0", "0.3333", "0.33333", "x", ""]), max_size=3).map(" ".join))


@given(LINES.map("\n".join), LINES.map("\n".join))
def test_strict_accepts_nothing_that_the_reference_refuses(printed, expected):
    assert same_output(printed, expected, "reference") or not same_output(printed, expected, "strict")


@given(*[st.floats() | st.sampled_from([0.0, 1.0, 1.00001, 1.000011, 1e-8, float("inf"), float("nan")])] * 2)
def test_close_is_numpys(a, b):
    with np.errstate(all="ignore"):
        assert close(a, b) == bool(np.isclose(a, b))


# returned, expected, accepted by the reference, accepted by `strict`
VALUES = [
    ("the answer wrapped in a list", 3, [3], True, True),
    ("the answer as it is", [1, 2], [1, 2], True, True),
    ("the first part of a bare answer", 1, [1, 2], True, False),
    ("a tuple is a list", (1, 2), [[1, 2]], True, True),
    ("a tuple inside is none", [1, (2,)], [[1, [2]]], False, False),
    ("a list of tuples is one of lists", [(1, 2), (3, 4)], [[[1, 2], [3, 4]]], True, True),
    ("but not where the answer is bare", [(1, 2), (3, 4)], [[1, 2], [3, 4]], False, False),
    ("tuples after a first one may be lists", [(1,), [2]], [[[1], [2]]], True, True),
    ("a part that is no sequence", [(1,), 2], [[[1], 2]], False, False),
    ("no tolerance", 0.1 + 0.2, [0.3], False, False),
    ("one is true", 1, [True], True, False),
    ("true is one, anywhere", [True, 0], [[1, 0]], True, False),
    ("one is a float", 1, [1.0], True, True),
    ("an empty list wraps nothing", [], [], True, True),
    ("nothing is not nothing expected", None, [], False, False),
    ("text", "ab", ["ab"], True, True),
    ("a dict", {1: "a"}, [{1: "a"}], True, True),
    ("a set is no list", {1, 2}, [[1, 2]], False, False),
    ("an expected value without a list", 5, 5, True, True),
]


@pytest.mark.parametrize(("value", "expected", "reference", "strict"), [row[1:] for row in VALUES],
                         ids=[row[0] for row in VALUES])  # fmt: skip
def test_returned_values(value, expected, reference, strict):
    assert same_value(value, expected, "reference") is reference
    assert same_value(value, expected, "strict") is strict


def test_digits_as_keys_become_numbers_in_a_first_input_and_in_an_answer():
    assert int_keys([{"1": "a"}, 7], [{"2": "b"}, 8]) == ([{1: "a"}], [{2: "b"}])  # and the rest is gone, as there
    assert int_keys([{"x": 1}], {"3": 4}) == ([{"x": 1}], [{3: 4}])
    assert int_keys([7, {"1": 2}], [7]) == ([7, {"1": 2}], [7])
    assert int_keys([], []) == ([], [])


EXAMPLE = {
    "0": [[-2]],
    "1": [[False, False, False]],
    "2": [[True, True]],
    "3": [[False, True, False, True, False, False, False, True, False, True, False, True, True, True, False, True]],
    "4": [[-1] * 21],
}  # the official scorer's own example


def test_the_official_example():
    found = scores(EXAMPLE)
    assert (found["compile_errors"], found["runtime_errors"], found["samples"]) == (1, 1, 5)
    assert found["test_case_average"] == pytest.approx(0.3)
    assert found["strict_accuracy"] == pytest.approx(0.2)


def test_programs_that_do_not_compile_solve_nothing():
    """The scorer of 2021 took numpy's mean and all() of the codes themselves, and -1 and -2 are true."""
    codes = [[-2], [-2], [-1, -1]]
    assert np.all([np.all(one) for one in codes])  # 100 % strict accuracy, of no program that ran
    assert np.mean([np.mean(one) for one in codes]) == pytest.approx(-5 / 3)
    found = scores({str(number): [one] for number, one in enumerate(codes)})
    assert found["strict_accuracy"] == found["test_case_average"] == found["pass@1"] == 0.0
    assert (found["compile_errors"], found["runtime_errors"]) == (2, 1)


def test_samples_of_different_lengths_count_alike():
    found = scores({"a": [[True, True, True], [-2], [True, False]], "b": [[False], [True], [-1, True]]}, ks=(1, 2, 3))
    assert found["strict_accuracy"] == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert found["test_case_average"] == pytest.approx(((1 + 0 + 0.5) / 3 + (0 + 1 + 0.5) / 3) / 2)
    assert found["pass@2"] == pytest.approx(2 / 3) and found["pass@3"] == 1.0


def test_difficulties_are_reported_from_easy_to_hard():
    levels = {"0": "competition", "1": "introductory", "2": "introductory", "3": "", "4": "interview"}
    found = scores_by_difficulty(EXAMPLE, levels)
    assert list(found) == ["all", "introductory", "interview", "competition", "unknown"]
    assert found["introductory"]["strict_accuracy"] == 0.5 and found["all"]["problems"] == 5


@pytest.mark.parametrize("module", [apps_codes, apps_comparison, apps_program], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_run(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed
