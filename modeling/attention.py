"""Attention: which positions a query sees, and the weighted sum over them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from modeling.dot import dot


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
    query_BTHK: jax.Array, key_BSHK: jax.Array, value_BSHK: jax.Array, seen_BTS: jax.Array, scale: float, dtype: str
) -> jax.Array:
    """Weight values by the softmax of scaled scores over the keys that each query sees: float32 [B, T, H, K].

    A query that sees nothing (a padding slot) gets the plain mean of the values, finite and unused.
    """
    scores_BHTS = dot("BTHK,BSHK->BHTS", query_BTHK, key_BSHK, dtype) * scale
    scores_BHTS = jnp.where(seen_BTS[:, None], scores_BHTS, jnp.finfo(jnp.float32).min)
    weights_BHTS = jax.nn.softmax(scores_BHTS, axis=-1)  # float32: GPT-Neo's unscaled scores overflow a bfloat16 one
    return dot("BHTS,BSHK->BTHK", weights_BHTS, value_BSHK, dtype)
