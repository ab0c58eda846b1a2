"""Sampling with a key-value cache.

completions = generation.complete(config, params, tokenizer, ["def add(a, b):"], generation.Settings(temperature=0))
completions[0][0].text
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generation.ending import Completion
    from generation.sampler import PromptTooLong, Sampler, Settings, complete

__all__ = ["Completion", "PromptTooLong", "Sampler", "Settings", "complete"]


def __getattr__(name: str) -> object:
    """Import jax when something is asked for, so that `python -m generation --help` need not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module("generation.ending" if name == "Completion" else "generation.sampler"), name)
    return found
