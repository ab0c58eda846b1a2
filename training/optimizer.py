"""Optimizer: AdamW with clipping, decaying what the family's table says."""

from __future__ import annotations

import optax

from modeling.config import DecoderConfig
from modeling.decoder import family
from modeling.table import decay_mask
from training.arguments import TrainingArguments


def adamw(
    arguments: TrainingArguments, schedule: optax.Schedule, config: DecoderConfig
) -> optax.GradientTransformation:
    """Clip to a global norm, then AdamW (arXiv:1711.05101); no decay on biases and norms."""
    clip = optax.clip_by_global_norm(arguments.max_grad_norm) if arguments.max_grad_norm else optax.identity()
    return optax.chain(
        clip,
        optax.adamw(
            schedule,
            b1=arguments.adam_beta1,
            b2=arguments.adam_beta2,
            eps=arguments.adam_epsilon,
            weight_decay=arguments.weight_decay,
            mask=decay_mask(family(config).table),
        ),
    )
