"""Identity of a run: what its parameters depend on, by name. A checkpoint of another one is not gone on from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from data_processing.token_files import Identity
from modeling.checkpoint import weights_fingerprint
from modeling.config import DecoderConfig
from training.arguments import TrainingArguments


def identity_of(
    arguments: TrainingArguments,
    config: DecoderConfig,
    model_dir: Path | None,
    tokens: Identity,
    schedule: dict[str, Any],
) -> dict[str, Any]:
    """Whatever a run's parameters depend on, by name."""
    adam = ("adam_beta1", "adam_beta2", "adam_epsilon") if arguments.optim == "adamw" else ()
    optimizer = ("optim", *adam, "weight_decay", "max_grad_norm", "learning_rate")
    return {
        **{f"model.{f.name}": getattr(config, f.name) for f in fields(config) if f.name != "hf"},
        **{name: getattr(arguments, name) for name in ("block_size", "seed", "dtype", "segment_ids", *optimizer)},
        **{f"schedule.{name}": value for name, value in schedule.items()},
        "tokenizer": tokens.tokenizer,
        "corpus": _describe(tokens.source),
        "documents": tokens.encoder,
        "model.weights": weights_fingerprint(model_dir) if model_dir else None,
        "window_blocks": tokens.window_blocks,
    }


def _describe(source: dict[str, Any]) -> str:
    """What a fingerprint of rows is of, and its hash."""
    kinds = ", ".join(f"{len(value)} {name}" if name == "shards" else name for name, value in source.items() if value)
    digest = hashlib.blake2b(json.dumps(source, sort_keys=True).encode(), digest_size=8).hexdigest()
    return f"{kinds}: {digest}"
