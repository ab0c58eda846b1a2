"""Several processes on the loopback: they join or say why not, and one step of all is the step of one."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import optax
import pytest

import modeling
from modeling.decoder import config_from_hf
from tests.conftest import TINY
from tests.ranks import free_port
from training.processes import JoinFailed, expected_processes, join

SIZES = {"hidden_size": 24, "num_heads": 4, "intermediate_size": 52, "initializer_range": 0.05}

PROGRAM = """
import pickle, sys, time
from pathlib import Path
from training.processes import barrier, introduction, is_primary, join

join(60)
print(introduction(), flush=True)
import jax
import numpy as np
import optax
import modeling
from modeling.decoder import config_from_hf
from modeling.execution import Execution
from training.placement import DataParallel, MeshPlacement, bind
from training.step import initial_state, train_step

folder = Path(sys.argv[1])
hf, batch, cases = pickle.loads((folder / "case.pickle").read_bytes())
config = config_from_hf(hf)
optimizer = optax.sgd(1.0)
for number, (lengths, microbatches) in enumerate(cases):
    placement = DataParallel() if lengths is None else MeshPlacement(config, lengths)
    state = placement.make(lambda: initial_state(modeling.init_params(config, 1), optimizer))
    settings = {"config": config, "optimizer": optimizer, "schedule": lambda s: 0.1, "how": Execution(), "seed": 5}
    step = bind(train_step, placement, **settings)
    total = len(batch["rows"])
    mine = placement.put({name: array[placement.rows(total)] for name, array in batch.items()}, microbatches)
    state, metrics = placement.compile_step(step, state, mine)(state, mine)
    params = state["params"]
    if lengths is not None:
        whole = jax.sharding.NamedSharding(placement.mesh, jax.sharding.PartitionSpec())
        params = jax.jit(lambda tree: tree, out_shardings=whole)(params)
    params = jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), params)
    (folder / f"{number}-{jax.process_index()}.pickle").write_bytes(pickle.dumps((params, float(metrics["loss"]))))
    if is_primary():
        time.sleep(1)
        (folder / f"{number}.txt").touch()
    barrier("touched")
    assert (folder / f"{number}.txt").exists()
"""


def test_the_environment_says_how_many_there_are():
    assert expected_processes({}) == 1
    assert expected_processes({"JAX_NUM_PROCESSES": "4", "TPU_WORKER_HOSTNAMES": "a,b"}) == 4
    assert expected_processes({"SLURM_STEP_NUM_TASKS": "3"}) == 3
    assert expected_processes({"TPU_WORKER_HOSTNAMES": "localhost"}) == 1
    assert expected_processes({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}) == 2
    with pytest.raises(JoinFailed, match="JAX_NUM_PROCESSES is 'many'; wanted the number"):
        expected_processes({"JAX_NUM_PROCESSES": "many"})


def test_a_process_that_cannot_join_says_so(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    with pytest.raises(JoinFailed, match="JAX_PROCESS_ID is '2'; wanted this process's number, 0 to 1"):
        join(1)
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    with pytest.raises(JoinFailed, match="nobody listens at"):
        join(1)
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "nowhere")
    with pytest.raises(JoinFailed, match="wanted HOST:PORT"):
        join(1)


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_a_step_of_several_processes_is_the_step_of_one(processes, start_ranks, tmp_path):
    """Law 2: four devices in all; pmap, and a mesh whose every axis crosses processes, against the plain gradient."""
    hf = {**TINY, **SIZES}
    config, rows, T = config_from_hf(hf), 16, 13
    random = np.random.default_rng(0)
    tokens = random.integers(0, 307, (rows, T + 1)).astype(np.int32)
    weights = (random.random((rows, T)) * (random.random((rows, T)) < 0.6)).astype(np.float32)
    weights[3] = 0
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "loss_weights": weights,
             "rows": np.arange(rows, dtype=np.int32)}  # fmt: skip
    cases = [(None, 4), ({"fsdp": 2, "tensor": 2}, 2)]
    (tmp_path / "case.pickle").write_bytes(pickle.dumps((hf, batch, cases)))
    ranks = start_ranks(tmp_path / "said", processes, "-c", PROGRAM, tmp_path, devices=4)
    ranks.succeed()
    for rank in range(processes):
        assert f"process {rank} of {processes}: {4 // processes} of 4 devices" in ranks.said(rank)

    def loss(params):
        losses = modeling.token_losses(config, params, batch["tokens"], batch["targets"])
        return (losses * weights).sum() / weights.sum()

    params = modeling.init_params(config, 1)
    value, gradient = jax.value_and_grad(loss)(params)
    norm = max(float(optax.tree.norm(gradient)), 1)
    for case in range(len(cases)):
        for rank in range(processes):
            moved, found = pickle.loads((tmp_path / f"{case}-{rank}.pickle").read_bytes())
            assert found == pytest.approx(float(value), rel=1e-6)
            off = jax.tree.map(lambda new, old, g: np.abs(new - (old - g)).max(), moved, params, gradient)
            assert max(map(float, jax.tree.leaves(off))) < 1e-6 * norm
