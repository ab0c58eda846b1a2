"""Patch a model's tokenizer and embedding tables with whitespace tokens, or train a tokenizer.

python -m tokenizer_patch --model_name_or_path BASE --output_dir PATCHED [--data_dir CORPUS]
python -m tokenizer_patch train --data_dir CORPUS --vocab_size 8192 --output_dir TOKENIZER
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from interface.errors import UserError, run
from interface.files import claim, prepare_output, write_json
from interface.flags import flag, parse, required

HELD_OUT_BYTES = 2_000_000  # enough code for three digits of tokens per byte, two seconds of tokenising


@dataclass(frozen=True)
class Patch:
    model_name_or_path: str = required("model folder or Hub id to patch")
    output_dir: str = required("folder for the patched model")
    data_dir: str | None = flag(
        None, "corpus whose validation split measures tokens per byte; default: Python's standard library"
    )
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")


@dataclass(frozen=True)
class Train:
    data_dir: str = required("corpus folder; its train split is read")
    output_dir: str = required("folder for the tokenizer")
    vocab_size: int = flag(32768, "number of tokens, the 256 bytes and end-of-text included")
    collapse_whitespace: bool = flag(
        False, "train on text whose runs of spaces and tabs are collapsed, so that no token stands for indentation"
    )
    max_bytes: int = flag(100_000_000, "stop reading after this much text")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")

    def __post_init__(self) -> None:
        if self.vocab_size < 257:
            raise UserError(f"--vocab_size is {self.vocab_size}; the 256 bytes and end-of-text need 257")


def held_out_texts(data_dir: str | None, limit_bytes: int = HELD_OUT_BYTES) -> tuple[str, list[str]]:
    """Some code that no split trains on, and what to call it."""
    from data_processing.shards import read_texts, shards_of
    from data_processing.sources import embedded_corpus

    if data_dir is None:
        where, documents = "the standard library", embedded_corpus().texts()
    else:
        where, documents = f"the validation split of {data_dir}", read_texts(shards_of(Path(data_dir), "validation"))
    texts: list[str] = []
    total = 0
    for text in documents:
        texts.append(text)
        total += len(text)
        if total > limit_bytes:
            break
    if not total:
        raise UserError(f"{where} holds no text; wanted some code to count tokens on")
    return where, texts


def patch(command: Patch) -> None:
    from modeling.checkpoint import file_names, load, save
    from modeling.hub import resolve
    from tokenizer_patch.patch import CLIPPY_TOKENS, patch_params, patch_tokenizer, tab_id
    from tokenizer_patch.tokenizer import Tokenizer

    where, texts = held_out_texts(command.data_dir)
    source = resolve(command.model_name_or_path, command.revision, command.cache_dir)
    model = load(source)
    before = Tokenizer.load(source)
    before.require_rows(model.config.vocab_size, command.model_name_or_path)
    output_dir = Path(command.output_dir)
    if output_dir.resolve() == source.resolve():
        raise UserError(f"--output_dir is the model's own folder, {source}; give another, the source stays as it is")
    names = ["tokenizer_patch.json", *file_names(model.config)]
    prepare_output(output_dir, *names, overwrite=command.overwrite_output_dir)
    new_ids = patch_tokenizer(source, output_dir, CLIPPY_TOKENS)
    patched = patch_params(model, new_ids, tab_id(before))
    claim(output_dir, *file_names(patched.config))  # more rows may make more shards
    save(output_dir, patched, eos_token_id=before.eos_token_id)
    after = Tokenizer.load(output_dir)
    rate_before, rate_after = before.tokens_per_byte(texts), after.tokens_per_byte(texts)
    saved = 1 - rate_after / rate_before
    added = {str(new_id): after.backend.id_to_token(new_id) for new_id in new_ids}
    report = {
        "source": command.model_name_or_path,
        "new_tokens": added,
        "embedding_rows": [model.config.vocab_size, patched.config.vocab_size],
        "held_out": where,
        "tokens_per_byte": [rate_before, rate_after],
        "tokens_saved": saved,
    }
    write_json(output_dir / "tokenizer_patch.json", report)
    print(f"new tokens: {', '.join(repr(token) for token in added.values()) or 'none, all were there'}")
    print(f"embedding rows: {model.config.vocab_size} before, {patched.config.vocab_size} after; each new row is tab's")
    print(f"tokens per byte on {where}: {rate_before:.4f} before, {rate_after:.4f} after ({100 * saved:.1f} % saved)")
    if rate_after > rate_before:
        print(
            "warning: the patch costs tokens: this tokenizer has its own tokens for indentation, "
            "and the new ones break them up. Fine-tune it unpatched",
            file=sys.stderr,
        )
    print(f"wrote the patched model to {output_dir}")


def train(command: Train) -> None:
    from data_processing.shards import read_texts, shards_of
    from tokenizer_patch.bpe import collapse_runs, train_bpe
    from tokenizer_patch.tokenizer import Tokenizer

    shards = shards_of(Path(command.data_dir), "train")
    output_dir = Path(command.output_dir)
    prepare_output(output_dir, "tokenizer.json", "tokenizer_config.json", overwrite=command.overwrite_output_dir)
    shape = collapse_runs if command.collapse_whitespace else str
    train_bpe(_until(map(shape, read_texts(shards)), command.max_bytes), command.vocab_size, output_dir)
    tokenizer = Tokenizer.load(output_dir)
    sample = list(islice(read_texts(shards), 200))
    print(f"tokens: {tokenizer.size}, end of text is id {tokenizer.eos_token_id}")
    print(f"tokens per byte on the train split: {tokenizer.tokens_per_byte(sample):.4f}")
    print(f"wrote the tokenizer to {output_dir}")


def _until(texts, limit_bytes):  # type: ignore[no-untyped-def]
    total = 0
    for text in texts:
        yield text
        total += len(text)
        if total > limit_bytes:
            return


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        about = "Train a byte-level BPE tokenizer on a corpus."
        train(parse(Train, sys.argv[2:], prog="python -m tokenizer_patch train", description=about))
    else:
        about = "Add whitespace tokens to a model; `train` as the first word trains a tokenizer instead."
        patch(parse(Patch, prog="python -m tokenizer_patch", description=about))


if __name__ == "__main__":
    run(main)
