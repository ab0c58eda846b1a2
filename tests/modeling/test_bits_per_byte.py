from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modeling
from modeling.bits_per_byte import bits_per_byte
from tests.conftest import TINY


@pytest.fixture(scope="module")
def model(model_dir):
    return modeling.load(model_dir)


def test_it_is_the_sum_of_surprise_over_whole_documents_over_their_bytes(model):
    """Against a loop over documents and blocks without batches or padding."""
    config, params = model
    random = np.random.default_rng(0)
    documents = [(random.integers(1, 307, n).tolist(), 3 * n + 1) for n in (1, 12, 13, 14, 40)]
    bits = 0.0
    for ids, _ in documents:
        stream = [0, *ids, 0]
        for first in range(0, len(stream) - 1, 13):
            piece = jnp.array([stream[first : first + 14]])
            chances = jax.nn.log_softmax(modeling.logits(config, params, piece[:, :-1]))[0]
            bits -= sum(float(chances[i, piece[0, i + 1]]) for i in range(piece.shape[1] - 1)) / math.log(2)
    found = bits_per_byte(config, params, documents, eos_token_id=0, block_size=13)
    assert found == pytest.approx(bits / sum(size for _, size in documents), rel=1e-5)


def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary(model):
    flat = jax.tree.map(jnp.zeros_like, model.params)
    found = bits_per_byte(model.config, flat, [([5, 6, 7], 4)], eos_token_id=0, block_size=13)
    assert found == pytest.approx(4 * math.log2(TINY["vocab_size"]) / 4, rel=1e-6)  # 3 tokens and the end; 4 bytes
