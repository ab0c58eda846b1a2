"""Sampling with a key-value cache.

completions = generation.complete(config, params, tokenizer, ["def add(a, b):"], generation.Settings(temperature=0))
completions[0][0].text
"""

from generation.complete import Completion, PromptTooLong, Settings, complete

__all__ = ["Completion", "PromptTooLong", "Settings", "complete"]
