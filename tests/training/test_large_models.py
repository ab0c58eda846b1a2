"""Models that no single device holds: their training steps compile for a mesh, nothing allocated."""

from __future__ import annotations

import json

import pytest

from modeling.cost import training_memory
from modeling.decoder import config_from_hf
from modeling.execution import choose
from tests.conftest import succeed

GPT_J_6B = {"model_type": "gptj", "vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16,
            "rotary_dim": 64}  # fmt: skip
CODEGEN_16B = {"model_type": "codegen", "vocab_size": 51200, "n_positions": 2048, "n_embd": 6144, "n_layer": 34,
               "n_head": 24, "rotary_dim": 64}  # fmt: skip

# What a device must hold of params and AdamW's moments is what its share of them weighs.
COMPILE = """
import json, sys
import jax, optax
from jax.sharding import NamedSharding, PartitionSpec
from modeling.decoder import config_from_hf, init_params
from modeling.execution import choose
from training.placement import MeshPlacement, bind
from training.step import initial_state, train_step
hf, lengths = json.loads(sys.argv[1]), json.loads(sys.argv[2])
config = config_from_hf(hf)
placement = MeshPlacement(config, lengths)
how = choose(config, "bfloat16", remat="block")
optimizer = optax.adamw(1e-4)
state = placement.abstract(jax.eval_shape(lambda: initial_state(init_params(config, 0), optimizer)))
rows = placement.num_shards
cut = NamedSharding(placement.mesh, PartitionSpec(None, ("data", "fsdp")))
shapes = {"tokens": ((1, rows, 512), "int32"), "targets": ((1, rows, 512), "int32"),
          "loss_weights": ((1, rows, 512), "float32"), "rows": ((1, rows), "int32")}
batch = {name: jax.ShapeDtypeStruct(*each, sharding=cut) for name, each in shapes.items()}
step = bind(train_step, placement, config=config, optimizer=optimizer, schedule=lambda _: 1e-4, how=how, seed=0)
compiled = placement.compile_step(step, state, batch)
analysis = compiled.memory_analysis()
print(json.dumps({"arguments": analysis.argument_size_in_bytes, "aliased": analysis.alias_size_in_bytes}))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("hf", "mesh", "billions"),
    [(GPT_J_6B, {"fsdp": 8}, 6.05), (GPT_J_6B, {"fsdp": 2, "tensor": 4}, 6.05),
     (CODEGEN_16B, {"fsdp": 16, "tensor": 2}, 16.0), (CODEGEN_16B, {"data": 2, "fsdp": 4, "tensor": 4}, 16.0)],
)  # fmt: skip
def test_a_training_step_compiles_and_each_device_holds_its_share_of_the_state(hf, mesh, billions):
    devices = mesh.get("data", 1) * mesh["fsdp"] * mesh.get("tensor", 1)
    said = succeed(
        "-c", COMPILE, json.dumps(hf), json.dumps(mesh), timeout=900,
        XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}",
    )  # fmt: skip
    found = json.loads(said.splitlines()[-1])
    share = 3 * 4 * billions * 1e9 / (devices // mesh.get("data", 1))  # params and two moments, float32
    assert share <= found["arguments"] < 1.05 * share  # vectors lie whole everywhere
    assert found["aliased"] > 0.99 * share  # the old state's memory is the new one's
    estimate = training_memory(
        config_from_hf(hf), choose(config_from_hf(hf), "bfloat16", remat="block"), rows=1, length=512, mesh=mesh
    )
    assert estimate.total > share
