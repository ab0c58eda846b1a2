from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modeling.dot import dot
from modeling.loss import cross_entropy

SPECS = {
    "BTD,FD->BTF": ((2, 5, 7), (11, 7)),
    "BTHK,BSHK->BHTS": ((2, 5, 3, 7), (2, 11, 3, 7)),
    "BHTS,BSHK->BTHK": ((2, 3, 5, 11), (2, 11, 3, 7)),
    "BHTS,BHSK->BHTK": ((1, 3, 5, 11), (1, 3, 11, 7)),
}


def operands(spec):
    shapes = SPECS[spec]
    return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("spec", SPECS)
def test_product_and_gradients_equal_the_plain_einsum_in_float32(spec):
    x, y = operands(spec)

    def total(contract):
        return lambda x, y: jnp.sum(jnp.sin(contract(x, y)))

    plain = jax.value_and_grad(total(lambda x, y: jnp.einsum(spec, x, y)), (0, 1))(x, y)
    ours = jax.value_and_grad(total(lambda x, y: dot(spec, x, y, "float32")), (0, 1))(x, y)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), plain, ours)


@pytest.mark.parametrize("spec", SPECS)
def test_bfloat16_rounds_operands_and_cotangent_and_accumulates_in_float32(spec):
    x, y = operands(spec)
    round_off = lambda a: np.asarray(a.astype(jnp.bfloat16), np.float64)  # noqa: E731
    found, pull = jax.vjp(lambda x, y: dot(spec, x, y, "bfloat16"), x, y)
    np.testing.assert_allclose(found, np.einsum(spec, round_off(x), round_off(y)), rtol=1e-5, atol=1e-5)
    assert found.dtype == jnp.float32
    cotangent = jax.random.normal(jax.random.key(2), found.shape)
    gradient_x, gradient_y = pull(cotangent)
    left, right = spec.split("->")[0].split(",")
    out = spec.split("->")[1]
    g = round_off(cotangent)
    np.testing.assert_allclose(gradient_x, np.einsum(f"{out},{right}->{left}", g, round_off(y)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient_y, np.einsum(f"{out},{left}->{right}", g, round_off(x)), rtol=1e-4, atol=1e-4)


def test_cross_entropy_equals_its_definition_and_autodiff():
    logits = 5 * jax.random.normal(jax.random.key(0), (3, 5, 7))
    targets = jax.random.randint(jax.random.key(1), (3, 5), 0, 7)
    weights = jax.random.uniform(jax.random.key(2), (3, 5))

    def plain(logits):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]

    np.testing.assert_allclose(cross_entropy(logits, targets, logits.shape[-1]), plain(logits), rtol=1e-5, atol=1e-6)
    ours = jax.grad(lambda x: jnp.sum(weights * cross_entropy(x, targets, x.shape[-1])))(logits)
    wanted = jax.grad(lambda x: jnp.sum(weights * plain(x)))(logits)
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-6)


def test_padding_of_the_vocabulary_has_no_probability():
    """Whatever the padding's logits are, loss and gradient are those of the logits without it."""
    logits = jax.random.normal(jax.random.key(0), (7, 13))
    targets = jnp.arange(7)
    for padding in (-1e9, 0.0, 1e9):
        padded = jnp.pad(logits, [(0, 0), (0, 4)], constant_values=padding)
        found, gradient = jax.value_and_grad(lambda x: cross_entropy(x, targets, 13).sum())(padded)
        wanted, wanted_gradient = jax.value_and_grad(lambda x: cross_entropy(x, targets, 13).sum())(logits)
        assert found == wanted and np.isfinite(found)
        np.testing.assert_array_equal(gradient[:, :13], wanted_gradient)
        np.testing.assert_array_equal(gradient[:, 13:], 0)
