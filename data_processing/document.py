"""Document: one file's text and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Document:
    """A text with its own meta (never a dict shared between files) and the cluster that must stay on one side.

    `meta` has Code Clippy's keys: repo_name, stars, repo_language, file_name, mime_type, license.
    """

    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    cluster: str = ""
