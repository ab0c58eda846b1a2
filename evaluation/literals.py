"""Literals: plain values as Python text that is the same wherever and whenever they are spelled. Imports nothing but
the sandbox, since judges use it.
"""

from __future__ import annotations

import math
from typing import Any

MAX_CHARACTERS = 1_000
TOO_LARGE, NO_VALUE = "a value too large to test", "no plain value"


class NotPlain(Exception):
    """A value that no test compares: str() is NO_VALUE or TOO_LARGE."""


def spell(value: Any) -> str:
    """The text of a value; sets and dictionaries in the order of their items' texts.  Raises: NotPlain."""
    try:
        text = _spell(value)
    except (ValueError, RecursionError):  # more digits of an int than Python spells
        raise NotPlain(TOO_LARGE) from None
    if len(text) > MAX_CHARACTERS:
        raise NotPlain(TOO_LARGE)
    return text


def _spell(value: Any) -> str:
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float:
        if math.isnan(value):
            raise NotPlain(NO_VALUE)
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if kind is complex and math.isfinite(value.real) and math.isfinite(value.imag):
        return repr(value)
    if kind in (list, tuple, set, frozenset, dict) and len(value) > MAX_CHARACTERS:
        raise NotPlain(TOO_LARGE)
    if kind is dict:
        return "{" + ", ".join(sorted(f"{_spell(key)}: {_spell(item)}" for key, item in value.items())) + "}"
    if kind in (set, frozenset):
        inner = ", ".join(sorted(map(_spell, value)))
        if not inner:
            return f"{kind.__name__}()"
        return f"{{{inner}}}" if kind is set else f"frozenset({{{inner}}})"
    if kind in (list, tuple):
        inner = ", ".join(map(_spell, value))
        if kind is list:
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    raise NotPlain(NO_VALUE)
