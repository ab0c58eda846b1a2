"""Convert a model directory between formats.

python -m modeling convert SOURCE OUTPUT [--dtype bfloat16] [--revision refs/pr/1]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interface.errors import run
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


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["convert"] and len(words) > 2 and not any(word.startswith("-") for word in words[1:3]):
        words[1:3] = ["--source", words[1], "--output_dir", words[2]]
    _, command = choose(
        {"convert": (Convert, "Read a model in any known format and write it as safetensors: convert SOURCE OUTPUT.")},
        words,
        prog="python -m modeling",
    )
    convert(command)


if __name__ == "__main__":
    run(main)
