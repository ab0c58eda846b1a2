"""Build corpora and token files.

python -m data_processing corpus --source_dir DIR --output_dir CORPUS
python -m data_processing tokenize --data_dir CORPUS --tokenizer_name MODEL --block_size 2048 --token_cache_dir CACHE
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from interface.errors import OutputNotEmpty, UserError, run
from interface.flags import choose, flag, required


@dataclass(frozen=True)
class Corpus:
    output_dir: str = required("folder for {train,validation,test}/*.jsonl.zst and manifest.json")
    source_dir: str | None = flag(
        None, "folder of code, git repository or folder of repositories; default: Python's standard library"
    )
    num_train_shards: int = flag(4, "number of shards of the train split")

    def __post_init__(self) -> None:
        if self.num_train_shards < 1:
            raise UserError(f"--num_train_shards is {self.num_train_shards}; wanted at least 1")


@dataclass(frozen=True)
class Tokenize:
    tokenizer_name: str = required("folder of the tokenizer")
    block_size: int = required("tokens a block")
    token_cache_dir: str = required("folder that token files are kept in, one subfolder for each tokenizer and corpus")
    dataset_name: str | None = flag(None, "path of a dataset script; default: data_processing/code_clippy.py")
    data_dir: str | None = flag(None, "folder of the corpus")
    split: str = flag("train", "split to tokenise")
    text_column_name: str = flag("text", "column that holds the text")
    max_blocks: int | None = flag(None, "stop after this many blocks")
    preprocessing_num_workers: int | None = flag(None, "tokeniser threads; default: one for each core")


def corpus(command: Corpus) -> None:
    from data_processing.corpus import build_corpus
    from data_processing.sources import embedded_corpus, source_trees

    trees = [embedded_corpus()] if command.source_dir is None else source_trees(command.source_dir)
    output_dir = Path(command.output_dir).expanduser().resolve()
    if output_dir.is_dir() and any(output_dir.iterdir()):
        raise OutputNotEmpty(f"{output_dir} is not empty; wanted a new folder for the corpus")
    manifest = build_corpus(trees, output_dir, command.num_train_shards)
    sources = manifest["sources"]
    print(f"{sum(s['files'] for s in sources)} code files in {', '.join(s['name'] for s in sources[:5])}")
    for split, count in manifest["documents"].items():
        print(f"  {split:10}  {count:6} documents  {manifest['bytes'][split] / 1e6:8.2f} MB")
    reasons = ", ".join(f"{count} {reason}" for reason, count in manifest["dropped"].items())
    print(f"  dropped: {reasons or 'nothing'}")
    print(f"wrote the corpus to {output_dir}")


def tokenize(command: Tokenize) -> None:
    if command.preprocessing_num_workers:
        os.environ["RAYON_NUM_THREADS"] = str(command.preprocessing_num_workers)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    import orjson

    from data_processing.dataset_script import open_split
    from data_processing.tokens import plan_token_files, round_robin, write_token_files
    from tokenizer_patch.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(command.tokenizer_name)
    files = plan_token_files(
        tokenizer=tokenizer,
        dataset_name=command.dataset_name,
        data_dir=command.data_dir,
        split=command.split,
        text_column=command.text_column_name,
        block_size=command.block_size,
        cache_dir=Path(command.token_cache_dir),
        max_blocks=command.max_blocks,
    )
    facts = files.facts()
    if facts is None:
        rejected = files.folder / "rejected.jsonl"
        # every shard is open at once
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

        def on_reject(shard: str, number: int, reason: str, line: bytes) -> None:
            with rejected.open("ab") as file:
                text = line[:1000].decode("utf-8", "replace")
                file.write(orjson.dumps({"shard": shard, "line": number, "reason": reason, "text": text}) + b"\n")

        shards = open_split(command.dataset_name, command.data_dir, command.split, on_reject)
        facts = write_token_files(files, tokenizer, round_robin(shards))
    print(
        f"{command.split}: {facts['documents']} documents, {facts['tokens']} tokens, {facts['blocks']} blocks of "
        f"{command.block_size}, {facts['rejected']} rows rejected"
    )
    print(f"wrote token files to {files.folder}")


def main() -> None:
    name, command = choose(
        {
            "corpus": (Corpus, "Write a source tree as filtered, split corpus shards."),
            "tokenize": (Tokenize, "Write one split of a corpus as token files."),
        },
        prog="python -m data_processing",
    )
    if name == "corpus":
        corpus(command)
    else:
        tokenize(command)


if __name__ == "__main__":
    run(main)
