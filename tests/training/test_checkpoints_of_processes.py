"""Checkpoints of several processes on the loopback: each writes its shards, and what they wrote is one process's."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import modeling
from modeling.decoder import config_from_hf
from tests.conftest import ROOT, TINY
from tests.ranks import free_port
from training.checkpoint_writer import Checkpoints
from training.checkpoints import checkpoints_in, fault_of, find_checkpoint, restore
from training.model_files import ModelFiles
from training.placement import DataParallel
from training.step import initial_state

HF = {**TINY, "hidden_size": 24, "num_heads": 4, "intermediate_size": 52}
CASES = {"pmap": None, "mesh": {"fsdp": 2, "tensor": 2}}

PROGRAM = """
import pickle, sys
from pathlib import Path
from training.processes import join

join(60)
import jax
import numpy as np
import optax
import modeling
from modeling.decoder import config_from_hf
from training import train_state
from training.checkpoint_writer import Checkpoints
from training.checkpoints import find_checkpoint, restore
from training.model_files import ModelFiles
from training.placement import DataParallel, MeshPlacement
from training.step import initial_state

folder, hf, cases = pickle.loads(sys.stdin.buffer.read())
config = config_from_hf(hf)
optimizer = optax.adam(1.0)
gathered = []
gather = train_state._gather

def watched(everywhere, stacked):
    def call(leaf, layer):
        found = gather(everywhere, stacked)(leaf, layer)
        gathered.append((stacked, found.shape == leaf.shape, found.is_fully_replicated))
        return found
    return call

train_state._gather = watched
for name, lengths in cases.items():
    placement = DataParallel() if lengths is None else MeshPlacement(config, lengths)
    state = placement.make(lambda: initial_state(modeling.init_params(config, 1), optimizer))
    out = Path(folder) / name
    if jax.process_index() == 0:
        out.mkdir()
    checkpoints = Checkpoints(
        out, model=ModelFiles(config, out, 0), identity={}, resolved={}, keep=None,
        with_train_state=True,
    )
    add = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    for step in (1, 2):
        checkpoints.save(step, state)
        state = add(state)  # in place: a copy that were none would be seen
    checkpoints.wait()
    checkpoints.close()
    from training.processes import barrier
    barrier("written")
    found = find_checkpoint(out, "auto")
    assert found.name == "ckpt-2", found
    again = restore(found, placement.abstract(state))
    same = jax.tree.map(lambda a, b: bool(jax.numpy.array_equal(a + 1, b)), again, state)
    assert all(jax.tree.leaves(same)), same
    assert jax.tree.all(jax.tree.map(lambda a, b: a.sharding == b.sharding, again, placement.abstract(state)))
print(pickle.dumps(gathered).hex())
"""


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_what_processes_write_together_is_what_one_writes(processes, tmp_path):
    """pmap, and a mesh of which no process holds the whole: read back by the same processes, and by one alone."""
    address = f"127.0.0.1:{free_port()}"
    ranks = []
    for rank in range(processes):
        environment = {
            **os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={4 // processes}",
            "JAX_NUM_PROCESSES": str(processes), "JAX_PROCESS_ID": str(rank), "JAX_COORDINATOR_ADDRESS": address,
        }  # fmt: skip
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        ranks[-1].stdin.write(pickle.dumps((str(tmp_path), HF, CASES)))
        ranks[-1].stdin.close()
    try:
        said = [(rank.stdout.read().decode(), rank.stderr.read().decode(), rank.wait(timeout=240)) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for out, err, status in said:
        assert status == 0, err[-4000:]
        gathered = pickle.loads(bytes.fromhex(out.splitlines()[-1]))
        assert gathered and all(replicated for _, _, replicated in gathered)
        assert not any(whole for stacked, whole, _ in gathered if stacked)  # a layer at a time, never a stack

    config = config_from_hf(HF)
    optimizer = optax.adam(1.0)
    placement = DataParallel()
    state = placement.make(lambda: initial_state(modeling.init_params(config, 1), optimizer))
    alone = Checkpoints(
        tmp_path, model=ModelFiles(config, tmp_path, 0), identity={}, resolved={}, keep=None,
        with_train_state=True,
    )  # fmt: skip
    wanted = alone.save(1, state)
    alone.close()
    for name in CASES:
        first, second = checkpoints_in(tmp_path / name)
        assert fault_of(first) is None and fault_of(second) is None
        assert (first / "model.safetensors").read_bytes() == (wanted / "model.safetensors").read_bytes()
        assert find_checkpoint(tmp_path / name, "auto") == second
        again = restore(first, placement.abstract(state))
        assert jax.tree.all(jax.tree.map(np.array_equal, again, state))
        later = restore(second, placement.abstract(state))
        assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b + 1), later, state))
        writers = {p.name for p in (first / "train_state").glob("ocdbt.process_*")}
        assert writers == {f"ocdbt.process_{rank}" for rank in range(processes)}
        listed = json.loads((first / "run_state.json").read_text())["files"]
        assert {Path(n).parts[1] for n in listed if n.startswith("train_state/ocdbt")} == writers
