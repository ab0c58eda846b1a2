"""Decoder families in Flax, their Hugging Face weights both ways, and what they cost.

model = modeling.load("gpt-neo-dir")                    # Model(config, params): params are a plain nested dict
logits_BTV = modeling.logits(model.config, model.params, tokens_BT)
modeling.save("out", model, tokenizer_dir="gpt-neo-dir")  # what torch transformers loads
"""

from modeling.checkpoint import Model, load, read_config, save
from modeling.decoder import init_cache, init_params, logits, token_losses

__all__ = ["Model", "init_cache", "init_params", "load", "logits", "read_config", "save", "token_losses"]
