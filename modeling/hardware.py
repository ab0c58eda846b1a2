"""Hardware: which model trains on which machine, with which flags, memory and time. Nothing is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from modeling.config import DecoderConfig
from modeling.cost import training_flops, training_memory
from modeling.decoder import config_from_hf
from modeling.description import parse_mesh
from modeling.execution import Remat, choose

MFU = 0.4  # what trainers of these sizes reach on TPUs and GPUs: nanochat 0.41 to 0.46, Levanter 0.35 to 0.54
FULL = 0.75  # of a device's memory: the compiler's own figure has been up to a quarter above the estimate
TOKENS = 2048  # a block


def _gpt_neo(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_neo", "vocab_size": 50257, "max_position_embeddings": TOKENS, "hidden_size": width,
        "num_layers": layers, "num_heads": heads, "attention_types": [[["global", "local"], layers // 2]],
    }  # fmt: skip


def _codegen(width: int, layers: int, heads: int, rotary: int) -> dict[str, Any]:
    return {
        "model_type": "codegen", "vocab_size": 51200, "n_positions": TOKENS, "n_embd": width, "n_layer": layers,
        "n_head": heads, "rotary_dim": rotary,
    }  # fmt: skip


MODELS = {  # by the config.json of each on the Hub
    "GPT-Neo 125M": _gpt_neo(768, 12, 12),
    "GPT-Neo 1.3B": _gpt_neo(2048, 24, 16),
    "GPT-Neo 2.7B": _gpt_neo(2560, 32, 20),
    "CodeGen 350M": _codegen(1024, 20, 16, 32),
    "CodeGen 2B": _codegen(2560, 32, 32, 64),
    "CodeGen 6B": _codegen(4096, 33, 16, 64),
    "CodeGen 16B": _codegen(6144, 34, 24, 64),
    "GPT-J 6B": {
        "model_type": "gptj", "vocab_size": 50400, "n_positions": TOKENS, "n_embd": 4096, "n_layer": 28, "n_head": 16,
        "rotary_dim": 64,
    },
}  # fmt: skip


class Machine(NamedTuple):
    name: str
    kind: str  # as jax names a device
    devices: int
    gib: int  # a device
    platform: Literal["gpu", "tpu"]


class Choice(NamedTuple):
    """What a machine trains: whole on each device, or cut over all of them by fsdp."""

    model: str
    rows: int
    remat: Remat
    cut: bool = False


CHOICES: dict[Machine, tuple[Choice, ...]] = {
    Machine("RTX 3090 or 4090", "RTX 4090", 1, 24, "gpu"): (
        Choice("GPT-Neo 125M", 8, "none"), Choice("CodeGen 350M", 2, "none"),
    ),
    Machine("A100 80 GB", "A100", 1, 80, "gpu"): (
        Choice("GPT-Neo 125M", 32, "none"), Choice("GPT-Neo 1.3B", 4, "none"), Choice("CodeGen 350M", 16, "none"),
        Choice("GPT-Neo 2.7B", 1, "dots"),
    ),
    Machine("H100 80 GB", "H100", 1, 80, "gpu"): (
        Choice("GPT-Neo 125M", 32, "none"), Choice("GPT-Neo 1.3B", 4, "none"),
    ),
    Machine("H200", "H200", 1, 140, "gpu"): (
        Choice("GPT-Neo 125M", 64, "none"), Choice("GPT-Neo 1.3B", 8, "none"), Choice("CodeGen 2B", 4, "none"),
    ),
    Machine("8 x A100 80 GB", "A100", 8, 80, "gpu"): (
        Choice("GPT-Neo 2.7B", 4, "none", cut=True), Choice("GPT-J 6B", 2, "none", cut=True),
        Choice("CodeGen 16B", 1, "dots", cut=True),
    ),
    Machine("TPU v3-8", "TPU v3", 8, 16, "tpu"): (
        Choice("GPT-Neo 125M", 8, "dots"), Choice("GPT-Neo 1.3B", 1, "dots", cut=True),
    ),
    Machine("TPU v4-8", "TPU v4", 4, 32, "tpu"): (
        Choice("GPT-Neo 125M", 16, "dots"), Choice("GPT-Neo 2.7B", 1, "dots", cut=True),
    ),
    Machine("TPU v5e-8", "TPU v5e", 8, 16, "tpu"): (
        Choice("GPT-Neo 125M", 8, "dots"), Choice("GPT-Neo 1.3B", 1, "dots", cut=True),
        Choice("CodeGen 2B", 2, "block", cut=True),
    ),
    Machine("TPU v6e-8", "TPU v6", 8, 32, "tpu"): (
        Choice("GPT-Neo 125M", 16, "dots"), Choice("GPT-Neo 1.3B", 4, "dots", cut=True),
        Choice("GPT-J 6B", 1, "dots", cut=True), Choice("CodeGen 6B", 1, "block", cut=True),
    ),
    Machine("TPU v4-32", "TPU v4", 16, 32, "tpu"): (
        Choice("GPT-J 6B", 2, "block", cut=True), Choice("CodeGen 16B", 1, "block", cut=True),
    ),
}  # fmt: skip


class Row(NamedTuple):
    """A line of the page, with the numbers behind it."""

    machine: Machine
    choice: Choice
    flags: str
    gib: float
    hours: float  # a billion tokens


def rows(peak_of: Callable[[str], float]) -> Iterator[Row]:
    """Every choice with its memory and time; `peak_of` tells the operations a second of a kind of device."""
    for machine, choices in CHOICES.items():
        for choice in choices:
            config: DecoderConfig = config_from_hf(MODELS[choice.model])
            how = choose(config, "bfloat16", remat=choice.remat, platform=machine.platform)
            mesh = parse_mesh(f"fsdp={machine.devices}" if choice.cut else "")
            memory = training_memory(config, how, rows=choice.rows, length=TOKENS, mesh=mesh, accumulate=True)
            pace = MFU * machine.devices * peak_of(machine.kind) / training_flops(config, TOKENS)
            flags = f"--per_device_train_batch_size {choice.rows}"
            flags += f" --remat {choice.remat}" if choice.remat != "none" else ""
            flags += f" --placement mesh --mesh fsdp={machine.devices}" if choice.cut else ""
            yield Row(machine, choice, flags, memory.total / 2**30, 1e9 / pace / 3600)


HEAD = f"""# What trains where

With AdamW, `--dtype bfloat16`, blocks of {TOKENS:,} tokens and gradient accumulation. The memory is what
`python -m modeling describe MODEL --platform gpu|tpu --batch ROWS --gradient_accumulation_steps 2` prints
with the row's `--remat` and `--mesh`. It fills {FULL:.0%} of a device at most, since the compiler's own figure has
been up to a quarter above it (docs/benchmarks.md). The hours assume an MFU of {MFU:.0%}; a run prints its own.
This page is what `python -m modeling hardware` prints.

| hardware | model | flags | GiB a device | hours a billion tokens |
|---|---|---|---|---|"""

# Both figures: benchmarks/tpu_compile.py's way, for v5e, with the recipe's 16 passes a step.
FOOT = """
The recipe `code-clippy` reads 2.1 billion tokens in 1,000 steps. Its 8 x 2,048 tokens a device want 12.7 GiB without
`--remat`, by the compiler for a v5e, and a device of a TPU v3 or v5e has 16; with `--remat dots`, which the recipes
give on TPUs, 10.7 GiB."""


def page(found: Iterable[Row]) -> str:
    """The page, in Markdown."""
    lines = (
        f"| {row.machine.name} | {row.choice.model} | `{row.flags}` | {row.gib:.1f} of {row.machine.gib} "
        f"| {row.hours:.2g} |"
        for row in found
    )
    return "\n".join([HEAD, *lines, FOOT])
