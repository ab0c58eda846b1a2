"""MBPP: how a program is judged by the assertions of a problem.

Two judges, each for `evaluation.sandbox`: `judge`, whose assertions run where the program cannot reach them, and
`judge_in_process`, which runs program and assertions in one process, as other harnesses do. Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from evaluation.sandbox import CandidateError, CandidateGone, Job, Limits, Opaque, Session, class_name
from evaluation.traceless import NO_CODE, leaves_no_trace

from .humaneval import SECONDS, one_second_more, status_of


def job(
    key: Any, problem: dict[str, Any], program: str, *, mode: str = "hardened", limits: Limits | None = None
) -> Job:
    """Judge one program for a problem (test_setup_code, test_list)."""
    limits = limits or Limits(SECONDS)
    setup = problem.get("test_setup_code") or "\n".join(problem.get("test_imports", []))
    payload: dict[str, Any] = {"program": program, "setup": setup, "tests": "\n".join(problem["test_list"])}
    if mode == "hardened":
        return Job(key, f"{__name__}:judge", payload, limits, traceless=is_traceless(text_of_tests(payload)))
    payload["seconds"] = limits.seconds
    return Job(key, f"{__name__}:judge_in_process", payload, one_second_more(limits), traceless=True)


def text_of_tests(payload: dict[str, Any]) -> str:
    return f"{payload['setup']}\n{payload['tests']}"


@lru_cache(maxsize=1024)  # samples of one problem share its tests
def is_traceless(tests: str) -> bool:
    try:
        names = frozenset(names_of_program(tests))
    except NO_CODE:
        return False
    return leaves_no_trace(tests, names - sys.stdlib_module_names)  # of which `wanted` may give the module itself


class Named:
    """A name of the program's, in a test: a function to call, a class to construct, or a value to fetch."""

    def __init__(self, session: Session, name: str) -> None:
        self.session, self.name = session, name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.session.call(self.name, *arguments, **named)


def judge(session: Session, payload: dict[str, Any]) -> tuple[str, str]:
    """Load the program over there, run setup and assertions here; what they do not define is asked for over there."""
    try:
        session.load(payload["program"] + "\n\n")
        tests = text_of_tests(payload)
        names: dict[str, Any] = {name: wanted(session, name) for name in names_of_program(tests)}
        exec(compile(tests, "<string>", "exec", dont_inherit=True), names)
    except CandidateError:
        raise
    except BaseException as error:
        return "failed", f"failed: {error}"
    return "passed", "passed"


def wanted(session: Session, name: str) -> Any:
    """The value behind a name of the program: a plain one, what calls it, or Python's own module of that name."""
    value = session.get(name)
    if type(value) is not Opaque:
        return value
    if (
        class_name(value) == "module" and name in sys.stdlib_module_names
    ):  # MBPP 596 relies on its program's `import sys`
        return importlib.import_module(name)
    return Named(session, name)


def names_of_program(tests: str) -> Sequence[str]:
    """Names that tests use and neither define, import nor have from Python itself, in the order of their use.

    Python's own names come first, so that a program cannot put its `abs` in the place of a test's; where nothing else
    is left, the program is to define one of them (MBPP 126 asks for a function `sum`).
    """
    used: dict[str, None] = {}
    own = set()
    for node in ast.walk(ast.parse(tests)):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used[node.id] = None
            else:
                own.add(node.id)
        elif isinstance(node, ast.alias):
            own.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.arg):
            own.add(node.arg)
    rest = [name for name in used if name not in own]
    return [name for name in rest if not hasattr(builtins, name)] or rest


def judge_in_process(session: Session, payload: dict[str, Any]) -> tuple[str, str]:
    """Program, setup and assertions in one process; one that ends without a word has timed out."""
    program = f"{payload['program']}\n{payload['setup']}\n{payload['tests']}"
    try:
        result = session.check_in_process(program, payload["seconds"])
    except CandidateGone:
        result = "timed out"
    return status_of(result), result
