"""The sandbox: values, verdicts and limits of jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evaluation.sandbox import Job, Limits, Sandbox

JUDGES = "tests.evaluation.sandbox_judges"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(2) as opened:
        yield opened


def test_values_come_back_exactly(sandbox):
    values = [0, -1, 10**50, 0.1, 1e-310, True, None, "é\ud800\0", b"\0", [1, (2,)], {"a": {1, 2}}, frozenset(), 1j]
    outcomes = list(sandbox.judge(Job(place, f"{JUDGES}:echo", value, Limits(9)) for place, value in enumerate(values)))
    for outcome in outcomes:
        assert outcome.passed
        assert (type(outcome.detail), outcome.detail) == (type(values[outcome.key]), values[outcome.key])
    assert len(outcomes) == len(values)
