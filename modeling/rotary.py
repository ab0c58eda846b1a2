"""Rotary positions, the GPT-J convention."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rotate_pairs(x_BTE: jax.Array, position_BT: jax.Array, num_heads: int, rotary_dim: int) -> jax.Array:
    """Rotate channel pairs 2i, 2i+1 of each head, up to `rotary_dim`, by position x 10000^(-2i / rotary_dim).

    GPT-NeoX rotates halves instead; a checkpoint of one read as the other is silently wrong.
    Source: RoFormer, arXiv:2104.09864, section 3.4.2, with GPT-J's order of channels.
    """
    B, T, E = x_BTE.shape
    frequency_R = 10000.0 ** (-jnp.arange(0, rotary_dim, 2, dtype=jnp.float32) / rotary_dim)
    angle_BT1R = (position_BT[..., None] * frequency_R)[:, :, None]
    x_BTHK = x_BTE.reshape(B, T, num_heads, -1)
    turned, rest = x_BTHK[..., :rotary_dim], x_BTHK[..., rotary_dim:]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    cosine, sine = jnp.cos(angle_BT1R), jnp.sin(angle_BT1R)
    pairs = jnp.stack([even * cosine - odd * sine, odd * cosine + even * sine], axis=-1)
    return jnp.concatenate([pairs.reshape(turned.shape), rest], axis=-1).reshape(B, T, E)
