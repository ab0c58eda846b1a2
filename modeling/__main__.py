"""Convert a model between formats, or describe what it is and costs.

python -m modeling convert SOURCE OUTPUT [--dtype bfloat16] [--revision refs/pr/1]
python -m modeling describe MODEL [--mesh data=1,fsdp=8,tensor=1 --batch 8]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interface.errors import UserError, run
from interface.files import prepare_output
from interface.flags import choose, flag, required


@dataclass(frozen=True)
class Convert:
    source: str = required("model folder or Hub id: safetensors, flax msgpack or torch files")
    output_dir: str = required("folder for the model as transformers loads it in torch")
    dtype: Literal["float32", "bfloat16", "float16"] = flag("float32", "precision of the written weights")
    tokenizer: str | None = flag(None, "folder of a tokenizer; default: the source's, where it has one")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")


def convert(command: Convert) -> None:
    from modeling.checkpoint import INDEX, load, plan_weights, save
    from modeling.hub import TOKENIZER_FILES, resolve

    source, output_dir = resolve(command.source, command.revision, command.cache_dir), Path(command.output_dir)
    model = load(source)
    names = ["config.json", "generation_config.json", INDEX, *TOKENIZER_FILES]
    names += plan_weights(model.config, command.dtype).filename_to_tensors
    prepare_output(output_dir, *names, overwrite=command.overwrite_output_dir)
    save(output_dir, model, tokenizer_dir=command.tokenizer or source, dtype=command.dtype)
    if not any((output_dir / name).is_file() for name in TOKENIZER_FILES):
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
    dtype: Literal["float32", "bfloat16"] = flag("bfloat16", "precision of matrix operands")
    remat: Literal["none", "dots", "block"] = flag("none", "what the backward pass computes again")
    attention: Literal["auto", "plain", "blocked", "cudnn", "splash"] = flag("auto", "how attention is computed")
    platform: Literal["cpu", "gpu", "tpu"] | None = flag(None, "describe for these devices; default: this machine's")

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.block_size or 1) < 1:
            raise UserError(f"--batch {self.batch} and --block_size {self.block_size} want at least 1")


def print_description(command: Describe) -> None:
    from modeling.checkpoint import read_config
    from modeling.description import describe, parse_mesh
    from modeling.execution import choose as choose_execution

    config, mesh = read_config(command.model, command.revision, command.cache_dir), parse_mesh(command.mesh)
    how = choose_execution(
        config, command.dtype, attention=command.attention, remat=command.remat, platform=command.platform
    )
    length = command.block_size or config.max_position_embeddings
    print(describe(config, how, rows=command.batch, length=length, mesh=mesh))


def main() -> None:
    words = sys.argv[1:]
    for name, flags in (("convert", ["--source", "--output_dir"]), ("describe", ["--model"])):
        given = words[1 : 1 + len(flags)]
        if words[:1] == [name] and len(given) == len(flags) and not any(word.startswith("-") for word in given):
            words[1 : 1 + len(flags)] = [word for pair in zip(flags, given, strict=True) for word in pair]
    _, command = choose(
        {
            "convert": (
                Convert,
                "Read a model in any known format and write it as safetensors: convert SOURCE OUTPUT.",
            ),
            "describe": (Describe, "Print a model's tensors, operations and training memory: describe MODEL."),
        },
        words,
        prog="python -m modeling",
    )
    if isinstance(command, Describe):
        print_description(command)
    else:
        convert(command)


if __name__ == "__main__":
    run(main)
