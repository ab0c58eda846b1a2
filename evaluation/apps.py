"""APPS: the judge of a solution, all of whose tests run in one process of the candidate's.

Programs and comparison are the reference's; what is new is where things happen. The candidate's process runs the
program and gives its output by value; expected outputs and comparison stay here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from evaluation.apps_candidate import DONE, LEFT
from evaluation.apps_comparison import COMPARISONS, Comparison, int_keys, same_output, same_value
from evaluation.apps_program import ENTRY, call_program, is_class_based, stdin_program
from evaluation.sandbox.errors import CandidateError, CandidateGone, CandidateTimeout
from evaluation.sandbox.session import UNSERIALIZABLE, Session

TEST_SECONDS = 4  # for one test, and for building the program
TOTAL_SECONDS = 11.0  # for all of them together: ten, and one of grace
NUM_LOST = 21  # results of a sample of which nothing is known, in the reference; `strict` counts its real tests
NOT_BUILT, RAISED = -2, -1
WENT_WRONG = "went wrong"  # the candidate's side of the judge itself raised

CANDIDATE = Path(__file__).with_name("apps_candidate.py").read_text(encoding="utf-8")


class Lost(Exception):
    """The process ended, or ran out of time for all tests: no result of the sample's counts."""


class Candidate:
    """The candidate's process, asked within what is left of the time for all tests."""

    def __init__(self, session: Session, scale: float) -> None:
        self.session = session
        self.test_seconds = max(1, round(TEST_SECONDS * scale))
        self.deadline = time.monotonic() + TOTAL_SECONDS * scale

    def ask(self, step: str, *arguments: Any) -> tuple[str, Any]:
        """How a step went, in the candidate's word, and what it gave.  Raises: Lost."""
        left = self.deadline - time.monotonic()
        try:
            if left <= 0:
                raise CandidateTimeout(0)
            answer = self.session.run(step, *arguments, self.test_seconds, seconds=left)
        except CandidateTimeout as error:
            raise Lost("timed out: all tests together") from error
        except CandidateGone as error:
            raise Lost(f"failed: {error}") from error
        except CandidateError as error:
            return (UNSERIALIZABLE if error.kind == UNSERIALIZABLE else WENT_WRONG), None
        if type(answer) is not tuple or len(answer) != 2 or type(answer[0]) is not str:
            raise Lost("failed: the program's answer is no answer")
        if answer[0] == LEFT:
            raise Lost("failed: the program left its process")
        return answer


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Judge {"solution", "name" or None, "tests": [[inputs, expected], ...] or None, "comparison", "scale"}.

    The detail has the result codes under either comparison; the verdict goes by `comparison`.
    """
    tests: list[list[Any]] | None = payload["tests"]
    detail: dict[str, Any] = {"unserializable": 0}
    try:
        if tests is None:
            raise Lost("failed: the problem's tests are no texts")
        codes = _codes(Candidate(session, payload["scale"]), payload["solution"], payload["name"], tests, detail)
        reason = ""
    except Lost as lost:
        codes = {"reference": [RAISED] * NUM_LOST, "strict": [RAISED] * max(len(tests or ()), 1)}
        reason = str(lost)
    chosen = codes[payload["comparison"]]
    status = "passed" if all(code > 0 for code in chosen) else reason.split(":")[0] or "failed"
    return status, detail | {"codes": codes, "result": reason or _told(chosen)}


def _codes(
    candidate: Candidate, solution: str, name: str | None, tests: list[list[Any]], detail: dict[str, Any]
) -> dict[str, list[int | bool]]:
    """One result code a test, under either comparison.  Raises: Lost."""
    candidate.session.disarm()
    candidate.session.load(CANDIDATE)
    program = stdin_program(solution) if name is None else call_program(solution)
    class_based = name is not None and is_class_based(solution)
    if candidate.ask("build", program, class_based, ENTRY if name is None else name)[0] != DONE:
        return {"reference": [NOT_BUILT], "strict": [NOT_BUILT]}
    codes: dict[str, list[int | bool]] = {"reference": [], "strict": []}
    for inputs, expected in tests:
        if name is not None:
            inputs, expected = int_keys(inputs, expected)
        how, value = candidate.ask("run_stdin" if name is None else "run_call", inputs)
        detail["unserializable"] += how == UNSERIALIZABLE
        for comparison in COMPARISONS:
            if how not in (DONE, UNSERIALIZABLE):
                code: int | bool = RAISED
            elif how == UNSERIALIZABLE or (name is None and type(value) is not str):
                code = False
            elif name is None:
                code = same_output(value, expected, comparison)
            else:
                code = _same_value(value, expected, comparison)
            codes[comparison].append(code)
    return codes


def _same_value(value: Any, expected: Any, comparison: Comparison) -> int | bool:
    try:
        return same_value(value, expected, comparison)
    except CandidateError:  # an object of the program's own somewhere in it
        return False
    except (ValueError, TypeError, RecursionError):  # an array, whose == is no bool; it raised in the reference too
        return RAISED


def _told(codes: list[int | bool]) -> str:
    """How a sample went, in words: the first test that it does not pass decides.

    >>> _told([True, -1, False]), _told([True]), _told([-2])
    ('failed: test 2 of 3 raised or timed out', 'passed', 'failed: the program cannot be built')
    """
    number, code = next(((number, code) for number, code in enumerate(codes, 1) if code <= 0), (0, True))
    if code > 0:
        return "passed"
    if code == NOT_BUILT:
        return "failed: the program cannot be built"
    return f"failed: test {number} of {len(codes)} {'raised or timed out' if code == RAISED else 'is wrong'}"
