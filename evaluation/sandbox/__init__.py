"""The sandbox: judges programs that nobody vouches for. Imports the standard library only.

    from evaluation.sandbox import Job, Limits, Sandbox
    with Sandbox(workers=2) as sandbox:
        for outcome in sandbox.judge(Job(key, "evaluation.humaneval:judge", payload, Limits(3.0)) for ...):
            outcome.key, outcome.status, outcome.detail       # "passed", "failed" or "timed out"

A judge is a trusted function (Session, payload) -> (status, detail); the program under test is in another, isolated
process, and reaches the judge only by values. docs/sandbox.md says what that promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    CandidateError,
    CandidateGone,
    CandidateTimeout,
    InfrastructureFailure,
    IsolationIneffective,
    SandboxError,
    SandboxUnavailable,
)
from .inside.codec import Array
from .jobs import Job, Limits, Outcome
from .session import UNSERIALIZABLE, Opaque, Session, class_name

if TYPE_CHECKING:
    from .pool import Sandbox

__all__ = [
    "UNSERIALIZABLE", "Array", "CandidateError", "CandidateGone", "CandidateTimeout", "InfrastructureFailure",
    "IsolationIneffective", "Job", "Limits", "Opaque", "Outcome", "Sandbox", "SandboxError", "SandboxUnavailable",
    "Session", "class_name",
]  # fmt: skip


def __getattr__(name: str) -> type[Sandbox]:
    """Sandbox, when it is asked for: judges' processes, of which there are many, import this package too."""
    if name == "Sandbox":
        from .pool import Sandbox

        return Sandbox
    raise AttributeError(name)
