"""Optimizers: AdamW and Adafactor, decaying what the family's table says."""

from __future__ import annotations

from typing import Any

import jax
import optax

from modeling.table import Table, decay_mask, map_rows
from training.arguments import TrainingArguments


def make_optimizer(
    arguments: TrainingArguments, schedule: optax.Schedule, table: Table
) -> optax.GradientTransformation:
    """The optimizer that --optim names, of params with this table; no decay on biases and norms. The step clips."""
    return {"adamw": adamw, "adafactor": adafactor}[arguments.optim](arguments, schedule, table)


def adamw(arguments: TrainingArguments, schedule: optax.Schedule, table: Table) -> optax.GradientTransformation:
    """AdamW (arXiv:1711.05101)."""
    return optax.adamw(
        schedule,
        b1=arguments.adam_beta1,
        b2=arguments.adam_beta2,
        eps=arguments.adam_epsilon,
        weight_decay=arguments.weight_decay,
        mask=decay_mask(table),
    )


def adafactor(arguments: TrainingArguments, schedule: optax.Schedule, table: Table) -> optax.GradientTransformation:
    """Adafactor (arXiv:1804.04235) with optax's settings, which are the reference's; it has no first moment.

    Two things differ from `optax.adafactor`. What it takes over a whole matrix (the clipped and the scaled size of an
    update) is taken over each layer's, where our params hold all layers in one array. And weight decay is multiplied
    by the learning rate, as in AdamW; optax would take the flag's 0.1 off the weights in each step.
    """
    stacked = map_rows(table, lambda row: row.stacked)
    return optax.chain(
        optax.scale_by_factored_rms(),
        _each_layer(optax.clip_by_block_rms(1.0), stacked),
        _each_layer(optax.scale_by_param_block_rms(), stacked),
        optax.add_decayed_weights(arguments.weight_decay, mask=decay_mask(table)),
        optax.scale_by_learning_rate(schedule),
    )


def _each_layer(inner: optax.GradientTransformation, stacked: Any) -> optax.GradientTransformation:
    """Let a transformation that keeps no state see each layer of a stacked leaf by itself."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def one(update: jax.Array, value: jax.Array) -> jax.Array:
            return inner.update(update, state, value)[0]

        whole = jax.tree.map(lambda many, u, p: jax.vmap(one)(u, p) if many else one(u, p), stacked, updates, params)
        return whole, state

    return optax.GradientTransformation(inner.init, update)
