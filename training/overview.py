"""Overview: what a run is about to do, as the rows of a table."""

from __future__ import annotations

from typing import Any

import jax

from modeling.decoder import family
from modeling.table import count_parameters
from training.arguments import TrainingArguments
from training.preparation import Run


def overview(
    arguments: TrainingArguments, run: Run, compiled: Any, *, first_step: int, max_steps: int
) -> dict[str, str]:
    """One row a fact, by its name."""
    config = run.config
    parameters = count_parameters(family(config).table, {**config.sizes, "V": config.vocab_size})
    lora, adapters = run.files.lora, {}
    if lora:
        trained = count_parameters(run.files.table, run.files.sizes)
        adapters["trained"] = f"{trained / 1e6:.2f} M, adapters of rank {lora.rank} ({trained / parameters:.2%})"
    return {
        "model": f"{arguments.model} ({config.to_hf()['model_type']})",
        "parameters": f"{parameters / 1e6:.2f} M",
        **adapters,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()}), "
        f"{arguments.dtype} operands",
        "tokens a step": f"{run.global_batch * arguments.block_size:,} = {run.placement.num_shards} devices x "
        f"{run.microbatches} passes x {arguments.per_device_train_batch_size} blocks x {arguments.block_size}",
        "steps": f"{max_steps:,}, {first_step:,} done",
        "estimated memory": _memory(compiled),
        "output": arguments.output_dir,
    }


def _memory(compiled: Any) -> str:
    """What the compiler says of the step.

    Its arguments are the state and a batch; the state that comes out lies where the one that went in was.
    """
    analysis = compiled.memory_analysis() if hasattr(compiled, "memory_analysis") else None
    if analysis is None:
        return "not told by this platform"
    scratch = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    held = analysis.argument_size_in_bytes
    return f"{_size(held + scratch)} a device: {_size(held)} of state and batch, {_size(scratch)} beside"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.2f} MB"
