"""What is GPT-Neo's own, and what every checkpoint must pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import modeling
from modeling.checkpoint import CheckpointError, Model
from modeling.config import UnsupportedConfig
from modeling.decoder import config_from_hf, family
from modeling.table import count_parameters, decay_mask
from tests.conftest import TINY


@pytest.fixture(scope="module")
def model(model_dir) -> Model:
    return modeling.load(model_dir)


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, TINY["vocab_size"], (2, 31))


def test_the_vocabulary_is_padded_in_memory_and_cut_at_export(model, model_dir):
    assert model.params["embed"]["tokens"].shape == (384, 21)  # 307 rounded up to a multiple of 128
    assert load_file(model_dir / "model.safetensors")["transformer.wte.weight"].shape == (307, 21)
    assert modeling.logits(model.config, model.params, jnp.zeros((1, 3), jnp.int32)).shape == (1, 3, 307)


def test_padding_rows_of_the_vocabulary_change_no_loss_and_get_no_gradient(model, tokens):
    inputs, targets = jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:])

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return modeling.token_losses(model.config, params, inputs, targets).sum()

    noisy = jax.tree.map(lambda leaf: leaf, model.params)
    noisy["embed"] = {**noisy["embed"], "tokens": noisy["embed"]["tokens"].at[307:].set(9.0)}
    found, gradient = loss(noisy)
    assert found == loss(model.params)[0]
    assert np.all(np.asarray(gradient["embed"]["tokens"])[307:] == 0)


def test_a_later_token_changes_no_earlier_score_and_a_local_layer_forgets(model, tokens):
    changed = tokens.copy()
    changed[:, 20] += 1
    changed %= TINY["vocab_size"]
    one, two = (np.asarray(modeling.logits(model.config, model.params, jnp.asarray(t))) for t in (tokens, changed))
    np.testing.assert_array_equal(one[:, :20], two[:, :20])
    assert np.abs(one[:, 20:] - two[:, 20:]).max() > 1e-3
    local_hf = {**TINY, "attention_types": [[["local"], 3]]}
    local = Model(config_from_hf(local_hf), model.params)
    changed = tokens.copy()
    changed[:, 8] = (changed[:, 8] + 1) % TINY["vocab_size"]
    one, two = (np.asarray(modeling.logits(local.config, local.params, jnp.asarray(t))) for t in (tokens, changed))
    last = 8 + 3 * (TINY["window_size"] - 1)  # three layers, each seeing itself and four before
    np.testing.assert_array_equal(one[:, last + 1 :], two[:, last + 1 :])
    assert np.abs(one[:, last] - two[:, last]).max() > 0


def test_counts_and_decay_follow_from_the_table(model, model_dir):
    table = family(model.config).table
    stored = load_file(model_dir / "model.safetensors")
    sizes = {**model.config.sizes, "V": model.config.vocab_size}
    assert count_parameters(table, sizes) == sum(tensor.size for tensor in stored.values())
    decayed = {row.hf.split(".")[-2] for row in table if row.decay}
    assert decayed == {"wte", "wpe", "q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"}
    assert decay_mask(table)["blocks"]["norm_1_scale"] is False  # [L, D], decayed by those who count axes


def test_initial_values_have_the_configs_deviation_and_depend_on_the_seed_alone():
    config = config_from_hf({**TINY, "hidden_size": 96, "num_heads": 3, "initializer_range": 0.02})
    one, two, other = (modeling.init_params(config, seed) for seed in (3, 3, 4))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, two))
    assert not np.array_equal(one["blocks"]["up"], other["blocks"]["up"])
    assert abs(float(one["blocks"]["up"].std()) - 0.02) < 5e-4
    assert np.all(one["blocks"]["norm_1_scale"] == 1) and np.all(one["blocks"]["up_bias"] == 0)


def test_misfit_weights_are_refused_by_name(model_dir, tmp_path):
    from safetensors.numpy import save_file

    tensors = load_file(model_dir / "model.safetensors")
    (tmp_path / "config.json").write_text((model_dir / "config.json").read_text())
    wrong = dict(tensors)
    del wrong["transformer.h.1.ln_2.bias"]
    wrong["transformer.h.9.stray"] = tensors["transformer.ln_f.bias"]
    wrong["transformer.wpe.weight"] = tensors["transformer.wpe.weight"][:-1].copy()
    wrong["transformer.h.0.attn.attention.bias"] = tensors["transformer.ln_f.bias"]  # an old mask buffer: no complaint
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as refused:
        modeling.load(tmp_path)
    said = str(refused.value)
    assert "1 missing: transformer.h.1.ln_2.bias" in said
    assert "1 unknown: transformer.h.9.stray" in said
    assert "transformer.wpe.weight (63, 21), wanted (64, 21)" in said


def test_a_truncated_file_and_an_index_that_points_outside_are_refused(model_dir, tmp_path):
    (tmp_path / "config.json").write_text((model_dir / "config.json").read_text())
    data = (model_dir / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        modeling.load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')
    with pytest.raises(CheckpointError, match="not a file of its own folder"):
        modeling.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"model_type": "bloom"}, "model_type is 'bloom'"),
        ({"activation_function": "relu"}, "activation_function is 'relu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"attention_types": [[["global"], 2]]}, "names 2 layers"),
        ({"hidden_size": None}, "no 'hidden_size'"),
        ({"num_heads": 2}, "does not divide into 2 heads"),
    ],
)
def test_a_config_that_is_not_computed_here_is_refused(change, wanted):
    with pytest.raises(UnsupportedConfig, match=wanted):
        config_from_hf({**TINY, **change})
