"""Attention: which positions a query sees, and the weighted sum over them, with or without a cache.

One function, four ways to compute it (modeling.execution): `plain` writes all T x T scores; `blocked` takes 128
queries at a time with only the keys that they may see, so that its work grows with T x window, and is half of plain's
where attention is global; `cudnn` and `splash` are kernels (modeling.attention_kernels). Decoding over a cache, where
one query meets all keys, is always plain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from modeling.attention_kernels import cudnn_attention, splash_attention
from modeling.dot import dot
from modeling.dropout import Dropout, drop
from modeling.execution import Execution
from modeling.layers import LayerCache, Pass

BLOCK = 128  # queries a block: the side of a matrix unit; of 64, 128 and 256 the fastest on a CPU (docs/log.md)
KERNELS: dict[str, Callable[..., jax.Array]] = {"cudnn": cudnn_attention, "splash": splash_attention}


def visible(
    query_slot_T: jax.Array, key_slot_S: jax.Array, first_slot_B: jax.Array | None, window: int | None
) -> jax.Array:
    """Say which keys each query sees: bool [B or 1, T, S].

    A query sees itself and what came before, at most `window` positions counting itself (the torch GPT-Neo
    convention), and never a slot before its row's first one, where a left-padded row holds no token.
    """
    distance_TS = query_slot_T[:, None] - key_slot_S[None, :]
    seen = distance_TS >= 0
    if window is not None:
        seen &= distance_TS < window
    if first_slot_B is None:
        return seen[None]
    return seen[None] & (key_slot_S[None, None, :] >= first_slot_B[:, None, None])


def attend(
    query_BHTK: jax.Array,
    key_BHSK: jax.Array,
    value_BHSK: jax.Array,
    seen_BTS: jax.Array,
    scale: float | jax.Array,
    dtype: str,
    dropout: Dropout | None = None,
    site: tuple[Any, ...] = (0,),
) -> jax.Array:
    """Weight values by the softmax of scaled scores over the keys that each query sees: float32 [B, H, T, K].

    A query that sees nothing (a padding slot) gets the plain mean of the values, finite and unused.
    """
    scores_BHTS = dot("BHTK,BHSK->BHTS", query_BHTK, key_BHSK, dtype) * scale
    scores_BHTS = jnp.where(seen_BTS[:, None], scores_BHTS, jnp.finfo(jnp.float32).min)
    weights_BHTS = jax.nn.softmax(scores_BHTS, axis=-1)  # float32: GPT-Neo's unscaled scores overflow a bfloat16 one
    weights_BHTS = drop(weights_BHTS, dropout, "attention", *site)
    return dot("BHTS,BHSK->BHTK", weights_BHTS, value_BHSK, dtype)


def self_attention(
    query_BTE: jax.Array,
    key_BTE: jax.Array,
    value_BTE: jax.Array,
    cache: LayerCache | None,
    this: Pass,
    *,
    num_heads: int,
    scale: float | jax.Array,
    window: int | None = None,
    site: Any = 0,
) -> tuple[jax.Array, LayerCache | None]:
    """Attend over this piece and what the cache holds before it; E is heads x head width.

    Returns the mixed values [B, T, E] and, where there was a cache, the one for the next piece.
    """
    B, T, _ = query_BTE.shape
    query_BHTK, key_BHTK, value_BHTK = (
        x.reshape(B, T, num_heads, -1).swapaxes(1, 2) for x in (query_BTE, key_BTE, value_BTE)
    )
    if cache is None:
        mixed_BHTK = _attend_whole(query_BHTK, key_BHTK, value_BHTK, this, scale, window, site)
    else:
        key_BHSK, value_BHSK = (
            jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (0, 0, this.slot, 0))
            for old, new in zip(cache, (key_BHTK, value_BHTK), strict=True)
        )
        cache = key_BHSK, value_BHSK
        S = key_BHSK.shape[2]
        if T == S:  # a prompt that fills its cache meets nothing but itself
            tokens_BT = None if this.first_slot_B is None else jnp.arange(T) >= this.first_slot_B[:, None]
            alone = this._replace(segment_ids_BT=tokens_BT)
            mixed_BHTK = _attend_whole(query_BHTK, key_BHTK, value_BHTK, alone, scale, window, site)
        else:
            seen_BTS = visible(this.slot + jnp.arange(T), jnp.arange(S), this.first_slot_B, window)
            # in the cache's own type, so that a step converts none of it (docs/log.md)
            mixed_BHTK = attend(query_BHTK, key_BHSK, value_BHSK, seen_BTS, scale, str(key_BHSK.dtype))
    return mixed_BHTK.swapaxes(1, 2).reshape(B, T, -1), cache


def _attend_whole(
    query_BHTK: jax.Array,
    key_BHTK: jax.Array,
    value_BHTK: jax.Array,
    this: Pass,
    scale: float | jax.Array,
    window: int | None,
    site: Any,
) -> jax.Array:
    """Attention among the tokens of whole rows, in the way that `this.how` names."""
    T = query_BHTK.shape[2]
    way, segments_BT = this.how.attention, this.segment_ids_BT
    size = T if way == "plain" else BLOCK
    if not (this.dropout and this.dropout.rates.attention):  # else in blocks: a kernel has no place to drop weights

        def attend_own(
            query: jax.Array, key: jax.Array, value: jax.Array, segments_BT: jax.Array | None = None
        ) -> jax.Array:
            if way in KERNELS:
                return KERNELS[way](query, key, value, segments_BT, window, this.how.dtype)
            return _attend_blocks(query, key, value, segments_BT, window, size, this.how.dtype)

        # a kernel multiplies nothing but queries and keys; scaled in float32, then rounded
        all_rows = [query_BHTK * scale, key_BHTK, value_BHTK] + ([] if segments_BT is None else [segments_BT])
        return _on_each_device(attend_own, this.how)(*all_rows)
    blocks = []
    for block, keys in _blocks(T, size, window):
        seen_BTS = _seen(block, keys, segments_BT, window)
        rows = query_BHTK[:, :, block], key_BHTK[:, :, keys], value_BHTK[:, :, keys]
        blocks.append(attend(*rows, seen_BTS, scale, this.how.dtype, this.dropout, (site, block.start)))
    return jnp.concatenate(blocks, axis=2)


def _blocks(length: int, size: int, window: int | None) -> list[tuple[slice, slice]]:
    """Cut queries into blocks, each with the keys that any of it may see, from the start of a block on."""
    blocks = []
    for first in range(0, length, size):
        end = min(first + size, length)
        oldest = 0 if window is None else max(0, first - window + 1)
        blocks.append((slice(first, end), slice(oldest // size * size, end)))
    return blocks


def _seen(block: slice, keys: slice, segments_BT: jax.Array | None, window: int | None) -> jax.Array:
    seen_BTS = visible(jnp.arange(block.start, block.stop), jnp.arange(keys.start, keys.stop), None, window)
    if segments_BT is not None:
        seen_BTS &= segments_BT[:, block, None] == segments_BT[:, None, keys]
    return seen_BTS


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _attend_blocks(
    query_BHTK: jax.Array,
    key_BHTK: jax.Array,
    value_BHTK: jax.Array,
    segments_BT: jax.Array | None,
    window: int | None,
    size: int,
    dtype: str,
) -> jax.Array:
    """Attention of scaled queries, a block of them at a time; all float32.

    The backward pass keeps the weights as the products take them, in `dtype`; autodiff would keep them in float32 too.
    """
    return _forward(query_BHTK, key_BHTK, value_BHTK, segments_BT, window, size, dtype)[0]


def _forward(
    query_BHTK: jax.Array,
    key_BHTK: jax.Array,
    value_BHTK: jax.Array,
    segments_BT: jax.Array | None,
    window: int | None,
    size: int,
    dtype: str,
) -> tuple[jax.Array, Any]:
    query_BHTK, key_BHTK, value_BHTK = (x.astype(dtype) for x in (query_BHTK, key_BHTK, value_BHTK))
    weights, mixed = [], []
    for block, keys in _blocks(query_BHTK.shape[2], size, window):
        scores_BHTS = dot("BHTK,BHSK->BHTS", query_BHTK[:, :, block], key_BHTK[:, :, keys], dtype)
        seen_BTS = _seen(block, keys, segments_BT, window)
        scores_BHTS = jnp.where(seen_BTS[:, None], scores_BHTS, jnp.finfo(jnp.float32).min)
        weights.append(jax.nn.softmax(scores_BHTS, axis=-1).astype(dtype))
        mixed.append(dot("BHTS,BHSK->BHTK", weights[-1], value_BHTK[:, :, keys], dtype))
    mixed_BHTK = jnp.concatenate(mixed, axis=2)
    return mixed_BHTK, (query_BHTK, key_BHTK, value_BHTK, weights, mixed_BHTK)


def _backward(
    window: int | None, size: int, dtype: str, saved: Any, cotangent_BHTK: jax.Array
) -> tuple[jax.Array | None, ...]:
    query_BHTK, key_BHTK, value_BHTK, weights, mixed_BHTK = saved
    shared_BHT = jnp.sum(cotangent_BHTK * mixed_BHTK, axis=-1, keepdims=True)
    to_query = []
    # keys last: so only narrow operands are transposed
    to_key_BHKS = to_value_BHKS = jnp.zeros_like(key_BHTK, jnp.float32).swapaxes(2, 3)
    cotangent_BHTK = cotangent_BHTK.astype(dtype)
    for (block, keys), weights_BHTS in zip(_blocks(query_BHTK.shape[2], size, window), weights, strict=True):
        rows_BHTK = cotangent_BHTK[:, :, block]
        to_weights_BHTS = dot("BHTK,BHSK->BHTS", rows_BHTK, value_BHTK[:, :, keys], dtype)
        to_scores_BHTS = (weights_BHTS * (to_weights_BHTS - shared_BHT[:, :, block])).astype(dtype)
        to_query.append(dot("BHTS,BHSK->BHTK", to_scores_BHTS, key_BHTK[:, :, keys], dtype))
        more_key = dot("BHTK,BHTS->BHKS", query_BHTK[:, :, block], to_scores_BHTS, dtype)
        more_value = dot("BHTK,BHTS->BHKS", rows_BHTK, weights_BHTS, dtype)
        to_key_BHKS, to_value_BHKS = (
            jax.lax.dynamic_update_slice_in_dim(whole, whole[..., keys] + more, keys.start, 3)
            for whole, more in ((to_key_BHKS, more_key), (to_value_BHKS, more_value))
        )
    return jnp.concatenate(to_query, axis=2), to_key_BHKS.swapaxes(2, 3), to_value_BHKS.swapaxes(2, 3), None


_attend_blocks.defvjp(_forward, _backward)


def _on_each_device(attend_own: Callable[..., jax.Array], how: Execution) -> Callable[..., jax.Array]:
    """On a mesh, let each device attend with its own rows and heads: XLA cannot cut a kernel up by itself, nor axes
    that `dot` merges."""
    if not how.rows_over:
        return attend_own

    def attend_all(*rows: jax.Array) -> jax.Array:
        heads = PartitionSpec(how.rows_over, "tensor")
        specs = (heads, heads, heads, PartitionSpec(how.rows_over))[: len(rows)]
        return jax.shard_map(attend_own, in_specs=specs, out_specs=heads, check_vma=False)(*rows)

    return attend_all
