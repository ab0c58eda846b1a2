"""Adapters of low rank, with PEFT on torch as the oracle."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modeling
from modeling.adapter_files import CONFIG, WEIGHTS, read_adapters, read_described, write_adapters
from modeling.checkpoint import Model, end_of_text, write_generation_config
from modeling.cost import adapter_parameters, multiplied_parameters, training_flops, training_memory
from modeling.decoder import config_from_hf, logits, token_losses
from modeling.execution import Execution
from modeling.lora import BadAdapter, Lora, attach, init_adapters, merged
from tests.conftest import TINY, succeed
from tests.modeling.test_families import CONFIGS

LORA = Lora(rank=2, alpha=6.0)


def noisy(tree, seed=3, size=0.1):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return structure.unflatten([leaf + size * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys)])


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(1).integers(0, 307, (2, 13))


@pytest.fixture(scope="module")
def tiny():
    """(config, base, adapters that are not zero) of a GPT-Neo."""
    config = config_from_hf(TINY)
    return config, modeling.init_params(config, 7), noisy(init_adapters(config, LORA, 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_compute_in_torch_what_they_compute_here_both_ways(name, tokenizer_dir, tokens, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    peft = pytest.importorskip("peft", reason="PEFT is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM

    config = config_from_hf(CONFIGS[name])
    base_dir, ours_dir, theirs_dir = tmp_path / "base", tmp_path / "ours", tmp_path / "theirs"
    base = noisy(modeling.init_params(config, 7), seed=4)
    modeling.save(base_dir, Model(config, base), tokenizer_dir=tokenizer_dir, eos_token_id=0)
    adapters = noisy(init_adapters(config, LORA, 1))
    ours_dir.mkdir()
    write_adapters(ours_dir, config, LORA, adapters, str(base_dir))

    torch_base = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(torch_base, ours_dir).eval()
    with torch.no_grad():
        wanted = adapted(torch.tensor(tokens)).logits.numpy()
        bare = adapted.get_base_model()
    found = logits(config, attach(base, adapters, LORA), jnp.asarray(tokens))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    with torch.no_grad(), adapted.disable_adapter():
        assert np.abs(wanted - bare(torch.tensor(tokens)).logits.numpy()).max() > 0.01 * np.abs(wanted).max()

    adapted.save_pretrained(theirs_dir)
    (theirs_dir / "README.md").unlink()  # names no folder of ours
    whole = modeling.load(theirs_dir, base=base_dir)
    np.testing.assert_allclose(
        logits(config, whole.params, jnp.asarray(tokens)), wanted, atol=1e-4 * np.abs(wanted).max()
    )


def test_files_come_back_byte_for_byte(tiny, tmp_path):
    config, _, adapters = tiny
    (tmp_path / "again").mkdir()
    write_adapters(tmp_path, config, LORA, adapters, "OWNER/MODEL")
    described = read_described(tmp_path)
    assert described.base == "OWNER/MODEL" and described.lora.scale == LORA.scale
    read = read_adapters(tmp_path, config, described.lora)
    assert jax.tree.all(jax.tree.map(np.array_equal, read, adapters))
    write_adapters(tmp_path / "again", config, described.lora, read, "OWNER/MODEL")
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("how", [Execution(), Execution(scan=True, remat="block")], ids=["unrolled", "scanned"])
def test_gradients_follow_from_those_of_the_merged_matrix(tiny, tokens, how):
    """Of y = (W + s U D) x: dU = s dW D^T and dD = s U^T dW, and logits are the merged model's."""
    config, base, adapters = tiny
    ids = jnp.asarray(tokens)

    @jax.jit
    def loss(params):
        return token_losses(config, params, ids[:, :-1], ids[:, 1:], how=how).sum()

    whole = attach(base, adapters, LORA)
    plain = merged(whole)
    assert float(loss(whole)) == pytest.approx(float(loss(plain)), rel=1e-5)
    own = jax.jit(jax.grad(lambda own: loss(attach(base, own, LORA))))(adapters)
    of_matrices = jax.jit(jax.grad(loss))(plain)
    for name, adapter in adapters["blocks"].items():
        dw, down, up = of_matrices["blocks"][name], adapter["down"], adapter["up"]
        wanted_up = LORA.scale * jnp.einsum("LOI,LRI->LOR", dw, down)
        wanted_down = LORA.scale * jnp.einsum("LOR,LOI->LRI", up, dw)
        for found, wanted in ((own["blocks"][name]["up"], wanted_up), (own["blocks"][name]["down"], wanted_down)):
            np.testing.assert_allclose(found, wanted, atol=1e-4 * float(jnp.abs(wanted).max()))


def test_new_adapters_change_nothing(tiny, tokens):
    config, base, _ = tiny
    ids = jnp.asarray(tokens)
    new = attach(base, init_adapters(config, LORA, 1), LORA)
    assert np.array_equal(logits(config, new, ids), logits(config, base, ids))


def test_no_gradient_of_the_model_is_computed(tiny):
    """No product of the compiled backward pass has a matrix's shape, where the model's own has all of them."""
    config, base, adapters = tiny
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)

    def products(loss, *arguments):
        text = jax.jit(jax.grad(loss)).lower(*arguments).compile().as_text()
        F, D = config.intermediate_size, config.hidden_size
        return re.findall(rf"f32\[(?:{F},{D}|{D},{F}|{D},{D})\]\S* dot\(", text)

    def of_adapters(own, base, ids):
        return token_losses(config, attach(base, own, LORA), ids, ids).sum()

    assert not products(of_adapters, adapters, base, ids)
    assert len(products(lambda p, ids: token_losses(config, p, ids, ids).sum(), base, ids)) == 6 * config.num_layers


def test_targets_by_name_and_their_costs():
    config = config_from_hf(TINY)
    two = Lora(2, 4.0, ("q_proj", "v_proj"))
    assert list(init_adapters(config, two, 0)["blocks"]) == ["query", "value"]
    layers, width = TINY["num_layers"], TINY["hidden_size"]
    assert adapter_parameters(config, two) == layers * 2 * 2 * (width + width)
    forward_and_half = 4 * multiplied_parameters(config) + 6 * adapter_parameters(config, two)
    attention = training_flops(config, 16) - 6 * multiplied_parameters(config)
    assert training_flops(config, 16, lora=two) == pytest.approx(forward_and_half + attention)
    how = Execution("bfloat16")
    whole, beside = (training_memory(config, how, rows=1, length=16, lora=lora) for lora in (None, two))
    assert beside.optimizer == 2 * beside.gradients == 2 * 4 * adapter_parameters(config, two)
    assert whole.parameters / 2 < beside.parameters < 0.6 * whole.parameters


def test_merge_writes_the_model_that_torch_loads_without_peft(tiny, tokenizer_dir, tokens, tmp_path):
    config, base, adapters = tiny
    modeling.save(tmp_path / "base", Model(config, base), tokenizer_dir=tokenizer_dir, eos_token_id=0)
    (tmp_path / "adapters").mkdir()
    write_adapters(tmp_path / "adapters", config, LORA, adapters, "OWNER/ELSEWHERE")
    words = ("-m", "modeling", "merge", tmp_path / "adapters", tmp_path / "whole", "--base", tmp_path / "base")
    assert f"to {tmp_path / 'whole'}" in succeed(*words, "--tokenizer", tmp_path / "base")
    found, base = (modeling.load(tmp_path / name).params for name in ("whole", "base"))
    assert jax.tree.all(jax.tree.map(np.array_equal, found, merged(attach(base, adapters, LORA))))
    assert end_of_text(tmp_path / "whole") == 0, "the base's, where the adapters say nothing"
    write_generation_config(tmp_path / "adapters", 5)
    succeed(*words, "--overwrite_output_dir")
    assert end_of_text(tmp_path / "whole") == 5


def changed(folder, **entries):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    "entries, said",
    [
        ({"use_dora": True}, "use_dora"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4'"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 0}, "r 0"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"target_modules": ["q_proj"]}, "k_proj.lora_A.weight is unknown"),
        ({"target_modules": ["w_pack"]}, "it has q_proj"),
        ({"r": 3}, "wanted (3, 21)"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(tiny, tmp_path, entries, said):
    config, _, adapters = tiny
    write_adapters(tmp_path, config, LORA, adapters, "OWNER/MODEL")
    changed(tmp_path, **entries)
    with pytest.raises(BadAdapter) as refusal:
        read_adapters(tmp_path, config, read_described(tmp_path).lora)
    assert said in str(refusal.value)


def test_a_merge_of_a_whole_model_is_refused(model_dir, tmp_path):
    from tests.conftest import command

    done = command("-m", "modeling", "merge", model_dir, tmp_path / "out")
    assert done.returncode == 2 and "holds no adapters" in done.stderr
