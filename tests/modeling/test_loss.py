"""Cross-entropy against autodiff of its plain form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from modeling.loss import cross_entropy


def plain(logits, targets, num_tokens):
    real = jax.nn.log_softmax(logits[..., :num_tokens], axis=-1)
    return -jnp.take_along_axis(real, targets[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize(("rows", "num_tokens"), [(128, 128), (128, 127), (192, 101), (131, 97)])
@pytest.mark.parametrize("level", [0.0, -300.0])
def test_it_and_its_gradient_are_the_plain_forms(rows, num_tokens, level):
    """Also where every real logit is far below the padding's, whose exponential alone would be counted."""
    random = np.random.default_rng(0)
    logits = random.normal(level, 3, (2, 5, rows)).astype(np.float32)
    logits[..., num_tokens:] = 0
    targets = random.integers(0, num_tokens, (2, 5)).astype(np.int32)
    weights = random.random((2, 5)).astype(np.float32)
    weights[0, 2] = 0

    def total(loss):
        return jax.value_and_grad(lambda x: jnp.sum(loss(x, targets, num_tokens) * weights))(logits)

    (found, gradient), (wanted, theirs) = total(cross_entropy), total(plain)
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)
    np.testing.assert_allclose(gradient, theirs, atol=1e-6)
    assert not np.asarray(gradient)[..., num_tokens:].any() and not np.asarray(gradient)[0, 2].any()
