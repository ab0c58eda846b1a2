"""Compile forward pass, training step and decoding of every family for real TPUs, on a machine without one.

python benchmarks/tpu_compile.py [--write]      # --write puts the table into docs/benchmarks.md

libtpu holds the compiler of the TPUs themselves: what it accepts there runs, and its memory figures are the device's.
Wants `pip install libtpu==0.0.42` (684 MB; the version that went with jax 0.10.2); skips where it is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers import GPT_NEO_125M

GIB = 2**30
# name: (topology, accelerator type, GiB a device)
SLICES = {
    "v4": ("v4:2x2x1", "v4-8", 16),  # a device is half a chip
    "v5e": ("v5e:2x4", "v5litepod-8", 16),
    "v6e": ("v6e:2x4", "v6e-8", 32),
}
MODELS = {  # name: (config.json, blocks a device in training, tokens a block)
    "GPT-Neo 125M": (GPT_NEO_125M, 8, 2048),
    "GPT-2 124M": (
        {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
         "attn_pdrop": 0.0},
        16, 1024,
    ),
    "CodeGen 350M": (
        {"model_type": "codegen", "vocab_size": 51200, "n_positions": 2048, "n_embd": 1024, "n_layer": 20, "n_head": 16,
         "rotary_dim": 32},
        4, 2048,
    ),
    "GPT-J, 1 of its 28 layers": (
        {"model_type": "gptj", "vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 1, "n_head": 16,
         "rotary_dim": 64},
        1, 1024,
    ),
}  # fmt: skip
# How long scanned and unrolled layers take to compile: training steps of v5e only.
DEPTHS = {
    f"GPT-Neo 125M, {layers} layers": (
        GPT_NEO_125M | {"num_layers": layers, "attention_types": [[["global", "local"], layers // 2]]}, 4, 2048,
    )
    for layers in (12, 28)
}  # fmt: skip
# What no single device holds, cut over a mesh: name: (config.json, mesh, rows a device that holds some, tokens a block)
LARGE = {
    "GPT-J 6B": (
        {"model_type": "gptj", "vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16,
         "rotary_dim": 64},
        {"fsdp": 8}, 1, 2048,
    ),
    "CodeGen 16B": (
        {"model_type": "codegen", "vocab_size": 51200, "n_positions": 2048, "n_embd": 6144, "n_layer": 34, "n_head": 24,
         "rotary_dim": 64},
        {"fsdp": 16, "tensor": 2}, 1, 2048,
    ),
}  # fmt: skip
LARGE_SLICES = {"v4": "v4:2x4x2", "v5e": "v5e:4x8", "v6e": "v6e:4x8"}  # of 32 devices
DECODED_ROWS, SLOTS = 32, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--only", help="one slice: v4, v5e or v6e")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        for row in compile_all(options.only):
            print(json.dumps(row), flush=True)
        return
    if importlib.util.find_spec("libtpu") is None:
        print("skipped: no libtpu here; pip install libtpu==0.0.42 (684 MB) brings the TPU compiler")
        return
    rows = []
    for name, (_, kind, _) in SLICES.items():
        if options.only in (None, name):
            print(f"compiling for {name} ...", file=sys.stderr, flush=True)
            environment = {
                **os.environ, "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": kind,
                "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0",
            }  # fmt: skip
            child = [sys.executable, __file__, "--child", "--only", name]
            done = subprocess.run(child, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    text = table(rows)
    print(text)
    if options.write:
        write(text)


def compile_all(slice_name: str) -> Any:
    """Yield one row a model and program."""
    import jax
    import numpy as np
    import optax
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    from generation import decoding
    from modeling.cost import multiplied_parameters, training_flops, training_memory
    from modeling.decoder import config_from_hf, init_cache, init_params
    from modeling.execution import Execution, choose
    from training.placement import MeshPlacement, bind
    from training.step import eval_step, initial_state, train_step

    topology, _, capacity = SLICES[slice_name]
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    mesh = Mesh(devices, ("data",))
    everywhere, shared = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

    def placed(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    def add(tree: Any) -> Any:
        return jax.lax.psum(tree, "data")

    def compiled(
        name: str, program: str, compile_it: Any, flops: float, estimate: int = 0, num_devices: int = len(devices)
    ) -> Any:
        row = {"slice": f"{slice_name} ({num_devices} x {capacity} GB)", "model": name, "program": program}
        started = time.monotonic()
        try:
            done = compile_it()
        except Exception as error:
            return row | {"error": str(error).splitlines()[0][:150]}
        taken = done.memory_analysis()
        memory = taken.argument_size_in_bytes + taken.output_size_in_bytes - taken.alias_size_in_bytes
        return row | {
            "seconds": time.monotonic() - started, "memory": memory + taken.temp_size_in_bytes,
            "splash": "splash" in done.as_text(), "estimate": estimate, "flops": flops,
        }  # fmt: skip

    def programs(name: str, hf: dict[str, Any], rows: int, length: int, how: Execution, *, only_step: bool) -> Any:
        config = config_from_hf(hf)
        optimizer = optax.adamw(1e-4)
        params = jax.eval_shape(lambda: init_params(config, 0))
        state = placed(jax.eval_shape(lambda: initial_state(init_params(config, 0), optimizer)), everywhere)
        total = rows * len(devices)
        whole = {
            field: jax.ShapeDtypeStruct((total, length), kind, sharding=shared)
            for field, kind in (("tokens", "int32"), ("targets", "int32"), ("loss_weights", "float32"))
        }
        numbers = {"rows": jax.ShapeDtypeStruct((total,), "int32", sharding=shared)}

        def forward(params: Any, batch: Any) -> Any:
            return eval_step(params, batch, config=config, how=how, sum_over_devices=add)

        def step(state: Any, batch: Any) -> Any:
            micro = jax.tree.map(lambda x: x[None], batch)
            return train_step(
                state, micro, config=config, optimizer=optimizer, schedule=lambda _: 1e-4, how=how, seed=0,
                sum_over_devices=add,
            )  # fmt: skip

        def mapped(function: Any, donated: tuple[int, ...] = ()) -> Any:
            spread = jax.shard_map(function, mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=False)
            return jax.jit(spread, donate_argnums=donated)

        estimate, size = training_memory(config, how, rows=rows, length=length).total, f"{rows} x {length}"
        flops = training_flops(config, length) * rows * length
        pmap_step = mapped(step, (0,)).lower(state, whole | numbers)  # what pmap is made of
        yield compiled(name, f"training step, {size}", pmap_step.compile, flops, estimate)
        if only_step:
            return
        yield compiled(name, f"forward, {size}", mapped(forward).lower(state["params"], whole).compile, flops / 3)
        shape = decoding.Shape(Mesh(devices, ("rows",)), config, "bfloat16")
        held = placed(jax.eval_shape(lambda p: decoding.hold(config, p, "bfloat16"), params), everywhere)
        total = DECODED_ROWS * len(devices)
        each = NamedSharding(shape.mesh, P("rows"))
        cache = jax.eval_shape(lambda: init_cache(config, total, SLOTS, shape.cache_dtype))
        scores = jax.ShapeDtypeStruct((total, config.vocab_size), "float32")
        batch = placed(decoding.State(scores, cache), each)
        rows_of = [jax.ShapeDtypeStruct(shape_, kind, sharding=each)
                   for shape_, kind in (((total,), "int32"), ((total, 2), "uint32"))]  # fmt: skip
        arguments = (shape, config.vocab_size, held, batch, *rows_of, 0, 0, decoding.Choice(0, 0.8, 0, 0.95))
        title = f"decoding {decoding.CHUNK} tokens, {DECODED_ROWS} rows of {SLOTS} slots"
        flops = 2 * multiplied_parameters(config) + 4 * config.hidden_size * config.num_layers * SLOTS
        decode = decoding.decode.lower(*arguments)
        yield compiled(name, title, decode.compile, flops * DECODED_ROWS * decoding.CHUNK)

    def on_mesh(name: str, hf: dict[str, Any], lengths: dict[str, int], rows: int, length: int) -> Any:
        count = math.prod(lengths.values())
        at = topology if count == len(devices) else LARGE_SLICES[slice_name]
        cut_over = topologies.get_topology_desc(platform="tpu", topology_name=at).devices
        config = config_from_hf(hf)
        placement = MeshPlacement(config, lengths, np.array(cut_over))
        how = choose(config, "bfloat16", platform="tpu", remat="block")
        optimizer = optax.adamw(1e-4)
        state = placement.abstract(jax.eval_shape(lambda: initial_state(init_params(config, 0), optimizer)))
        total = rows * placement.num_shards
        fields = {"tokens": "int32", "targets": "int32", "loss_weights": "float32"}
        shapes = {name: ((1, total, length), kind) for name, kind in fields.items()} | {"rows": ((1, total), "int32")}
        cut = NamedSharding(placement.mesh, P(None, ("data", "fsdp")))
        batch = {name: jax.ShapeDtypeStruct(*each, sharding=cut) for name, each in shapes.items()}
        step = bind(train_step, placement, config=config, optimizer=optimizer, schedule=lambda _: 1e-4, how=how, seed=0)
        flops = training_flops(config, length) * total * length / count
        estimate = training_memory(config, how, rows=rows, length=length, mesh=lengths).total
        mesh = ", ".join(f"{axis} {n}" for axis, n in lengths.items())
        title = f"training step on a mesh ({mesh}), {total} x {length} in all"
        return compiled(name, title, lambda: placement.compile_step(step, state, batch), flops, estimate, count)

    for name, (hf, rows, length) in MODELS.items():
        how = choose(config_from_hf(hf), "bfloat16", platform="tpu", remat="block")
        yield from programs(name, hf, rows, length, how, only_step=False)
    for name, (hf, lengths, rows, length) in LARGE.items():
        yield on_mesh(name, hf, lengths, rows, length)
    if slice_name == "v5e":
        for name, (hf, rows, length) in DEPTHS.items():
            how = choose(config_from_hf(hf), "bfloat16", platform="tpu", remat="block")
            yield from programs(f"{name}, scanned", hf, rows, length, how, only_step=True)
            yield from programs(f"{name}, unrolled", hf, rows, length, replace(how, scan=False), only_step=True)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| slice | model | program, a device | TFLOP | compiled in | memory | `describe` says | splash kernel |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        place = f"| {row['slice']} | {row['model']} | {row['program']} |"
        if "error" in row:
            lines.append(f"{place} | refused: {row['error']} | | | |")
            continue
        estimate = f"{row['estimate'] / GIB:.2f} GiB" if row["estimate"] else ""
        lines.append(
            f"{place} {row['flops'] / 1e12:.2f} | {row['seconds']:.0f} s | {row['memory'] / GIB:.2f} GiB | "
            f"{estimate} | {'yes' if row['splash'] else 'no'} |"
        )
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the table between its two marks in docs/benchmarks.md."""
    path = Path(__file__).parent.parent / "docs" / "benchmarks.md"
    begin, end = "<!-- tpu_compile -->", "<!-- /tpu_compile -->"
    before, rest = path.read_text().split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    print(f"wrote the table to {path}")


if __name__ == "__main__":
    main()
