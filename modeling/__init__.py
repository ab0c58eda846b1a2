"""Decoder families in Flax, their Hugging Face weights both ways, and what they cost.

model = modeling.load("gpt-neo-dir")                    # Model(config, params): params are a plain nested dict
logits_BTV = modeling.logits(model.config, model.params, tokens_BT)
modeling.save("out", model, tokenizer_dir="gpt-neo-dir")  # what torch transformers loads
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeling.checkpoint import Model, load, read_config, save
    from modeling.decoder import init_cache, init_params, logits, token_losses

__all__ = ["Model", "init_cache", "init_params", "load", "logits", "read_config", "save", "token_losses"]


def __getattr__(name: str) -> object:
    """Import jax when something is asked for, so that `python -m modeling --help` need not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "checkpoint" if name in ("Model", "load", "read_config", "save") else "decoder"
    found: object = getattr(import_module(f"modeling.{home}"), name)
    return found
