"""Prompt of an APPS problem: one form, for training, scoring and sampling alike, and the forms that others ask in.

Upstream (hendrycks/apps) trains on one form and scores on another: its training prompt has two more line breaks and is
call-based where there is starter code, its scoring prompt where the tests name a function. A model should be asked as
it was taught. Ours is the scoring form, and starter code decides, since the prompt must not depend on the tests.
"""

from __future__ import annotations

HEAD = "\nQUESTION:\n"


def apps_prompt(question: str, starter_code: str | None = None) -> str:
    """The text that a solution follows. Empty starter code is none.

    >>> apps_prompt("Add two numbers.")
    '\\nQUESTION:\\nAdd two numbers.\\nUse Standard Input format\\nANSWER:\\n'
    >>> apps_prompt("Add.", "def add(a, b):")
    '\\nQUESTION:\\nAdd.\\ndef add(a, b):\\nUse Call-Based format\\nANSWER:\\n'
    """
    return _prompt(question, starter_code, call_based=bool(starter_code))


def official_eval_prompt(question: str, starter_code: str | None = None, fn_name: str | None = None) -> str:
    """The prompt of the official scoring script, for figures that are to be compared with published ones.

    It differs from ours where a problem has starter code but its tests name no function, or the other way round.
    Source: hendrycks/apps, eval/generate_gpt_codes.py, `generate_prompt`.

    >>> official_eval_prompt("Add.", "def add(a, b):")
    '\\nQUESTION:\\nAdd.\\ndef add(a, b):\\nUse Standard Input format\\nANSWER:\\n'
    """
    return _prompt(question, starter_code, call_based=bool(fn_name))


def official_train_prompt(question: str, starter_code: str | None = None) -> str:
    """The prompt that upstream's models were trained on: two more line breaks, and starter code decides.

    Source: hendrycks/apps, train/dataset_apps/APPSBaseDataset.py.

    >>> official_train_prompt("Add.", "def add(a, b):")
    '\\nQUESTION:\\nAdd.\\ndef add(a, b):\\n\\nUse Call-Based format\\n\\nANSWER:\\n'
    """
    kind = "Call-Based" if starter_code else "Standard Input"
    return f"{HEAD}{question}\n{starter_code or ''}\n\nUse {kind} format\n\nANSWER:\n"


def bigcode_prompt(question: str, starter_code: str | None = None, fn_name: str | None = None) -> str:
    """The prompt of bigcode-evaluation-harness: the official scoring form without a break before the starter code.

    >>> bigcode_prompt("Add.", "def add(a, b):", "add")
    '\\nQUESTION:\\nAdd.def add(a, b):\\nUse Call-Based format\\nANSWER:\\n'
    """
    return _prompt(question + (starter_code or ""), None, call_based=bool(fn_name))


def question_span(question: str) -> tuple[int, int]:
    """Where the question stands in a prompt of either form: what may be shortened where the prompt is too long."""
    return len(HEAD), len(HEAD) + len(question)


def _prompt(question: str, starter_code: str | None, call_based: bool) -> str:
    starter = f"\n{starter_code}" if starter_code else ""
    kind = "Call-Based" if call_based else "Standard Input"
    return f"{HEAD}{question}{starter}\nUse {kind} format\nANSWER:\n"
