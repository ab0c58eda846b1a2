"""Layers: parameters of a table as NNX modules, and the walk through a stack of blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from modeling.config import DecoderConfig
from modeling.table import Table, initial_value

LayerCache = tuple[jax.Array, jax.Array]  # keys and values, [B, H, S, K]
Cache = tuple[LayerCache, ...]


class Leaves(nnx.Module):
    """The parameters of a table below one prefix, as attributes; their first values are drawn from `key`."""

    def __init__(self, table: Table, prefix: str, config: DecoderConfig, key: jax.Array) -> None:
        for row in table:
            group, name = row.path.split(".")
            if group == prefix:
                setattr(self, name, nnx.Param(initial_value(row, config.sizes, config.initializer_range, key)))


def run_blocks(
    blocks: nnx.Module,
    x_BTD: jax.Array,
    cache: Cache | None,
    num_layers: int,
    apply: Callable[[Any, jax.Array, LayerCache | None, int], tuple[jax.Array, LayerCache]],
) -> tuple[jax.Array, Cache]:
    """Apply one block after the other; `blocks` holds all layers' leaves stacked, `apply` gets one layer's.

    Unstacked as a whole: the transpose of that is one concatenation, where slicing each layer out would add L arrays
    of full size in the backward pass.
    """
    structure, stacked = nnx.split(blocks)
    leaves, tree = jax.tree.flatten(stacked)
    layers = zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)
    caches = []
    for layer, own in zip(range(num_layers), layers, strict=True):
        block = nnx.merge(structure, jax.tree.unflatten(tree, own))
        x_BTD, new = apply(block, x_BTD, None if cache is None else cache[layer], layer)
        caches.append(new)
    return x_BTD, tuple(caches)


def sites(layer: int) -> tuple[int, int, int]:
    """Where a layer drops: its attention weights, what attention adds, what the MLP adds; 0 is after the embeddings."""
    return 3 * layer + 1, 3 * layer + 2, 3 * layer + 3


def positions(slot: jax.Array, length: int, first_slot_B: jax.Array | None) -> jax.Array:
    """Position of each token in its own row: int32 [B or 1, T]; rows are padded on the left up to `first_slot_B`."""
    slot_T = slot + jnp.arange(length)
    return slot_T[None] if first_slot_B is None else jnp.maximum(slot_T[None] - first_slot_B[:, None], 0)
