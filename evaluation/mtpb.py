"""MTPB: the judge of a history, all turns and answers together, which is executed once.

The answer is the first argument of its last print; whether the program ended well does not matter to the reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation.mtpb_equivalence import Equivalence, Printed, equivalent
from evaluation.sandbox.errors import CandidateError, CandidateTimeout
from evaluation.sandbox.session import Session

SECONDS = 20.0
OUT_OF_TIME = "OutOfTime: Timed out!"  # as the candidate's side says it
MOST_SAID = 1000  # characters of how a program says that it ended
GRACE_SECONDS = 2.0  # for what the alarm inside does not end: a loop in C, a program that catches it

CANDIDATE = Path(__file__).with_name("mtpb_candidate.py").read_text(encoding="utf-8")


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Judge {"program", "expected", "equivalence", "scale"}; the detail has both verdicts and what was printed."""
    seconds = SECONDS * payload["scale"]
    session.disarm()
    session.load(CANDIDATE)
    try:
        answer = session.run("run", payload["program"], seconds, seconds=seconds + GRACE_SECONDS)
        ended, printed = _parts(answer)
        ended = ended[:MOST_SAID]
    except CandidateTimeout:
        ended, printed = "timed out", None
    except CandidateError as error:
        ended, printed = str(error) or error.kind, None
    verdicts = {
        "reference": printed is not None and _equivalent(printed, payload["expected"], "reference"),
        "strict": printed is not None and not ended and _equivalent(printed, payload["expected"], "strict"),
    }
    said = "" if printed is None else printed.text[:200]
    if verdicts[payload["equivalence"]]:
        status, result = "passed", "passed"
    elif ended in ("timed out", OUT_OF_TIME):
        status, result = "timed out", "timed out"
    else:
        status, result = "failed", f"failed: {ended or 'printed ' + said}"
    return status, {"verdicts": verdicts, "printed": said, "ended": ended, "result": result}


def _parts(answer: Any) -> tuple[str, Printed | None]:
    """The candidate's answer, in whose form there may be lies but nothing else.  Raises: CandidateError."""
    try:
        ended, printed = answer
        if type(ended) is not str:
            raise TypeError
        if printed is None:
            return ended, None
        kind, value, text, casts = printed
        if type(kind) is not str or type(text) is not str or type(casts) is not dict:
            raise TypeError
        return ended, Printed(kind, value, text, casts)
    except (TypeError, ValueError):
        raise CandidateError("answer", "the program's answer is no answer") from None


def _equivalent(printed: Printed, expected: Any, equivalence: Equivalence) -> bool:
    try:
        return equivalent(printed, expected, equivalence)
    except CandidateError:  # an object of the program's own in it
        return False
