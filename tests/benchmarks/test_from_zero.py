"""The baseline and the table of the benchmark that learns from zero."""

from __future__ import annotations

import json
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture
def from_zero(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield __import__("from_zero")
    for name in ("from_zero", "toolkit", "peers"):
        sys.modules.pop(name, None)


def test_the_nearest_docstring_is_the_same_one_or_the_one_that_shares_rare_words(from_zero):
    known = [
        'def f(text):\n    """Reverse the text, then remove the spaces."""\n',
        'def g(text):\n    """Remove the vowels, then remove the spaces."""\n',
        'def h(numbers):\n    """Add 3 to each number, then sort the numbers."""\n',
    ]
    assert from_zero.nearest(known, known) == [0, 1, 2]
    asked = ['def other(text):\n    """Remove the spaces, then remove the vowels."""\n']
    assert from_zero.nearest(asked, known) == [1]  # all three share "then", two "the spaces", one "the vowels"


def test_pass_rates_are_of_the_tasks_of_a_length(from_zero, tmp_path):
    rows = [{"task_id": str(n), "num_operations": 2 + n % 2} for n in range(4)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = {str(n): {"samples": 4, "passed": n} for n in range(4)}
    assert from_zero.by_length(tmp_path / "problems.jsonl", {"tasks": tasks}) == {2: 0.25, 3: 0.5}
