"""The candidate's side of APPS: a program is built once, then run for each test with the reference's stand-ins.

This text is loaded into the candidate's own process, which is why it imports nothing of ours; nothing that it says is
a verdict. `build` and the two `run` functions give how it went, in one of the words below, and what came out.
Source: hendrycks/apps, eval/testing_util.py, in our own words.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

DONE, RAISED, LEFT = "done", "raised", "left"  # LEFT: by SystemExit and the like, which ended the reference's process

tested: Any = None  # the function under test

# What `from sys import stdin` binds: the reference's own, at the null device. Its read functions are replaced, no more.
real_stdin = io.TextIOWrapper(io.BytesIO())
real_stdout = io.TextIOWrapper(io.BytesIO())


class OutOfTime(Exception):
    pass


def build(program: str, class_based: bool, name: str, seconds: int) -> tuple[str, None]:
    """Execute a program as a module and find the function under test in it, or in an object of its class Solution."""
    sys.stdin, sys.stdout = real_stdin, real_stdout
    module = types.ModuleType("tmp_sol")
    sys.modules["tmp_sol"] = module

    def make() -> None:
        global tested
        exec(compile(program, "tmp_sol", "exec", dont_inherit=True), module.__dict__)
        tested = getattr(module.Solution() if class_based else module, name)

    return guarded(make, seconds)


def run_call(inputs: list[Any], seconds: int) -> tuple[str, Any]:
    """Call the function under test; what it returns leaves by value."""
    sys.stdin, sys.stdout = real_stdin, real_stdout
    return guarded(lambda: tested(*inputs), seconds)


def run_stdin(text: str, seconds: int) -> tuple[str, str]:
    """Run the program on its standard input; give what it printed."""
    lines = iter(text.split("\n"))
    stdin: Any = real_stdin
    stdin.read, stdin.readlines = lambda *_: text, lambda *_: text.split("\n")
    stdin.readline = lambda *_: next(lines)
    captured = io.StringIO()
    opened: Any = builtins.open
    builtins.open = lambda *_, **__: io.StringIO(text)  # type: ignore[assignment]
    sys.stdin, sys.stdout = io.StringIO(text), captured

    def swallow_exit() -> None:
        with contextlib.suppress(SystemExit):
            tested()

    try:
        return guarded(swallow_exit, seconds)[0], captured.getvalue()
    finally:
        builtins.open = opened
        sys.stdin, sys.stdout = real_stdin, real_stdout


def guarded(step: Callable[[], Any], seconds: int) -> tuple[str, Any]:
    """Take a step that is to end within some seconds; the alarm is an exception that a program may well catch."""

    def stop(number: int, frame: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    try:
        signal.alarm(seconds)
        value = step()
        signal.alarm(0)
        return DONE, value
    except Exception:
        return RAISED, None
    except BaseException:
        return LEFT, None
    finally:
        signal.alarm(0)
