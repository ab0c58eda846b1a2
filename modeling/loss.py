"""Cross-entropy of the next token, over the rows that a vocabulary really has."""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-log softmax(logits)[target] in nats: float32 [..., V], int32 [...] -> float32 [...].

    The backward pass writes softmax - one_hot in one fused sweep; autodiff would scatter, which is slow on a CPU.
    """
    return _forward(logits, targets)[0]


def _forward(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    total = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return total - picked, (logits, targets, total)


def _backward(saved: tuple[jax.Array, jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, None]:
    logits, targets, total = saved
    probabilities = jnp.exp(logits - total[..., None])
    one_hot = jnp.arange(logits.shape[-1]) == targets[..., None]
    return (probabilities - one_hot) * cotangent[..., None], None


cross_entropy.defvjp(_forward, _backward)
