from __future__ import annotations

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import optax
import pytest

from modeling.config import UnsupportedConfig
from modeling.cost import attended_pairs, multiplied_parameters, training_flops, training_memory
from modeling.decoder import config_from_hf, family, init_params
from modeling.description import describe, parse_mesh
from modeling.execution import Execution
from modeling.table import count_parameters, partition
from tests.conftest import TINY, command, succeed
from tests.modeling.test_families import CONFIGS
from training.step import initial_state, train_step

GPT_NEO_125M = {
    **TINY, "vocab_size": 50257, "max_position_embeddings": 2048, "hidden_size": 768, "intermediate_size": 3072,
    "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256,
}  # fmt: skip


def test_flops_of_a_model_computed_by_hand():
    """GPT-Neo 125M: 125,198,592 parameters, 1,572,864 of them positions and 116,736 biases and norms."""
    config = config_from_hf(GPT_NEO_125M)
    assert count_parameters(family(config).table, {**config.sizes, "V": 50257}) == 125_198_592
    assert multiplied_parameters(config) == 12 * 12 * 768**2 + 50257 * 768
    assert training_flops(config, 2048, all_pairs=True) == 6 * multiplied_parameters(config) + 12 * 12 * 768 * 2048
    # six global layers see 1 + 2 + ... + 2048 pairs, six local ones at most 256 a query
    pairs = 6 * (2048 * 2049 // 2) + 6 * (256 * 257 // 2 + 1792 * 256)
    assert training_flops(config, 2048) == 6 * multiplied_parameters(config) + 12 * 768 * pairs / 2048


@pytest.mark.parametrize("window", [None, 1, 3, 7, 9])
def test_pairs_are_those_that_a_loop_counts(window):
    wanted = sum(1 for t in range(7) for s in range(t + 1) if window is None or t - s < window)
    assert attended_pairs(7, window) == wanted


@pytest.mark.parametrize("name", CONFIGS)
def test_multiplied_parameters_are_what_the_compiler_multiplies(name):
    """The forward pass of one token: 2N operations in products, as XLA counts them, and little else."""
    config = config_from_hf(CONFIGS[name])
    from modeling.decoder import logits

    params = jax.eval_shape(lambda: init_params(config, 0))
    dots = []

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                (left, _), (batch, _) = equation.params["dimension_numbers"]
                shape = equation.invars[0].aval.shape
                contracted = 1
                for axis in left:
                    contracted *= shape[axis]
                if not batch:
                    dots.append(2 * contracted * equation.outvars[0].aval.size)
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                if hasattr(inner, "eqns"):
                    walk(inner)
                elif hasattr(inner, "jaxpr"):
                    walk(inner.jaxpr)

    walk(jax.make_jaxpr(lambda p: logits(config, p, jnp.zeros((1, 1), jnp.int32)))(params).jaxpr)
    padded = multiplied_parameters(replace(config, vocab_size=config.table_rows))
    assert sum(dots) == 2 * padded


@pytest.mark.parametrize("name", CONFIGS)
def test_a_mesh_cuts_what_divides_and_nothing_else(name):
    config = config_from_hf(CONFIGS[name])
    mesh = {"fsdp": config.hidden_size, "tensor": config.num_heads}
    for row in family(config).table:
        shape, cut = row.shape(config.sizes), partition(row, config.sizes, mesh)
        assert all(axis is None or length % mesh[axis] == 0 for length, axis in zip(shape, cut, strict=True))
        assert ("fsdp" in cut) == (row.multiplied or row.kind == "lookup")
        if row.kind == "vector":
            assert set(cut) == {None}
    assert "tensor" in partition(next(r for r in family(config).table if "HK" in r.axes), config.sizes, mesh)


@pytest.mark.parametrize("scan_and_remat", [False, True])
def test_the_memory_estimate_is_near_what_the_compiler_takes(scan_and_remat):
    """Within 40 %: the compiler has scratch memory of its own. Large enough that rounding does not matter."""
    config = config_from_hf(
        {**GPT_NEO_125M, "hidden_size": 256, "num_heads": 4, "num_layers": 4, "intermediate_size": 1024,
         "attention_types": [[["global", "local"], 2]], "vocab_size": 1000, "window_size": 64}
    )  # fmt: skip
    how = Execution("bfloat16", "blocked", *(("block", True) if scan_and_remat else ()))
    optimizer = optax.adamw(1e-3)
    state = jax.eval_shape(lambda: initial_state(init_params(config, 0), optimizer))
    whole, rows = (1, 4, 512), 4
    batch = {
        "tokens": jax.ShapeDtypeStruct(whole, jnp.int32), "targets": jax.ShapeDtypeStruct(whole, jnp.int32),
        "loss_weights": jax.ShapeDtypeStruct(whole, jnp.float32), "rows": jax.ShapeDtypeStruct((1, rows), jnp.int32),
    }  # fmt: skip

    def step(state, batch):
        return train_step(
            state, batch, config=config, optimizer=optimizer, schedule=lambda _: 1e-3, how=how, seed=0,
            sum_over_devices=lambda tree: tree,
        )  # fmt: skip

    taken = jax.jit(step, donate_argnums=0).lower(state, batch).compile().memory_analysis()
    wanted = taken.argument_size_in_bytes + taken.temp_size_in_bytes
    assert 0.6 < training_memory(config, how, rows=rows, length=512).total / wanted < 1.4
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    memory = training_memory(config, how, rows=rows, length=512)
    assert memory.parameters + memory.optimizer == state_bytes - 12  # its three counters


def test_a_mesh_divides_the_state():
    config = config_from_hf(GPT_NEO_125M)
    one = training_memory(config, Execution(), rows=1, length=128)
    eight = training_memory(config, Execution(), rows=1, length=128, mesh={"fsdp": 8})
    assert eight.parameters == pytest.approx(one.parameters / 8, rel=0.01)
    assert eight.optimizer == 2 * eight.parameters and eight.activations == one.activations
    twice = training_memory(config, Execution(), rows=1, length=128, accumulate=True)
    assert twice.gradients == 2 * one.gradients and twice.total - one.total == one.gradients


# --- the command ---------------------------------------------------------------------------------------------------


def test_describe_prints_without_allocating(tmp_path):
    """CodeGen's 16B on a machine that could not hold it."""
    big = {**CONFIGS["codegen"], "n_embd": 6144, "n_layer": 34, "n_head": 24, "vocab_size": 51200, "n_inner": None,
           "n_positions": 2048, "rotary_dim": 64}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(big))
    said = succeed("-m", "modeling", "describe", tmp_path / "config.json", "--mesh", "data=1,fsdp=8,tensor=4",
                   "--batch", 1, "--platform", "tpu", "--remat", "block")  # fmt: skip
    assert "CodeGenForCausalLM: 16,0" in said and "a device of 32" in said
    assert "PaLM's" in said and "MaxText's" in said and "blocks.query_value_key" in said


def test_description_of_a_tiny_model_in_numbers():
    config = config_from_hf(TINY)
    said = describe(config, Execution(), rows=2, length=16, mesh=parse_mesh("fsdp=3"))
    true_sizes = {**config.sizes, "V": config.vocab_size}
    assert f"{count_parameters(family(config).table, true_sizes):,} parameters" in said
    assert "3, 1 of them local (5 tokens)" in said and "D: fsdp" in said
    assert f"{training_flops(config, 16) / 1e9:.3f} GFLOP" in said


@pytest.mark.parametrize("text", ["fsdp", "fsdp=0", "rows=2", "fsdp=two", "data=²", "data=٣"])
def test_a_mesh_that_is_none_is_refused(text):
    with pytest.raises(UnsupportedConfig, match="wanted data=N,fsdp=N,tensor=N"):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--batch", "0"], "--batch is 0; wanted at least 1"),
        (["--mesh", "tensor=2"], "does not divide the model's 3 heads"),
        (["--block_size", "65"], "the model has 64 positions"),
        (["--attention", "splash"], "--attention splash cannot run here"),
    ],
)
def test_what_cannot_be_is_refused(model_dir, words, wanted):
    done = command("-m", "modeling", "describe", model_dir, *words)
    assert done.returncode == 2 and wanted in done.stderr and "Traceback" not in done.stderr
