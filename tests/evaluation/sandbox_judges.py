"""Judges of the sandbox's tests: standard library only, as every judge."""

from __future__ import annotations

from evaluation.sandbox import Session


def echo(session: Session, value: object) -> tuple[str, object]:
    session.load("def echo(value):\n    return value\n")
    answer = session.call("echo", value)
    return "passed" if answer == value else "failed", answer
