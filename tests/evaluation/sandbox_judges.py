"""Judges of the sandbox's tests: standard library only, as every judge."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from evaluation.sandbox import Array, CandidateError, CandidateTimeout, Session


def echo(session: Session, value: object) -> tuple[str, object]:
    session.load("def echo(value):\n    return value\n")
    answer = session.call("echo", value)
    return "passed" if answer == value else "failed", answer


def evaluate(session: Session, payload: dict[str, Any]) -> tuple[str, object]:
    """Load a program and report what calling its `f` came to."""
    session.load(payload["source"], record_print=payload.get("record_print", False))
    try:
        value = session.run("f", *payload.get("arguments", ()), stdin=payload.get("stdin"))
    except CandidateError as error:
        return "failed", (error.kind, str(error), session.output, session.output_truncated, session.printed)
    if type(value) is Array:
        value = ("array", value.values)
    return "passed", (value, session.output, session.output_truncated, session.printed)


CONTAINERS = {
    "==": lambda value: value == 1, "!=": lambda value: value != 1, "reflected": lambda value: value == 1,
    "<": lambda value: value < 1, "truth": bool, "not": lambda value: not value, "in": lambda value: 1 in value,
    "contained": lambda value: value in [1], "length": len, "iteration": list, "index": lambda value: value[0],
    "hash": hash, "abs": abs, "difference": lambda value: abs(value - 1) < 2, "as int": int, "as float": float,
    "equal lists": lambda value: [value] == [1], "equal dicts": lambda value: {"a": value} == {"a": 1},
    "sum": lambda value: sum([value]),
    "sorted": lambda value: sorted([value, value]), "max": lambda value: max(value, 1),
}  # fmt: skip


def use_opaque(session: Session, source: str) -> tuple[str, object]:
    """Which uses of an object that stays with the program are let through."""
    session.load(source)
    value = session.call("f")
    through = []
    for name, use in CONTAINERS.items():
        try:
            use(value)
            through.append(name)
        except CandidateError:
            pass
    return "passed", through


def build_objects(session: Session, source: str) -> tuple[str, object]:
    """Construct, set, read and pass back objects of the program's class."""
    session.load(source)
    root = session.call("Node", 1)
    root.left = session.call("Node", 2)
    root.left.left = session.call("Node", 3)
    return "passed", (root.left.left.value, session.call("depth", root), session.call("depth", [root]), root.depth())


def restart(session: Session, payload: object) -> tuple[str, object]:
    """A step past its time loses the program; a restart gives another."""
    session.load("import time\nstate = []\ndef f(n):\n    state.append(n)\n    time.sleep(n)\n    return len(state)\n")
    first = session.run("f", 0, seconds=20.0)
    try:
        session.run("f", 1000, seconds=0.2)
        return "failed", "no time-out"
    except CandidateTimeout:
        pass
    session.load("state = []\ndef f(n):\n    state.append(n)\n    return len(state)\n")
    return "passed", (first, session.run("f", 0, seconds=20.0))


def draw(session: Session, payload: object) -> tuple[str, object]:
    import random

    session.load("import random\ndef f():\n    return random.random(), hash('a')\n")
    return "passed", (*session.call("f"), random.random(), hash("a"))


def broken(session: Session, payload: object) -> tuple[str, object]:
    raise KeyError("a mistake of the judge's own")


def kill_worker_once(session: Session, marker: str) -> tuple[str, object]:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return "passed", "second time"


def answer_at_once(session: Session, payload: object) -> tuple[str, object]:
    return "passed", None


CALLS = 0


def count(session: Session, payload: str | None) -> tuple[str, object]:
    """How many jobs this process has had."""
    global CALLS
    CALLS += 1
    session.load("")
    if payload == "hang":
        time.sleep(60)
    if payload == "grow":
        bytearray(b"x" * (200 << 20))
    return "passed", CALLS


def hang(session: Session, payload: object) -> tuple[str, object]:
    while True:
        time.sleep(60)
