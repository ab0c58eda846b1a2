"""Tracing: what a function gives for some inputs, in a sandboxed process of its own. A judge: standard library only."""

from __future__ import annotations

from collections import Counter
from typing import Any

from evaluation.literals import TOO_LARGE, NotPlain, spell
from evaluation.sandbox import UNSERIALIZABLE, CandidateError, CandidateGone, CandidateTimeout, Job, Limits, Session

LOADS_NOT, TIMED_OUT, GONE, MEMORY = "fails to load", "timed out", "ended its process", "out of memory"
PRINTS, RAISES, GIVEN = "prints", "raises on every input", "fails its given examples"
KINDS = {"MemoryError": MEMORY, UNSERIALIZABLE: TOO_LARGE}  # what such an exception says
MAX_BROKEN = 2  # calls that run out of time or end the process, after which the rest is not tried
MAX_ERRORS = 8  # in a row, at the start of a group, after which its other calls are not tried
CALLS_A_JOB = 10  # time-outs that a whole job may last

# {"calls": [(arguments, named, given value as a tuple of one or of none)]}
Group = list[tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]]


def job(
    key: Any, source: str, name: str, groups: list[Group], *, seconds: float, enough: int, distinct: int, seed: int
) -> Job:
    """Call `name` of `source` with the groups of inputs, until one ends with `enough` values, `distinct` different."""
    payload = {"source": source, "name": name, "groups": groups, "seconds": seconds, "enough": enough,
               "distinct": distinct, "seed": seed}  # fmt: skip
    return Job(key, f"{__name__}:judge", payload, Limits(CALLS_A_JOB * seconds), traceless=True)


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """{"values": [(group, place, text of the value)], "causes": how often which call gave none}."""
    values: list[tuple[int, int, str]] = []
    causes: Counter[str] = Counter()

    def answer() -> tuple[str, dict[str, Any]]:
        return "passed", {"values": values, "causes": dict(causes)}

    if not _load(session, payload, causes):
        return answer()
    for number, group in enumerate(payload["groups"]):
        errors, before = 0, len(values)
        for place, (arguments, named, given) in enumerate(group):
            if errors >= MAX_ERRORS and len(values) == before:
                break
            cause, text = _value(session, payload, arguments, named, given)
            if not cause:
                values.append((number, place, text))
                continue
            causes[cause] += 1
            errors += 1
            if cause in (GIVEN, PRINTS):
                return answer()
            if cause in (TIMED_OUT, GONE):
                if causes[TIMED_OUT] + causes[GONE] >= MAX_BROKEN or not _load(session, payload, causes):
                    return answer()
                break
        if len(values) >= payload["enough"] and len({text for *_, text in values}) >= payload["distinct"]:
            break
    return answer()


def _load(session: Session, payload: dict[str, Any], causes: Counter[str]) -> bool:
    try:
        session.load(f"import random\nrandom.seed({payload['seed']})\n", seconds=payload["seconds"])
        session.load(payload["source"], seconds=payload["seconds"])
    except CandidateError as error:
        causes[TIMED_OUT if isinstance(error, CandidateTimeout) else LOADS_NOT] += 1
        return False
    return True


def _value(
    session: Session, payload: dict[str, Any], arguments: tuple[Any, ...], named: dict[str, Any], given: tuple[Any, ...]
) -> tuple[str, str]:
    """(why there is no value, the text of the value): one of the two."""
    try:
        value = session.ask("call", payload["name"], arguments, named, seconds=payload["seconds"])
        text = spell(value)
    except CandidateTimeout:
        return TIMED_OUT, ""
    except CandidateGone:
        return GONE, ""
    except CandidateError as error:
        return KINDS.get(error.kind, GIVEN if given else RAISES), ""
    except NotPlain as error:
        return str(error), ""
    if session.output:
        return PRINTS, ""
    return (GIVEN, "") if given and value != given[0] else ("", text)
