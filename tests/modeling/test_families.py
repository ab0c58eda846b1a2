"""Laws 1 and 6 for every family, with torch transformers as the oracle."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modeling
from generation import Settings, complete
from modeling.checkpoint import Model
from modeling.config import UnsupportedConfig
from modeling.decoder import FAMILIES, config_from_hf, extend, family, init_cache
from modeling.table import count_parameters, hf_tensors
from tests.conftest import ROOT, TINY
from tokenizer_patch import Tokenizer

# Awkward on purpose: odd numbers of layers, rotary_dim below the head size, a vocabulary that is no multiple of 128.
_GPT_J = {
    "vocab_size": 307, "n_positions": 64, "n_embd": 36, "n_layer": 3, "n_head": 3, "rotary_dim": 4, "n_inner": 53,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.3, "resid_pdrop": 0.0,
    "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip
_GPT_2 = {k: v for k, v in _GPT_J.items() if k != "rotary_dim"} | {"tie_word_embeddings": True, "n_embd": 21}
CONFIGS = {
    "gpt_neo": TINY,
    "gptj": {"model_type": "gptj", **_GPT_J},
    "codegen": {"model_type": "codegen", **_GPT_J, "n_embd": 40, "n_head": 4, "n_ctx": 64, "rotary_dim": 6},
    "gpt2": {"model_type": "gpt2", **_GPT_2},
    "codeparrot": {
        "model_type": "gpt2", **_GPT_2, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True,
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def model_dir(request, tmp_path_factory, tokenizer_dir):
    """A random model of one family with biases and norms that are not 0 and 1, as a Hugging Face folder."""
    config = config_from_hf(CONFIGS[request.param])
    params = modeling.init_params(config, 7)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    folder = tmp_path_factory.mktemp("model")
    model = Model(config, jax.tree.unflatten(tree, noisy))
    modeling.save(folder, model, tokenizer_dir=tokenizer_dir, eos_token_id=0)
    return folder


@pytest.fixture(scope="module")
def model(model_dir) -> Model:
    return modeling.load(model_dir)


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 307, (2, 31))


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
    torch.nn.functional.cross_entropy(logits.reshape(-1, 307), torch.tensor(targets).reshape(-1)).backward()
    config = model.config

    def loss(params):
        return modeling.token_losses(config, params, jnp.asarray(inputs), jnp.asarray(targets)).mean()

    found = jax.grad(loss)(model.params)
    norm = np.sqrt(sum(float(p.grad.square().sum()) for p in oracle.parameters()))
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


def test_a_prompt_that_fills_its_cache_equals_one_that_leaves_room(model):
    """The first meets only itself, in blocks; the second all slots of its cache. 149 tokens are two blocks."""
    slots, lengths = 149, (149, 23)
    config = replace(model.config, max_position_embeddings=slots)
    params = modeling.init_params(config, 5)
    first_slot = jnp.array([slots - length for length in lengths])
    padded = jnp.asarray(np.random.default_rng(3).integers(1, config.vocab_size, (2, slots)))

    @partial(jax.jit, static_argnums=0)
    def prefill(size):
        cache = init_cache(config, 2, size, "float32")
        return extend(config, params, cache, padded, jnp.int32(0), first_slot, dtype="float32", attention="blocked")

    filled, filled_cache = prefill(slots)
    roomy, roomy_cache = prefill(slots + 7)
    np.testing.assert_allclose(filled, roomy, atol=2e-5 * np.abs(roomy).max())
    for row, first in enumerate(first_slot.tolist()):
        for one, whole in zip(jax.tree.leaves(filled_cache), jax.tree.leaves(roomy_cache), strict=True):
            other = whole[row, :, first:slots]
            np.testing.assert_allclose(one[row, :, first:], other, atol=2e-5 * np.abs(other).max())


def test_greedy_completion_equals_torchs_generate(model, model_dir, tokenizer_dir):
    torch, oracle = torch_model(model_dir)
    tokenizer = Tokenizer.load(tokenizer_dir)
    prompts = ["def add(a, b):", "import os\nclass A:\n", "x"]
    settings = Settings(max_new_tokens=21, temperature=0)
    found = complete(model.config, model.params, tokenizer, prompts, settings)
    for prompt, (completion,) in zip(prompts, found, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        wanted = oracle.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=21, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :].tolist()
        assert list(completion.tokens) == (wanted[: wanted.index(0)] if 0 in wanted else wanted)


def test_torch_writes_the_same_bytes(model_dir, tmp_path):
    _, oracle = torch_model(model_dir)
    oracle.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (model_dir / "model.safetensors").read_bytes()


def test_the_count_of_parameters_is_torchs(model, model_dir):
    _, oracle = torch_model(model_dir)
    sizes = {**model.config.sizes, "V": model.config.vocab_size}
    assert count_parameters(family(model.config).table, sizes) == sum(p.numel() for p in oracle.parameters())


def test_weights_saved_without_a_head_load_too(model, model_dir, tmp_path):
    """The repository gpt2 itself has names without the `transformer.` prefix."""
    tensors = load_file(model_dir / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file(bare, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((model_dir / "config.json").read_text())
    jax.tree.map(np.testing.assert_array_equal, modeling.load(tmp_path).params, model.params)


def test_every_family_is_tried_here():
    assert {config["model_type"] for config in CONFIGS.values()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("name", "change", "wanted"),
    [
        ("gptj", {"rotary_dim": 13}, "rotary_dim is 13"),
        ("gptj", {"tie_word_embeddings": True}, "tie_word_embeddings"),
        ("gptj", {"activation_function": "relu"}, "gptj here knows gelu_new"),
        ("codegen", {"n_embd": 36, "n_head": 3}, "wants heads in multiples of 4; found 3"),
        ("gpt2", {"add_cross_attention": True}, "no cross attention"),
        ("gpt2", {"activation_function": "relu"}, "GPT-2 here knows gelu_new"),
    ],
)
def test_a_config_that_is_not_computed_here_is_refused(name, change, wanted):
    with pytest.raises(UnsupportedConfig, match=wanted):
        config_from_hf(CONFIGS[name] | change)


def test_the_readmes_torch_lines_and_a_pipeline_give_our_completion(model, model_dir, capsys):
    pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import pipeline

    lines = re.search(r"```python\n(from transformers.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert lines and lines[1].count('"OUT"') == 2
    exec(lines[1].replace('"OUT"', repr(str(model_dir))), {})
    greedy = Settings(max_new_tokens=20, temperature=0)
    ours = complete(*model, Tokenizer.load(model_dir), ["def add(a, b):"], greedy)[0][0]
    assert capsys.readouterr().out.removesuffix("\n").startswith("def add(a, b):" + ours.text)
    write = pipeline("text-generation", model=str(model_dir))
    said = write("def add(a, b):", max_new_tokens=20, do_sample=False)[0]["generated_text"]
    assert said.startswith("def add(a, b):" + ours.text) and (ours.text or ours.ended_by == "end_of_text")
