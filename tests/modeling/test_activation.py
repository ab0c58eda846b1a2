from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from modeling.activation import gelu


def test_gelu_and_its_gradient_equal_autodiff_of_the_formula():
    x = jnp.concatenate([jnp.linspace(-6, 6, 301), jnp.array([-1e4, -50.0, 0.0, 50.0, 1e4])])
    weights = jax.random.normal(jax.random.key(0), x.shape)

    def value_and_gradient(function):
        return jax.value_and_grad(lambda x: jnp.sum(weights * function(x)))(x)

    np.testing.assert_allclose(gelu(x), jax.nn.gelu(x, approximate=True), rtol=1e-5, atol=1e-6)
    for found, wanted in zip(value_and_gradient(gelu), value_and_gradient(jax.nn.gelu), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_only_what_went_in_waits_for_the_backward_pass():
    x = jnp.ones((4, 6))
    backward = jax.vjp(lambda x: gelu(x + 1.0), x)[1]
    assert sum(kept.nbytes for kept in jax.tree.leaves(backward)) == x.nbytes
