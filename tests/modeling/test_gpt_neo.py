"""Laws 1, 6 and 8 for GPT-Neo, with torch transformers as the oracle."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import modeling
from modeling.checkpoint import CheckpointError, Model
from modeling.config import UnsupportedConfig
from modeling.decoder import config_from_hf, extend, family, init_cache
from modeling.table import count_parameters, decay_mask
from tests.conftest import TINY


@pytest.fixture(scope="module")
def model(model_dir) -> Model:
    return modeling.load(model_dir)


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, TINY["vocab_size"], (2, 31))


def torch_model(folder):
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM

    return torch, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_logits_equal_torch(model, model_dir, tokens):
    torch, oracle = torch_model(model_dir)
    with torch.no_grad():
        wanted = oracle(torch.tensor(tokens)).logits.numpy()
    found = np.asarray(modeling.logits(model.config, model.params, jnp.asarray(tokens)))
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_gradients_equal_torch(model, model_dir, tokens):
    torch, oracle = torch_model(model_dir)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    logits = oracle(torch.tensor(inputs)).logits
    torch.nn.functional.cross_entropy(
        logits.reshape(-1, TINY["vocab_size"]), torch.tensor(targets).reshape(-1)
    ).backward()
    config = model.config

    def loss(params):
        return modeling.token_losses(config, params, jnp.asarray(inputs), jnp.asarray(targets), dtype="float32").mean()

    found = jax.grad(loss)(model.params)
    norm = np.sqrt(sum(float(p.grad.square().sum()) for p in oracle.parameters()))
    from modeling.table import hf_tensors

    ours = dict(hf_tensors(family(config).table, config.sizes, found, config.vocab_size))
    for name, parameter in oracle.named_parameters():
        assert np.abs(ours[name] - parameter.grad.numpy()).max() < 1e-5 * norm, name


def test_import_then_export_keeps_every_tensor_and_byte(model, model_dir, tmp_path):
    modeling.save(tmp_path, model, eos_token_id=0)
    before, after = load_file(model_dir / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor, after[name])
    assert (tmp_path / "model.safetensors").read_bytes() == (model_dir / "model.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_half_precision_checkpoint_comes_back_bit_for_bit(model, tmp_path, dtype):
    modeling.save(tmp_path / "one", model, dtype=dtype)
    modeling.save(tmp_path / "two", modeling.load(tmp_path / "one"), dtype=dtype)
    one, two = tmp_path / "one" / "model.safetensors", tmp_path / "two" / "model.safetensors"
    assert one.read_bytes() == two.read_bytes()
    assert json.loads((tmp_path / "two" / "config.json").read_text())["dtype"] == dtype


def test_the_vocabulary_is_padded_in_memory_and_cut_at_export(model, model_dir):
    assert model.params["embed"]["tokens"].shape == (384, 21)  # 307 rounded up to a multiple of 128
    assert load_file(model_dir / "model.safetensors")["transformer.wte.weight"].shape == (307, 21)
    assert modeling.logits(model.config, model.params, jnp.zeros((1, 3), jnp.int32)).shape == (1, 3, 307)


def test_padding_rows_of_the_vocabulary_change_no_loss_and_get_no_gradient(model, tokens):
    inputs, targets = jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:])

    def loss(params):
        return modeling.token_losses(model.config, params, inputs, targets, dtype="float32").sum()

    noisy = jax.tree.map(lambda leaf: leaf, model.params)
    noisy["embed"] = {**noisy["embed"], "tokens": noisy["embed"]["tokens"].at[307:].set(9.0)}
    assert loss(noisy) == loss(model.params)
    assert np.all(np.asarray(jax.grad(loss)(noisy)["embed"]["tokens"])[307:] == 0)


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


def test_cached_decoding_equals_the_full_forward(model, tokens):
    """Rows of different lengths, padded on the left, fed in pieces of 13, 1, 1, ... tokens."""
    config, params = model
    lengths = (31, 23)
    slots = 31
    padded = np.zeros((2, slots), np.int32)
    for row, length in enumerate(lengths):
        padded[row, slots - length :] = tokens[row, :length]
    first_slot = jnp.array([slots - length for length in lengths])
    step = jax.jit(lambda cache, piece, slot: extend(config, params, cache, piece, slot, first_slot, dtype="float32"))
    cache = init_cache(config, 2, slots + 5, "float32")
    scores = {}
    done = 0
    while done < slots:
        size = 13 if done == 0 else 1
        logits, cache = step(cache, jnp.asarray(padded[:, done : done + size]), jnp.int32(done))
        done += size
        scores[done - 1] = np.asarray(logits)
    for row, length in enumerate(lengths):
        full = np.asarray(modeling.logits(config, params, jnp.asarray(tokens[row : row + 1, :length])))[0]
        for slot, found in scores.items():
            place = slot - (slots - length)
            np.testing.assert_allclose(found[row], full[place], atol=2e-5 * np.abs(full).max())


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
