"""Cross-entropy of the next token, over the rows that a vocabulary really has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

GROUP = 64  # divides what a vocabulary is padded to


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def cross_entropy(logits: jax.Array, targets: jax.Array, num_tokens: int) -> jax.Array:
    """-log softmax(logits)[target] in nats: float32 [..., V], int32 [...] -> float32 [...].

    Columns from `num_tokens` on pad the vocabulary and have no probability. The backward pass writes softmax - one_hot
    in one fused sweep; autodiff would scatter, which is slow on a CPU.
    """
    return _forward(logits, targets, num_tokens)[0]


def _forward(
    logits: jax.Array, targets: jax.Array, num_tokens: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    most = _largest(logits, num_tokens)
    real = jnp.arange(logits.shape[-1]) < num_tokens
    likely = jnp.exp(jnp.where(real, logits - most[..., None], -jnp.inf))
    total = jnp.sum(likely, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return most + jnp.log(total) - picked, (likely, targets, total)  # the backward pass takes no exponential again


def _backward(
    num_tokens: int, saved: tuple[jax.Array, jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    likely, targets, total = saved
    one_hot = jnp.arange(likely.shape[-1]) == targets[..., None]
    return likely * (cotangent / total)[..., None] - jnp.where(one_hot, cotangent[..., None], 0.0), None


def _largest(logits: jax.Array, num_tokens: int) -> jax.Array:
    """The largest of the first `num_tokens` logits: float32 [..., V] -> [...].

    XLA's CPU backend writes in full whatever it takes a maximum of, masked or sliced. There it takes that of groups of
    what is written already, and looks for padding in the last groups alone.
    """

    def masked(logits: jax.Array) -> jax.Array:
        return jnp.max(jnp.where(jnp.arange(logits.shape[-1]) < num_tokens, logits, -jnp.inf), axis=-1)

    def in_groups(logits: jax.Array) -> jax.Array:
        whole = num_tokens // GROUP
        groups = jnp.max(logits.reshape(*logits.shape[:-1], -1, GROUP), axis=-1)[..., :whole]
        return jnp.max(jnp.concatenate([groups, logits[..., whole * GROUP : num_tokens]], axis=-1), axis=-1)

    if logits.shape[-1] % GROUP:
        return masked(logits)
    return jax.lax.platform_dependent(logits, cpu=in_groups, default=masked)


cross_entropy.defvjp(_forward, _backward)


def chunked(
    losses: Callable[[jax.Array, jax.Array], jax.Array], hidden_BTD: jax.Array, targets_BT: jax.Array, tokens: int
) -> jax.Array:
    """`losses(hidden, targets)` [B, T], a piece of about `tokens` tokens at a time, forward and backward.

    Each piece's logits are computed again in the backward pass, so only one piece's are alive at any time. Pieces are
    cut along T: B may be sharded over devices. The same numbers as all at once, but for the order in which the head's
    gradient is summed.
    """
    B, T, _ = hidden_BTD.shape
    pieces = min(T, -(-B * T // tokens))
    length = -(-T // pieces)
    padding = pieces * length - T

    def cut(x_BT: jax.Array) -> jax.Array:
        padded = jnp.pad(x_BT, [(0, 0), (0, padding)] + [(0, 0)] * (x_BT.ndim - 2))
        return jnp.moveaxis(padded.reshape(B, pieces, length, *x_BT.shape[2:]), 1, 0)

    piece = jax.checkpoint(lambda turn: losses(*turn))
    found = jax.lax.map(piece, (cut(hidden_BTD), cut(targets_BT)))
    return jnp.moveaxis(found, 0, 1).reshape(B, -1)[:, :T]
