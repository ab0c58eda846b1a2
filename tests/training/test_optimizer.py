"""Optimizers: Adafactor against optax's own, under both placements; what is never decayed."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import modeling
from modeling.decoder import config_from_hf, family
from modeling.execution import Execution
from modeling.table import decay_mask
from tests.conftest import TINY
from tests.training.test_step import FewerDevices
from training.optimizer import make_optimizer
from training.placement import MeshPlacement, bind
from training.step import initial_state, train_step
from training.streaming_arguments import StreamingArguments

ROWS, T, STEPS, RATE = 8, 13, 3, 0.03


@pytest.fixture(scope="module")
def config():
    """Wide enough that Adafactor factors matrices: it does from 128 on."""
    wide = {"hidden_size": 132, "num_heads": 4, "intermediate_size": 136, "initializer_range": 0.05}
    return config_from_hf({**TINY, **wide})


def asked(**changes):
    return StreamingArguments(output_dir="o", model_name_or_path="m", learning_rate=RATE, **changes)


def batches():
    random = np.random.default_rng(0)
    for _ in range(STEPS):
        tokens = random.integers(0, 307, (ROWS, T + 1)).astype(np.int32)
        weights = (random.random((ROWS, T)) < 0.7).astype(np.float32)
        yield {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "loss_weights": weights,
               "rows": np.arange(ROWS, dtype=np.int32)}  # fmt: skip


def unstacked(params):
    """Each layer's leaves by themselves, as in a model that does not stack them."""
    blocks = params["blocks"]
    layers = [{name: leaf[n] for name, leaf in blocks.items()} for n in range(len(blocks["query"]))]
    return {**params, "blocks": layers}


@pytest.fixture(scope="module")
def by_optax(config):
    """Parameters after a few steps of optax.adafactor, as the reference's APPS recipe calls it, layer by layer."""

    def loss(params, batch):
        blocks = jax.tree.map(lambda *layers: jax.numpy.stack(layers), *params["blocks"])
        losses = modeling.token_losses(config, {**params, "blocks": blocks}, batch["tokens"], batch["targets"])
        return (losses * batch["loss_weights"]).sum() / batch["loss_weights"].sum()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adafactor(learning_rate=RATE))
    params = unstacked(modeling.init_params(config, 1))
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(loss))
    for batch in batches():
        updates, state = optimizer.update(gradient(params, batch), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("lengths", [None, {"fsdp": 4}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=str)
def test_adafactor_is_optaxs_on_each_layer(config, by_optax, lengths):
    placement = FewerDevices(2) if lengths is None else MeshPlacement(
        config, lengths, np.array(jax.devices())[: np.prod(list(lengths.values()))]
    )  # fmt: skip
    optimizer = make_optimizer(asked(optim="adafactor"), optax.constant_schedule(RATE), family(config).table)
    step = bind(
        train_step, placement, config=config, optimizer=optimizer, schedule=lambda s: RATE, how=Execution(), seed=5,
        max_grad_norm=1.0,
    )  # fmt: skip
    state = initial_state(modeling.init_params(config, 1), optimizer)
    if lengths is not None:
        state = placement.make(lambda: initial_state(modeling.init_params(config, 1), optimizer))
    placed = [placement.put({name: array[placement.rows(ROWS)] for name, array in b.items()}, 1) for b in batches()]
    compiled = placement.compile_step(step, state, placed[0])
    for batch in placed:
        state, _ = compiled(state, batch)
    found, start = unstacked(state["params"]), unstacked(modeling.init_params(config, 1))
    for new, wanted, old in zip(*map(jax.tree.leaves, (found, by_optax, start)), strict=True):
        moved = np.abs(np.asarray(wanted) - np.asarray(old)).max()
        assert np.abs(np.asarray(new) - np.asarray(wanted)).max() < 2e-3 * moved + 1e-8


def test_adafactor_keeps_two_vectors_a_matrix(config):
    """The first parameters' moments are far fewer numbers than AdamW's, and no matrix is kept."""
    fresh = jax.eval_shape(lambda: modeling.init_params(config, 0))
    sizes = {}
    for optim in ("adamw", "adafactor"):
        state = jax.eval_shape(
            make_optimizer(asked(optim=optim), optax.constant_schedule(1.0), family(config).table).init, fresh
        )
        sizes[optim] = sum(leaf.size for leaf in jax.tree.leaves(state))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(fresh))
    assert sizes["adamw"] == 2 * parameters + 2  # and its counters
    assert sizes["adafactor"] < 0.2 * parameters  # biases and position rows are below 128 and stay whole


@pytest.mark.parametrize("optim", ["adamw", "adafactor"])
def test_decay_is_the_rate_times_the_weight_and_spares_biases_and_norms(config, optim):
    """With gradients of 0 nothing else moves: p - rate * decay * p by hand."""
    params = modeling.init_params(config, 1)
    params = jax.tree.map(lambda leaf: leaf + 0.5, params)  # biases start at 0
    optimizer = make_optimizer(
        asked(optim=optim, weight_decay=0.1), optax.constant_schedule(RATE), family(config).table
    )
    zeros = jax.tree.map(np.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    mask = decay_mask(family(config).table)
    wanted = jax.tree.map(lambda decays, leaf: -RATE * 0.1 * leaf if decays else 0 * leaf, mask, params)
    for one, two in zip(jax.tree.leaves(updates), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-9)
