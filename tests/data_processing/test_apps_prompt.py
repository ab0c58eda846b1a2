"""The APPS prompt, character by character."""

from __future__ import annotations

from data_processing.apps_prompt import apps_prompt


def test_both_forms_by_hand():
    assert apps_prompt("Q") == "\nQUESTION:\nQ\nUse Standard Input format\nANSWER:\n"
    assert apps_prompt("Q", "") == apps_prompt("Q")
    assert apps_prompt("Q", "def f():") == "\nQUESTION:\nQ\ndef f():\nUse Call-Based format\nANSWER:\n"
