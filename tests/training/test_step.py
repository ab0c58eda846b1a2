"""Law 2: one loss, one gradient, however the global batch is cut up. Law 8: documents and padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import modeling
from data_processing.blocks import in_order
from data_processing.token_files import Identity, TokenFiles
from data_processing.token_writer import write_token_files
from data_processing.tokens import TokenUnit
from modeling.decoder import PLAIN, config_from_hf
from modeling.execution import Execution
from tests.conftest import TINY
from tests.data_processing.conftest import ListRows
from training.placement import BadMesh, DataParallel, MeshPlacement, bind
from training.step import eval_step, initial_state, train_step, weighted_loss

ROWS, T = 16, 13


@pytest.fixture(scope="module")
def config():
    return config_from_hf({**TINY, "initializer_range": 0.05})


@pytest.fixture(scope="module")
def params(config):
    return modeling.init_params(config, 1)


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    tokens = random.integers(0, 307, (ROWS, T + 1)).astype(np.int32)
    weights = random.random((ROWS, T)).astype(np.float32) * (random.random((ROWS, T)) < 0.6)
    weights[3] = 0  # ragged: whole rows, and with them whole microbatches, weigh nothing
    weights[12:] *= 0.01
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "loss_weights": weights.astype(np.float32),
        "rows": np.arange(ROWS, dtype=np.int32),
    }


class FewerDevices(DataParallel):
    """The placement on the first devices of this machine."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_shards = self._local = count
        self.count = count

    def compile_step(self, step, state, batch, *held):
        devices, in_axes = jax.devices()[: self.count], (None, 0, *(None for _ in held))
        return jax.pmap(step, axis_name="data", in_axes=in_axes, out_axes=None, devices=devices)


def one_step(config, params, batch, placement, microbatches, optimizer, how=PLAIN, max_grad_norm=0.0):
    if isinstance(placement, int):
        placement = FewerDevices(placement)
    step = bind(
        train_step, placement, config=config, optimizer=optimizer, schedule=lambda s: 0.1, how=how, seed=5,
        max_grad_norm=max_grad_norm,
    )  # fmt: skip
    shared = placement.put({name: array[placement.rows(ROWS)] for name, array in batch.items()}, microbatches)
    if isinstance(placement, MeshPlacement):
        state = placement.make(lambda params: initial_state(params, optimizer), params)
    else:
        state = initial_state(params, optimizer)
    return placement.compile_step(step, state, shared)(state, shared)


def check_step(config, params, batch, placement, microbatches, how=PLAIN):
    """Against the gradient of the weighted mean over the whole batch at once, to 1e-6 of its norm."""

    def loss(params):
        losses = modeling.token_losses(config, params, batch["tokens"], batch["targets"])
        return jnp.sum(losses * batch["loss_weights"]) / batch["loss_weights"].sum()

    value, gradient = jax.value_and_grad(loss)(params)
    norm = float(optax.tree.norm(gradient))
    state, metrics = one_step(config, params, batch, placement, microbatches, optax.sgd(1.0), how)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-6)
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
    worst = jax.tree.map(
        lambda new, old, g: np.abs(np.asarray(new, np.float64) - (np.asarray(old) - np.asarray(g, np.float64))).max(),
        state["params"], params, gradient,
    )  # fmt: skip
    assert max(jax.tree.leaves(worst)) < 1e-6 * max(norm, 1)
    return state


@pytest.mark.parametrize(("devices", "microbatches"), [(1, 1), (1, 4), (2, 1), (2, 2), (4, 4), (8, 1), (8, 2)])
def test_an_sgd_step_does_not_depend_on_devices_or_accumulation(config, params, batch, devices, microbatches):
    check_step(config, params, batch, devices, microbatches)


@pytest.fixture(scope="module")
def even():
    """A model whose sizes a mesh can cut."""
    sizes = {"hidden_size": 24, "num_heads": 4, "intermediate_size": 52, "initializer_range": 0.05}
    return config_from_hf({**TINY, **sizes})


MESHES = [
    ({"data": 8}, 1), ({"fsdp": 8}, 2), ({"data": 2, "fsdp": 4}, 1), ({"data": 2, "fsdp": 2, "tensor": 2}, 2),
    ({"data": 1, "fsdp": 2, "tensor": 4}, 4),
]  # fmt: skip


@pytest.mark.parametrize(("lengths", "microbatches"), MESHES, ids=str)
def test_an_sgd_step_on_a_mesh_is_the_same(even, batch, lengths, microbatches):
    params = modeling.init_params(even, 1)
    state = check_step(even, params, batch, MeshPlacement(even, lengths), microbatches)
    query = state["params"]["blocks"]["query"]  # [L, HK, D]
    cut = query.shape[1] // lengths.get("tensor", 1) * query.shape[2] // lengths.get("fsdp", 1) * query.shape[0]
    assert query.addressable_data(0).size == cut  # it lies cut as the table says, after the step too


def test_a_scanned_chunked_step_on_a_mesh_is_the_same(even, batch):
    how = Execution(attention="blocked", remat="block", scan=True, logits_alive=5 * even.table_rows)
    check_step(even, modeling.init_params(even, 1), batch, MeshPlacement(even, {"fsdp": 4, "tensor": 2}), 2, how)


def test_a_mesh_that_does_not_fit_is_refused(even):
    with pytest.raises(BadMesh, match="is for 6 devices; there are 8"):
        MeshPlacement(even, {"fsdp": 3, "tensor": 2})
    with pytest.raises(BadMesh, match="tensor=8 does not divide the model's 4 heads"):
        MeshPlacement(even, {"tensor": 8})


def test_a_row_of_weight_0_changes_nothing(config, params, batch):
    changed = {name: array.copy() for name, array in batch.items()}
    changed["tokens"][3] = 5
    changed["targets"][3] = 6
    one, two = (one_step(config, params, b, 1, 2, optax.sgd(1.0))[0]["params"] for b in (batch, changed))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, two))


class Ids:
    """Rows that are tokens already."""

    group_rows, weighted, identity = 1, False, {"kind": "ids"}

    def encode(self, rows):
        return [TokenUnit(np.array(row["ids"], np.uint32), None, 1, 0) for row in rows]


@pytest.fixture
def packed(tmp_path):
    """Documents of 5, 8, 6 and 4 tokens in two blocks of 13, the last 3 positions padding; and the documents."""
    random = np.random.default_rng(1)
    documents = [[*random.integers(1, 307, size - 1).tolist(), 0] for size in (5, 8, 6, 4)]
    facts = {"tokenizer": "none", "eos_token_id": 0, "token_bytes": 2, "split": "train", "source": {}}
    files = TokenFiles.at(tmp_path, Identity(**facts, encoder={}, weighted=False, block_size=T, window_blocks=2))
    write_token_files(files, Ids(), ListRows([{"ids": ids} for ids in documents]))
    (batch,) = in_order(files, 2, segments=True)
    return batch, documents


@pytest.fixture(scope="module")
def taught(config, params):
    """The sum of the losses of a batch, and its gradient; compiled once for each shape."""
    compiled = jax.jit(jax.value_and_grad(lambda params, batch: weighted_loss(config, params, batch, PLAIN)[0]))
    return lambda batch: compiled(params, batch)


def test_documents_that_share_blocks_teach_what_each_teaches_alone(taught, packed):
    """Law 8 through token files, blocks and model: no document sees another one, none foretells the next."""
    batch, documents = packed
    rows = np.array([ids + [0] * (T + 1 - len(ids)) for ids in documents], np.int32)  # each in a block of its own
    weights = np.array([[place + 1 < len(ids) for place in range(T)] for ids in documents], np.float32)
    alone = {"tokens": rows[:, :-1], "targets": rows[:, 1:], "loss_weights": weights}
    (value, gradient), (wanted, total) = map(taught, (batch, alone))
    assert float(value) == pytest.approx(float(wanted), rel=1e-6) and batch["loss_weights"].sum() == weights.sum()
    apart = jax.tree.map(lambda one, two: one - two, gradient, total)
    assert float(optax.tree.norm(apart)) < 1e-6 * float(optax.tree.norm(total))


def test_what_stands_in_padding_changes_no_gradient(taught, packed):
    """Law 8: to the last bit, whatever the ids and targets there."""
    batch, _ = packed
    changed = {name: array.copy() for name, array in batch.items()}
    changed["tokens"][1, -3:] = 5, 6, 7
    changed["targets"][1, -4:] = 8  # the first is what would follow the last end of text
    assert not batch["loss_weights"][1, -4:].any() and batch["loss_weights"][1, -5] == 1
    (value, gradient), (same, alike) = map(taught, (batch, changed))
    assert float(value) == float(same)
    assert jax.tree.all(jax.tree.map(lambda one, two: bool((one == two).all()), gradient, alike))


@pytest.mark.parametrize(("devices", "microbatches"), [(1, 4), (4, 1), (8, 2)])
def test_dropout_is_the_same_however_the_batch_is_cut_up(params, batch, devices, microbatches):
    """Masks come from (seed, step, layer, global row)."""
    noisy = config_from_hf(
        {**TINY, "initializer_range": 0.05, "embed_dropout": 0.1, "attention_dropout": 0.2, "resid_dropout": 0.3}
    )
    one, _ = one_step(noisy, params, batch, 1, 1, optax.sgd(1.0))
    two, _ = one_step(noisy, params, batch, devices, microbatches, optax.sgd(1.0))
    difference = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), one["params"], two["params"])
    assert max(jax.tree.leaves(difference)) < 2e-6
    still, _ = one_step(config_from_hf({**TINY, "initializer_range": 0.05}), params, batch, 1, 1, optax.sgd(1.0))
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), one["params"], still["params"])
    assert max(jax.tree.leaves(moved)) > 1e-3  # it does drop


@pytest.mark.parametrize("placement", [2, {"fsdp": 4, "tensor": 2}], ids=str)
def test_clipping_shortens_a_gradient_and_lengthens_none(even, batch, placement):
    params = modeling.init_params(even, 1)

    def moved(max_grad_norm):
        where = placement if isinstance(placement, int) else MeshPlacement(even, placement)
        state, metrics = one_step(even, params, batch, where, 2, optax.sgd(1.0), max_grad_norm=max_grad_norm)
        difference = jax.tree.map(lambda new, old: np.asarray(new) - np.asarray(old), state["params"], params)
        return difference, float(metrics["gradient_norm"])

    whole, norm = moved(1e6)
    gradient = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(whole)))
    assert norm == pytest.approx(float(gradient), rel=1e-5)  # longer it did not become
    clipped, told = moved(norm / 3)
    assert told == pytest.approx(norm, rel=1e-5)  # as it was before
    off = jax.tree.map(lambda one, two: np.abs(one - two / 3).max(), clipped, whole)
    assert max(jax.tree.leaves(off)) < 1e-6 * norm


@pytest.mark.parametrize("kind", ["no weight", "not finite"])
def test_a_useless_batch_is_skipped_and_counted(config, params, batch, kind):
    useless = dict(batch)
    if kind == "no weight":
        useless["loss_weights"] = np.zeros_like(batch["loss_weights"])
    else:
        useless["loss_weights"] = np.full_like(batch["loss_weights"], np.inf)
    optimizer = optax.adamw(0.1)
    state, metrics = one_step(config, params, useless, 2, 2, optimizer)
    assert jax.tree.all(jax.tree.map(np.array_equal, state["params"], params))
    assert jax.tree.all(jax.tree.map(np.array_equal, state["optimizer"], optimizer.init(params)))
    assert int(state["step"]) == 1 and int(state["skipped"]) == 1 == int(metrics["skipped"])


def test_evaluation_sums_over_devices(config, params, batch):
    placement = DataParallel()
    mapped = placement.map_eval(bind(eval_step, placement, config=config, how=Execution()))
    (loss, weight), flags = mapped(params, placement.put(batch) | {"flags": placement.flag(True)})
    assert int(flags) == placement.num_shards
    losses = modeling.token_losses(config, params, batch["tokens"], batch["targets"])
    assert float(loss) == pytest.approx(float(jnp.sum(losses * batch["loss_weights"])), rel=1e-5)
    assert float(weight) == pytest.approx(batch["loss_weights"].sum(), rel=1e-6)
