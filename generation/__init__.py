"""Sampling with a key-value cache.

completions = generation.complete(config, params, tokenizer, ["def add(a, b):"], generation.Settings(temperature=0))
completions[0][0].text
"""

from generation.complete import PromptTooLong, Sampler, Settings, complete
from generation.ending import Completion

__all__ = ["Completion", "PromptTooLong", "Sampler", "Settings", "complete"]
