from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modeling
from modeling.decoder import config_from_hf
from modeling.dropout import Dropout, Rates, drop, row_keys
from tests.modeling.test_families import CONFIGS


def test_a_share_is_dropped_and_the_mean_stays():
    dropout = Dropout(Rates(residual=0.25), row_keys(0, jnp.int32(3), jnp.arange(7)))
    found = np.asarray(drop(jnp.ones((7, 100, 101)), dropout, "residual", 2))
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert np.mean(found == 0) == pytest.approx(0.25, abs=0.01)


def test_masks_differ_by_seed_step_row_and_site_and_by_nothing_else():
    def mask(seed=0, step=0, row=0, site=1, company=()):
        dropout = Dropout(Rates(0.5, 0.5, 0.5), row_keys(seed, jnp.int32(step), jnp.array([*company, row])))
        return np.asarray(drop(jnp.ones((1 + len(company), 64)), dropout, "embed", site))[-1].tobytes()

    assert mask() == mask(company=(5, 9))
    assert len({mask(), mask(seed=1), mask(step=1), mask(row=1), mask(site=2)}) == 5


def test_a_rate_of_0_and_no_keys_change_nothing():
    x = jax.random.normal(jax.random.key(0), (3, 5))
    assert drop(x, None, "embed", 0) is x
    assert drop(x, Dropout(Rates(), row_keys(0, jnp.int32(0), jnp.arange(3))), "embed", 0) is x


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family_drops_where_its_config_says(name):
    """Each of the three rates alone changes the loss in training, and none does without keys."""
    names = ("embed_dropout", "attention_dropout", "resid_dropout")
    if name != "gpt_neo":
        names = ("embd_pdrop", "attn_pdrop", "resid_pdrop")
    params = modeling.init_params(config_from_hf(CONFIGS[name]), 0)
    tokens = jax.random.randint(jax.random.key(1), (2, 13), 0, 307)
    keys = row_keys(0, jnp.int32(0), jnp.arange(2))

    def loss(rates, keys):
        config = config_from_hf(CONFIGS[name] | dict(zip(names, rates, strict=True)))
        found = modeling.token_losses(config, params, tokens, tokens, dropout_keys_B=keys)
        return np.asarray(found).tobytes()

    plain = loss((0.0, 0.0, 0.0), None)
    assert plain == loss((0.5, 0.5, 0.5), None) == loss((0.0, 0.0, 0.0), keys)
    assert len({plain, loss((0.5, 0, 0), keys), loss((0, 0.5, 0), keys), loss((0, 0, 0.5), keys)}) == 4
