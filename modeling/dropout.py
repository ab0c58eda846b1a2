"""Dropout whose masks depend on (seed, step, layer, global row) and on nothing else.

Each row of the global batch has its own key, so the same row loses the same numbers on whatever device and in
whatever microbatch it lies; no generator's state is carried from step to step.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Kind = Literal["embed", "attention", "residual"]


class Rates(NamedTuple):
    """Share of numbers that are dropped in training: after the embeddings, of attention weights, before residuals."""

    embed: float = 0.0
    attention: float = 0.0
    residual: float = 0.0


class Dropout(NamedTuple):
    """What a forward pass needs to drop: the rates, and one key a row."""

    rates: Rates
    keys_B: jax.Array


def row_keys(seed: int, step: jax.Array, row_B: jax.Array) -> jax.Array:
    """The keys of some rows of a step's global batch, by their numbers in it: [B]."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, row_B)


def drop(x: jax.Array, dropout: Dropout | None, kind: Kind, *site: int | jax.Array) -> jax.Array:
    """Zero a share of `x` [B, ...] and scale up the rest; the numbers of `site` tell the places of one pass apart."""
    rate = getattr(dropout.rates, kind) if dropout else 0.0
    if dropout is None or not rate:
        return x
    keys_B = dropout.keys_B
    for number in site:
        keys_B = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, number)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys_B)
    return jnp.where(kept, x / (1 - rate), 0.0)
