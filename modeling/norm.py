"""Layer normalisation, in float32."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalise the last axis to mean 0 and variance 1, then scale and shift.  Source: arXiv:1607.06450.

    The gradient is written by hand: autodiff's ends in a sum that XLA's CPU backend takes for cheap and repeats in
    each layer below, so that a layer's cost grows with those above it (docs/log.md).
    """
    return _layer_norm(x, scale[...], bias[...], epsilon)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[jax.Array, tuple[Any, ...]]:
    mean = x.mean(-1, keepdims=True)
    centred = x - mean
    spread = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)
    return centred * spread * scale + bias, (x, mean, spread, scale)


def _backward(epsilon: float, saved: tuple[Any, ...], cotangent: jax.Array) -> tuple[jax.Array, ...]:
    x, mean, spread, scale = saved
    normal = (x - mean) * spread
    rows = tuple(range(x.ndim - 1))
    along = cotangent * scale
    shared = along.mean(-1, keepdims=True) + normal * (along * normal).mean(-1, keepdims=True)
    return (along - shared) * spread, jnp.sum(cotangent * normal, rows), jnp.sum(cotangent, rows)


_layer_norm.defvjp(_forward, _backward)
