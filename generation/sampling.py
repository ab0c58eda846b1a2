"""Choice of the next token: greedy, temperature, top-k, top-p."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

BLOCK = 512  # probabilities summed before the draw looks where its number falls: V / BLOCK sums, then BLOCK values


def _threshold(probabilities_NV: jax.Array, enough: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Say which probabilities are at or above the highest threshold at which a row has `enough`: bool [N, V].

    `enough` says it a row from a mask [N, V]. Found by bisection over the bit patterns of positive floats, which sort
    as the floats do: exact in 31 steps, where a sort of [16, 50304] takes 17 times as long. Equal ones stay together.
    """
    bits_NV = jax.lax.bitcast_convert_type(probabilities_NV, jnp.int32)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds  # at or above `low` is enough, at or above `high` is not
        middle = low + (high - low) // 2
        found = enough(bits_NV >= middle[:, None])
        return jnp.where(found, middle, low), jnp.where(found, high, middle)

    rows = probabilities_NV.shape[0]
    above_one = jnp.int32(0x3F800001)  # the float after 1.0
    low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.zeros(rows, jnp.int32), jnp.full(rows, above_one)))
    return bits_NV >= low[:, None]


def nucleus(probabilities_NV: jax.Array, top_p: float | jax.Array) -> jax.Array:
    """Say which tokens belong to the smallest set whose probability reaches `top_p`: bool [N, V].

    Equally probable tokens at the edge stay together.  Source: nucleus sampling, arXiv:1904.09751.
    """
    return _threshold(probabilities_NV, lambda kept: jnp.sum(jnp.where(kept, probabilities_NV, 0), axis=-1) >= top_p)


def most_probable(probabilities_NV: jax.Array, top_k: int | jax.Array) -> jax.Array:
    """Say which tokens are among the `top_k` most probable: bool [N, V].

    Tokens as probable as the last of them stay too, as in transformers.  Source: top-k sampling, arXiv:1805.04833.
    """
    return _threshold(probabilities_NV, lambda kept: jnp.sum(kept, axis=-1) >= top_k)


def draw(weights_NV: jax.Array, keys_N: jax.Array) -> jax.Array:
    """Draw one index a row in proportion to its weight, never one of weight 0: int32 [N].

    One uniform number a row is looked up in the running sum, first of blocks, then inside one block. Adding a Gumbel
    number to each score needs V random numbers a row: ten times as long on a CPU. The number has 23 bits, so weights
    below 1e-7 of the row's sum are as good as 0.
    """
    N, V = weights_NV.shape
    blocks_NCX = jnp.pad(weights_NV, ((0, 0), (0, -V % BLOCK))).reshape(N, -1, BLOCK)
    block_NC = blocks_NCX.sum(axis=-1)
    until_NC = jnp.cumsum(block_NC, axis=-1)
    goal_N = jax.vmap(jax.random.uniform)(keys_N) * until_NC[:, -1]
    chosen_N = _first_above(until_NC, goal_N, block_NC > 0)
    inside_NX = jnp.take_along_axis(blocks_NCX, chosen_N[:, None, None], axis=1)[:, 0]
    rest_N = goal_N - jnp.take_along_axis(until_NC - block_NC, chosen_N[:, None], axis=1)[:, 0]
    return chosen_N * BLOCK + _first_above(jnp.cumsum(inside_NX, axis=-1), rest_N, inside_NX > 0)


def _first_above(sums_NX: jax.Array, goal_N: jax.Array, possible_NX: jax.Array) -> jax.Array:
    """The first possible index whose running sum exceeds the goal; the last possible one where rounding leaves none."""
    above_NX = possible_NX & (sums_NX > goal_N[:, None])
    last_N = sums_NX.shape[-1] - 1 - jnp.argmax(possible_NX[:, ::-1], axis=-1)
    return jnp.where(above_NX.any(axis=-1), jnp.argmax(above_NX, axis=-1), last_N).astype(jnp.int32)


def choose(
    logits_NV: jax.Array,
    keys_N: jax.Array,
    temperature: float | jax.Array,
    top_k: int | jax.Array,
    top_p: float | jax.Array,
) -> jax.Array:
    """Draw one token a row, each with its own key; a temperature of 0 takes the most probable: int32 [N].

    `top_k` (0: all) comes before `top_p`, which is of what it left, as in the field.
    """

    def sample() -> jax.Array:
        chances_NV = jax.nn.softmax(logits_NV / temperature, axis=-1)

        def cut() -> jax.Array:
            kept_NV = jnp.where(most_probable(chances_NV, top_k), chances_NV, 0)
            return kept_NV / kept_NV.sum(axis=-1, keepdims=True)

        chances_NV = jax.lax.cond(top_k > 0, cut, lambda: chances_NV)
        return draw(jnp.where(nucleus(chances_NV, top_p), chances_NV, 0), keys_N)

    return jax.lax.cond(temperature > 0, sample, lambda: jnp.argmax(logits_NV, axis=-1).astype(jnp.int32))
