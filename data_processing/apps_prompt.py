"""Prompt of an APPS problem: one form, for training, scoring and sampling alike.

Upstream (hendrycks/apps) trains on one form and scores on another: its training prompt has two more line breaks and is
call-based where there is starter code, its scoring prompt where the tests name a function. A model should be asked as
it was taught. Ours is the scoring form, and starter code decides, since the prompt must not depend on the tests.
"""

from __future__ import annotations


def apps_prompt(question: str, starter_code: str | None = None) -> str:
    """The text that a solution follows. Empty starter code is none.

    >>> apps_prompt("Add two numbers.")
    '\\nQUESTION:\\nAdd two numbers.\\nUse Standard Input format\\nANSWER:\\n'
    >>> apps_prompt("Add.", "def add(a, b):")
    '\\nQUESTION:\\nAdd.\\ndef add(a, b):\\nUse Call-Based format\\nANSWER:\\n'
    """
    if starter_code:
        return f"\nQUESTION:\n{question}\n{starter_code}\nUse Call-Based format\nANSWER:\n"
    return f"\nQUESTION:\n{question}\nUse Standard Input format\nANSWER:\n"
