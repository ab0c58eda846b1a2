"""Description of a model: its tensors, operations a token, and training memory. Nothing is allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from modeling.config import DecoderConfig, UnsupportedConfig
from modeling.cost import MESH_AXES, Memory, adapter_parameters, multiplied_parameters, training_flops, training_memory
from modeling.decoder import family
from modeling.execution import Execution
from modeling.lora import Lora, targets_of
from modeling.table import count_parameters, partition


def parse_mesh(text: str) -> dict[str, int]:
    """Read "data=1,fsdp=8,tensor=1"; axes that are left out have length 1.  Raises: UnsupportedConfig."""
    mesh = dict.fromkeys(MESH_AXES, 1)
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, number = part.partition("=")
        if name not in mesh or not (number.isascii() and number.isdecimal()) or int(number) < 1:
            raise UnsupportedConfig(f"--mesh holds {part!r}; wanted data=N,fsdp=N,tensor=N with whole numbers from 1")
        mesh[name] = int(number)
    return mesh


def describe(
    config: DecoderConfig,
    how: Execution,
    *,
    rows: int,
    length: int,
    mesh: Mapping[str, int],
    accumulate: bool = False,
    lora: Lora | None = None,
) -> str:
    """The whole description as text; `rows` blocks of `length` tokens a device and pass."""
    if length > config.max_position_embeddings:
        raise UnsupportedConfig(f"--block_size is {length}; the model has {config.max_position_embeddings} positions")
    if config.num_heads % mesh["tensor"]:
        raise UnsupportedConfig(
            f"--mesh tensor={mesh['tensor']} does not divide the model's {config.num_heads} heads; choose a divisor"
        )
    memory = training_memory(config, how, rows=rows, length=length, mesh=mesh, accumulate=accumulate, lora=lora)
    return "\n".join(
        [
            *_shape(config),
            *_adapters(config, lora),
            "",
            *_tensors(config, mesh),
            "",
            *_operations(config, length, lora),
            "",
            *_memory(memory, mesh),
        ]
    )


def _shape(config: DecoderConfig) -> Iterator[str]:
    kind = family(config)
    true_sizes = {**config.sizes, "V": config.vocab_size}
    local = sum(window is not None for window in config.windows)
    windows = f", {local} of them local ({max(w or 0 for w in config.windows)} tokens)" if local else ""
    yield f"{kind.architecture}: {count_parameters(kind.table, true_sizes):,} parameters"
    yield f"  layers      {config.num_layers}{windows}"
    yield f"  width       {config.hidden_size}, MLP {config.intermediate_size}"
    yield f"  heads       {config.num_heads} of {config.head_size}"
    yield f"  vocabulary  {config.vocab_size:,}, {config.table_rows:,} rows in memory"
    yield f"  positions   {config.max_position_embeddings:,}"


def _adapters(config: DecoderConfig, lora: Lora | None) -> Iterator[str]:
    if lora:
        number = adapter_parameters(config, lora)
        yield f"  adapters    {number:,} parameters, rank {lora.rank} beside {', '.join(targets_of(config, lora))}"


def _tensors(config: DecoderConfig, mesh: Mapping[str, int]) -> Iterator[str]:
    yield f"  {'tensor':<32}{'shape':<24}{'kind':<8}{'parameters':>16}   cut over"
    for row in family(config).table:
        shape = row.shape(config.sizes)
        cut = ", ".join(
            f"{letter}: {axis}" for letter, axis in zip(row.axes.split(), partition(row, config.sizes, mesh)) if axis
        )
        yield f"  {row.path:<32}{' x '.join(map(str, shape)):<24}{row.kind:<8}{prod(shape):>16,}   {cut or '-'}"


def _operations(config: DecoderConfig, length: int, lora: Lora | None) -> Iterator[str]:
    yield f"  operations a token in training, blocks of {length:,}, N = {multiplied_parameters(config):,} parameters"
    conventions = {"attended pairs (causal, windows; MaxText's)": False, "all pairs (PaLM's, nanochat's)": True}
    for name, all_pairs in conventions.items():
        flops = training_flops(config, length, all_pairs=all_pairs, lora=lora)
        yield f"    {'4N + adapters' if lora else '6N'} + {name:<44}{flops / 1e9:>10.3f} GFLOP"


def _memory(memory: Memory, mesh: Mapping[str, int]) -> Iterator[str]:
    yield f"  memory of a training step, a device of {prod(mesh.values())}: {memory.total / 2**30:.2f} GiB"
    for name, size in memory._asdict().items():
        bar = "█" * round(30 * size / memory.total)
        yield f"    {name:<14}{size / 2**30:>8.2f} GiB  {bar}"
