from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from modeling.norm import layer_norm


def test_norm_and_its_gradients_equal_the_definition_and_autodiff():
    x, scale, bias = (
        jax.random.normal(jax.random.key(i), shape) + 1 for i, shape in enumerate([(2, 5, 7), (7,), (7,)])
    )

    def plain(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3) * scale + bias

    def value_and_gradients(norm):
        return jax.value_and_grad(lambda *all: jnp.sum(jnp.sin(norm(*all))), (0, 1, 2))(x, scale, bias)

    found = value_and_gradients(lambda x, scale, bias: layer_norm(x, scale, bias, 1e-3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, value_and_gradients(plain))
