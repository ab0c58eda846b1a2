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

    A leaf may also be a tuple of its layers (generation.decoding: cutting a stack in each step would copy it). A stack
    is unstacked as a whole: the transpose of that is one concatenation, where slicing each layer out would add L arrays
    of full size in the backward pass.
    """
    structure, stacked = nnx.split(blocks)
    leaves = nnx.to_pure_dict(stacked)
    layers = {name: leaf if isinstance(leaf, tuple) else jnp.unstack(leaf) for name, leaf in leaves.items()}
    caches = []
    for layer in range(num_layers):
        block = nnx.merge(structure, {name: own[layer] for name, own in layers.items()})
        x_BTD, new = apply(block, x_BTD, None if cache is None else cache[layer], layer)
        caches.append(new)
    return x_BTD, tuple(caches)


def look_up(table_RD: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of an embedding table as float32: [..., D]; the residual stream is float32 whatever the table holds.

    bfloat16 rows are fetched as their bits: XLA's CPU backend would convert the whole table first, at every call.
    """
    if table_RD.dtype != jnp.bfloat16:
        return table_RD[index].astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(table_RD, jnp.uint16)[index]
    return jax.lax.bitcast_convert_type(bits, jnp.bfloat16).astype(jnp.float32)


def sites(layer: int) -> tuple[int, int, int]:
    """Where a layer drops: its attention weights, what attention adds, what the MLP adds; 0 is after the embeddings."""
    return 3 * layer + 1, 3 * layer + 2, 3 * layer + 3


def positions(slot: jax.Array, length: int, first_slot_B: jax.Array | None) -> jax.Array:
    """Position of each token in its own row: int32 [B or 1, T]; rows are padded on the left up to `first_slot_B`."""
    slot_T = slot + jnp.arange(length)
    return slot_T[None] if first_slot_B is None else jnp.maximum(slot_T[None] - first_slot_B[:, None], 0)
