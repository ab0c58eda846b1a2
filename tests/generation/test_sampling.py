"""The choice of a token against plain definitions that sort."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.sampling import BLOCK, choose, draw, most_probable
from tests.generation.test_generation import lists_of

MOST_PROBABLE = jax.jit(most_probable, static_argnums=1)


@settings(max_examples=150, deadline=None)
@given(lists_of(st.integers(1, 50)), st.sampled_from([1, 2, 5, 13, 45]))
def test_top_k_keeps_what_a_sort_keeps_and_ties_together(weights, k):
    chances = np.array(weights, np.float32) / np.float32(sum(weights))
    kept = np.asarray(MOST_PROBABLE(jnp.asarray(chances)[None], k))[0]
    last = np.sort(chances)[::-1][min(k, len(chances)) - 1]
    np.testing.assert_array_equal(kept, chances >= last)


def test_top_p_is_of_what_top_k_left():
    """By hand: of .4 .3 .2 .1 top-k 3 leaves 4/9 3/9 2/9, of which two reach 0.75; without top-k it takes three."""
    logits = jnp.tile(jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1])), (500, 1))
    keys = jax.random.split(jax.random.key(0), 500)
    assert set(choose(logits, keys, 1.0, 3, 0.75).tolist()) == {0, 1}
    assert set(choose(logits, keys, 1.0, 0, 0.75).tolist()) == {0, 1, 2}


def test_top_k_of_one_is_greedy_at_any_temperature_and_greedy_ignores_it():
    logits = jax.random.normal(jax.random.key(1), (7, 311))
    keys = jax.random.split(jax.random.key(0), 7)
    best = jnp.argmax(logits, axis=-1).tolist()
    assert choose(logits, keys, 5.0, 1, 1.0).tolist() == best
    assert choose(logits, keys, 0.0, 5, 0.3).tolist() == best


@pytest.mark.parametrize("size", [1, 5, BLOCK, 2 * BLOCK + 17])
def test_a_draw_follows_the_weights_and_never_takes_a_zero(size):
    rng = np.random.default_rng(0)
    weights = rng.random(size) * (rng.random(size) < 0.3)
    weights[size // 2] = 2.0
    draws = 4000
    keys = jax.random.split(jax.random.key(3), draws)
    found = np.asarray(draw(jnp.tile(jnp.asarray(weights, jnp.float32), (draws, 1)), keys))
    share = np.bincount(found, minlength=size) / draws
    wanted = weights / weights.sum()
    assert share.shape == wanted.shape and not share[weights == 0].any()
    distance = np.abs(np.cumsum(share) - np.cumsum(wanted)).max()  # Kolmogorov-Smirnov
    assert distance < 1.95 / np.sqrt(draws)
