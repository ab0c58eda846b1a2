"""Convert a model between formats, merge adapters into one, describe what it is and costs, or list what trains where.

python -m modeling convert SOURCE OUTPUT [--dtype bfloat16] [--revision refs/pr/1]
python -m modeling merge ADAPTER OUTPUT [--base MODEL]
python -m modeling describe MODEL [--mesh data=1,fsdp=8,tensor=1 --batch 8]
python -m modeling hardware > docs/hardware.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from interface.choices import Attention, Precision, Remat
from interface.errors import UserError, run
from interface.files import claim, prepare_output
from interface.flags import choose, flag, required, want_at_least


@dataclass(frozen=True)
class Convert:
    source: str = required("model folder or Hub id: safetensors, flax msgpack or torch files")
    output_dir: str = required("folder for the model as transformers loads it in torch")
    dtype: Literal["float32", "bfloat16", "float16"] = flag("float32", "precision of the written weights")
    tokenizer: str | None = flag(None, "folder of a tokenizer; default: the source's, where it has one")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")


@dataclass(frozen=True)
class Merge(Convert):
    source: str = required("folder or Hub id of adapters (LoRA) as PEFT writes them")
    base: str | None = flag(None, "folder or Hub id of the model that they adapt; default: where they say it is")


def convert(command: Convert) -> None:
    from modeling.adapter_files import CONFIG, is_adapter, read_described
    from modeling.checkpoint import end_of_text, file_names, load, read_config, save
    from modeling.hub import TOKENIZER_FILES, has_tokenizer, resolve

    if command.tokenizer and not has_tokenizer(Path(command.tokenizer)):
        raise UserError(
            f"--tokenizer {command.tokenizer} holds no tokenizer; wanted a folder with any of "
            f"{', '.join(TOKENIZER_FILES)}. Give such a folder, or leave --tokenizer away to copy the source's"
        )
    source, output_dir = resolve(command.source, command.revision, command.cache_dir), Path(command.output_dir)
    tokenizer_dir = Path(command.tokenizer or source)
    read, base = {"SOURCE": source, "--tokenizer": tokenizer_dir}, None
    if isinstance(command, Merge):
        if not is_adapter(source):
            raise UserError(
                f"{command.source} holds no adapters; wanted a folder with {CONFIG}, as --lora_rank leaves it"
            )
        of = read_described(source)
        name, revision = (command.base, None) if command.base else (of.base, of.revision)
        read["--base"] = base = resolve(name, revision, command.cache_dir)
    for name, folder in read.items():
        if folder.resolve().is_relative_to(output_dir.resolve()):
            raise UserError(
                f"{name} {folder} is, or lies in, the output folder {output_dir}, whose files would be moved aside "
                "before they are read; give another OUTPUT"
            )
    names = file_names(read_config(base or source), command.dtype)
    # Refused before the weights are read. An empty folder is claimed only after, so that, where they cannot be read,
    # it stays empty and the same command may be given again.
    prepare_output(output_dir, *(names if command.overwrite_output_dir else ()), overwrite=command.overwrite_output_dir)
    model = load(source, base=base)
    claim(output_dir, *names)
    end = end_of_text(source) if base else None  # adapters may have been trained with another tokenizer
    save(output_dir, model, tokenizer_dir=tokenizer_dir, dtype=command.dtype, eos_token_id=end)
    if not has_tokenizer(output_dir):
        print(f"note: {command.source} has no tokenizer; --tokenizer FOLDER adds one", file=sys.stderr)
    print(f"wrote {command.dtype} weights of {command.source} to {output_dir}")


@dataclass(frozen=True)
class Describe:
    model: str = required("model folder, config.json or Hub id")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    mesh: str = flag("data=1,fsdp=1,tensor=1", "devices along each axis of the mesh")
    batch: int = flag(8, "blocks a device in one pass")
    block_size: int | None = flag(None, "tokens a block; default: the model's positions")
    gradient_accumulation_steps: int = flag(1, "passes an optimizer step")
    dtype: Precision = flag("bfloat16", "precision of matrix operands")
    remat: Remat = flag("none", "what the backward pass computes again")
    lora_rank: int | None = flag(None, "describe training adapters of this rank beside every matrix of a block")
    attention: Attention = flag("auto", "how attention is computed")
    platform: Literal["cpu", "gpu", "tpu"] | None = flag(None, "describe for these devices; default: this machine's")

    def __post_init__(self) -> None:
        want_at_least(1, self, "batch", "block_size", "gradient_accumulation_steps", "lora_rank")


def print_description(command: Describe) -> None:
    from modeling.checkpoint import read_config
    from modeling.description import describe, parse_mesh
    from modeling.execution import choose as choose_execution
    from modeling.lora import Lora

    config, mesh = read_config(command.model, command.revision, command.cache_dir), parse_mesh(command.mesh)
    how = choose_execution(
        config, command.dtype, attention=command.attention, remat=command.remat, platform=command.platform
    )
    length = command.block_size or config.max_position_embeddings
    accumulate = command.gradient_accumulation_steps > 1
    lora = Lora(command.lora_rank, 2.0 * command.lora_rank) if command.lora_rank else None
    print(describe(config, how, rows=command.batch, length=length, mesh=mesh, accumulate=accumulate, lora=lora))


@dataclass(frozen=True)
class Hardware:
    """Without flags: the table is of everybody's machines, not of this one."""


def print_hardware() -> None:
    from modeling.hardware import page, rows
    from training.peak import PEAK_TFLOPS

    print(page(rows(lambda kind: next(peak for name, peak in PEAK_TFLOPS if name in kind) * 1e12)))


def main() -> None:
    words = sys.argv[1:]
    for name, flags in (
        ("convert", ["--source", "--output_dir"]), ("merge", ["--source", "--output_dir"]), ("describe", ["--model"]),
    ):  # fmt: skip
        given = list(takewhile(lambda word: not word.startswith("-"), words[1:]))[: len(flags)]
        # one file where two words are wanted is a file of flags
        is_flag_file = len(given) < len(flags) and any(
            Path(word).suffix in (".json", ".yaml", ".yml") for word in given
        )
        if words[:1] == [name] and not is_flag_file:
            words[1 : 1 + len(given)] = [word for pair in zip(flags, given) for word in pair]
    _, command = choose(
        {
            "convert": (
                Convert,
                "Read a model in any known format and write it as safetensors: convert SOURCE OUTPUT.",
            ),
            "merge": (Merge, "Add adapters (LoRA) to their model and write it as one: merge ADAPTER OUTPUT."),
            "describe": (Describe, "Print a model's tensors, operations and training memory: describe MODEL."),
            "hardware": (Hardware, "Print which model trains on which machine, with which flags."),
        },
        words,
        prog="python -m modeling",
    )
    if isinstance(command, Describe):
        print_description(command)
    elif isinstance(command, Hardware):
        print_hardware()
    else:
        convert(command)


if __name__ == "__main__":
    run(main)
