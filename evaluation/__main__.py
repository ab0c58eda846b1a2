"""Score models.

python -m evaluation bits_per_byte --models BASE TUNED --data_dir CORPUS
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interface.choices import Precision
from interface.errors import UserError, run
from interface.files import write_json
from interface.flags import choose, flag, required


@dataclass(frozen=True)
class BitsPerByte:
    models: list[str] = required("model folders or Hub ids, scored on the same documents")
    data_dir: str = required("corpus folder")
    split: str = flag("test", "split to score on")
    max_bytes: int = flag(1_000_000, "score at most this much text, whole documents from the split's start")
    block_size: int | None = flag(None, "tokens of context; default: the fewest positions that any of the models has")
    dtype: Precision = flag("float32", "precision of matrix operands")
    revision: str | None = flag(None, "branch, tag or commit of the Hub ids among --models; local folders have none")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    output: str | None = flag(None, "write the scores to this JSON file")

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise UserError(f"--max_bytes is {self.max_bytes}; wanted at least 1")


def score(command: BitsPerByte) -> None:
    from data_processing.shards import read_texts, shards_of
    from data_processing.splits import EmptySplit
    from modeling import execution
    from modeling.bits_per_byte import bits_per_byte
    from modeling.checkpoint import load, read_config
    from modeling.config import UnsupportedConfig
    from modeling.hub import resolve
    from tokenizer_patch.tokenizer import Tokenizer

    texts: list[str] = []
    num_bytes = 0
    for text in read_texts(shards_of(Path(command.data_dir), command.split)):
        size = len(text.encode())
        if texts and num_bytes + size > command.max_bytes:
            continue  # a long document that no longer fits leaves room for shorter ones
        texts.append(text)
        num_bytes += size
    if not num_bytes:
        raise EmptySplit(f"the {command.split} split of {command.data_dir} holds no text; wanted some to score on")
    # with a revision and no Hub id at all, resolve says what is wrong
    remote = [name for name in command.models if not Path(name).expanduser().is_dir()] or command.models
    folders = {
        name: resolve(name, command.revision if name in remote else None, command.cache_dir) for name in command.models
    }
    positions = min(read_config(folder).max_position_embeddings for folder in folders.values())
    block_size = command.block_size or positions
    if block_size > positions:
        raise UnsupportedConfig(f"--block_size is {block_size}; the models have {positions} positions")
    print(f"{len(texts)} documents, {num_bytes:,} bytes of {command.split}; context of {block_size} tokens")
    results = {}
    for name, folder in folders.items():
        model, tokenizer = load(folder), Tokenizer.load(folder)
        tokenizer.require_rows(model.config.vocab_size, name)
        encoded = tokenizer.encode_batch(texts)
        value = bits_per_byte(
            model.config,
            model.params,
            [(ids, len(text.encode())) for ids, text in zip(encoded, texts, strict=True)],
            eos_token_id=tokenizer.eos_token_id,
            block_size=block_size,
            how=execution.choose(model.config, command.dtype),
        )
        results[name] = {"bits_per_byte": value, "tokens_per_byte": sum(map(len, encoded)) / num_bytes}
        print(f"  {value:.4f} bits a byte, {results[name]['tokens_per_byte']:.4f} tokens a byte  {name}")
    if command.output:
        write_json(
            Path(command.output),
            {"split": command.split, "documents": len(texts), "bytes": num_bytes, "block_size": block_size,
             "dtype": command.dtype, "results": results},
        )  # fmt: skip
        print(f"wrote {command.output}")


def main() -> None:
    _, command = choose(
        {"bits_per_byte": (BitsPerByte, "Bits per byte of models on a held-out split.")}, prog="python -m evaluation"
    )
    score(command)


if __name__ == "__main__":
    run(main)
