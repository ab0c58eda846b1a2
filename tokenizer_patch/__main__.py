"""Patch a model's tokenizer and embedding tables with whitespace tokens, or train a tokenizer.

python -m tokenizer_patch --model_name_or_path BASE --output_dir PATCHED [--preset indent] [--data_dir CORPUS]
python -m tokenizer_patch train --data_dir CORPUS --vocab_size 8192 --output_dir TOKENIZER [--compare_with GPT2]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interface.errors import UserError, run
from interface.files import claim, prepare_output, write_json
from interface.flags import flag, parse, required

if TYPE_CHECKING:
    from modeling.checkpoint import Model
    from tokenizer_patch.measures import Text
    from tokenizer_patch.repair import Base, Damage, Ids
    from tokenizer_patch.tokenizer import Tokenizer

HELD_OUT_BYTES = 2_000_000  # enough code for three digits of tokens per byte, two seconds of tokenising
REPORT = "tokenizer_patch.json"
TRAINING_REPORT = "tokenizer_training.json"


@dataclass(frozen=True)
class Patch:
    model_name_or_path: str = required("model folder or Hub id to patch")
    output_dir: str = required("folder for the patched model")
    preset: str = flag(
        "clippy", "clippy (2, 4, 8 spaces, two tabs), indent (3, 7, 11, 15 spaces, two tabs: words keep their leading "
        "space), codegen (2-31 spaces, 2-9 tabs), or a .json file with a list of tokens",
    )  # fmt: skip
    data_dir: str | None = flag(
        None, "corpus whose validation split measures tokens per byte; default: Python's standard library"
    )
    score_bytes: int = flag(
        20_000, "held-out bytes on which the model is scored before and after; 0 scores nothing, for large models"
    )
    repair: bool = flag(False, "mend what the reference's patch broke: special whitespace, the end-of-text row")
    base_model: str | None = flag(
        None, "folder or Hub id of the model before the reference's patch, whose end-of-text row --repair takes"
    )
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")
    push_to_hub: str | None = flag(None, "OWNER/NAME of the Hub repository that gets the patched model", "hub")
    hub_private_repo: bool = flag(False, "make that repository private where it is new", "hub")
    hub_revision: str = flag("main", "branch of that repository", "hub")

    def __post_init__(self) -> None:
        if self.score_bytes < 0:
            raise UserError(f"--score_bytes is {self.score_bytes}; wanted 0 or more")


@dataclass(frozen=True)
class Train:
    data_dir: str = required("corpus folder; its train split is read")
    output_dir: str = required("folder for the tokenizer")
    vocab_size: int = flag(32768, "number of tokens, the 256 bytes and end-of-text included")
    min_frequency: int = flag(0, "merge no pair that occurs fewer times")
    collapse_whitespace: bool = flag(
        False, "train on text whose runs of spaces and tabs are collapsed, so that no token stands for indentation"
    )
    max_bytes: int = flag(100_000_000, "stop reading after this much text")
    compare_with: str | None = flag(None, "tokenizer folder, GPT-2's say, whose tokens a byte stand beside")
    overwrite_output_dir: bool = flag(False, "move what an earlier run wrote into output_dir aside, to previous-N/")

    def __post_init__(self) -> None:
        if self.vocab_size < 257:
            raise UserError(f"--vocab_size is {self.vocab_size}; the 256 bytes and end-of-text need 257")
        for name in ("min_frequency", "max_bytes"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name} is {getattr(self, name)}; wanted 0 or more")


def held_out_texts(data_dir: str | None, split: str = "validation") -> tuple[str, list[Text]]:
    """Some code that no split trains on, and what to call it."""
    from data_processing.shards import read_rows, shards_of
    from data_processing.sources import embedded_corpus
    from tokenizer_patch.measures import Text

    def documents():  # type: ignore[no-untyped-def]
        if data_dir is None:
            for document in embedded_corpus().documents():
                yield document.text, document.meta
        else:
            for shard in shards_of(Path(data_dir), split):
                for row in read_rows(shard, lambda number, reason, line: None):
                    yield row["text"], row.get("meta") or {}

    where = "the standard library" if data_dir is None else f"the {split} split of {data_dir}"
    texts: list[Text] = []
    total = 0
    for text, meta in documents():
        texts.append(Text(str(meta.get("repo_language") or "unknown"), text))
        total += len(text.encode())
        if total > HELD_OUT_BYTES:
            break
    if not total:
        raise UserError(f"{where} holds no text; wanted some code to count tokens on")
    return where, texts


def patch(command: Patch) -> None:
    from tokenizer_patch.presets import read_preset

    tokens = read_preset(command.preset)
    where, texts = held_out_texts(command.data_dir)
    from interface.push import open_repository, push
    from modeling.checkpoint import file_names, load, save
    from modeling.hub import resolve
    from tokenizer_patch.patch import patch_params, patch_tokenizer, tab_id
    from tokenizer_patch.repair import mend
    from tokenizer_patch.report import lines, measure
    from tokenizer_patch.tokenizer import Tokenizer

    source = resolve(command.model_name_or_path, command.revision, command.cache_dir)
    output_dir = Path(command.output_dir)
    if source.resolve().is_relative_to(output_dir.resolve()):
        raise UserError(f"--output_dir is, or holds, the model's own folder, {source}; give another, the source stays")
    if command.push_to_hub:
        open_repository(command.push_to_hub, private=command.hub_private_repo, revision=command.hub_revision)
    model, before = load(source), Tokenizer.load(source)
    damage, ids, base = _damage(command, source, model, before)
    start = mend(model, damage, ids, base) if command.repair else model
    names = [REPORT, *file_names(model.config)]
    prepare_output(output_dir, *names, overwrite=command.overwrite_output_dir)
    new_ids = patch_tokenizer(source, output_dir, tokens, repair=command.repair)
    patched = patch_params(start, new_ids, tab_id(before))
    claim(output_dir, *file_names(patched.config))  # more rows may make more shards
    save(output_dir, patched, eos_token_id=before.eos_token_id)
    after = Tokenizer.load(output_dir)
    after.require_rows(patched.config.vocab_size, str(output_dir))
    added = {str(new_id): after.backend.id_to_token(new_id) for new_id in new_ids}
    report = {
        "source": command.model_name_or_path,
        "preset": command.preset,
        "new_tokens": added,
        "embedding_rows": [model.config.vocab_size, patched.config.vocab_size],
        "reference_bugs": damage.lines(),
        "repaired": command.repair and bool(damage),
        "held_out": where,
        **measure((before, after), (model, patched), texts, command.score_bytes),
    }
    write_json(output_dir / REPORT, report)
    print(f"new tokens: {', '.join(repr(token) for token in added.values()) or 'none, all were there'}")
    print(f"embedding rows: {model.config.vocab_size} before, {patched.config.vocab_size} after; each new row is tab's")
    for line in damage.lines() if command.repair else ():
        print(f"mended, as far as it can be: {line}")
    print("\n".join(lines(report)))
    (rate_before, rate_after), saved = report["tokens_per_byte"], report["tokens_saved"]
    print(f"tokens per byte on {where}: {rate_before:.4f} before, {rate_after:.4f} after ({100 * saved:.1f} % saved)")
    if rate_after > rate_before:
        print(
            "warning: the patch costs tokens: this tokenizer has its own tokens for indentation, "
            "and the new ones break them up. Fine-tune it unpatched",
            file=sys.stderr,
        )
    print(f"wrote the patched model to {output_dir}")
    if command.push_to_hub:
        message = f"{command.model_name_or_path} with whitespace tokens ({command.preset})"
        url = push(
            output_dir, command.push_to_hub, [REPORT, *file_names(patched.config)],
            message=message, revision=command.hub_revision,
        )  # fmt: skip
        print(f"pushed it to {url}")


def _damage(command: Patch, source: Path, model: Model, tokenizer: Tokenizer) -> tuple[Damage, Ids, Base | None]:
    """Look for the reference's patch, and warn of it where it is not to be mended."""
    from modeling.checkpoint import load
    from modeling.hub import resolve
    from tokenizer_patch.added_tokens import special_whitespace, whitespace_ids
    from tokenizer_patch.patch import read_tokenizer, tab_id
    from tokenizer_patch.repair import Base, Ids, find_damage
    from tokenizer_patch.tokenizer import Tokenizer, VocabularyMismatch

    if tokenizer.size > model.config.vocab_size:
        raise VocabularyMismatch(
            f"{command.model_name_or_path} has {model.config.vocab_size} embedding rows and a tokenizer of "
            f"{tokenizer.size} tokens: some were added without rows. Put the tokenizer there that the weights were "
            "trained with, and patch that"
        )
    base = None
    if command.base_model:
        folder = resolve(command.base_model, None, command.cache_dir)
        theirs = Tokenizer.load(folder)
        base = Base(load(folder), theirs.eos_token_id, tab_id(theirs))
    described = read_tokenizer(source).described
    ids = Ids(tokenizer.eos_token_id, tab_id(tokenizer), sorted(whitespace_ids(described).values()))
    damage = find_damage(model, special_whitespace(described), ids, base)
    if damage and not command.repair:
        for line in damage.lines():
            print(f"warning: {line}", file=sys.stderr)
        print(
            f"warning: {command.model_name_or_path} was made by the reference's patch; --repair mends it, "
            "with --base_model BASE to take the end-of-text row from the model before that patch",
            file=sys.stderr,
        )
    return damage, ids, base


def train(command: Train) -> None:
    from data_processing.shards import read_texts, shards_of
    from data_processing.splits import EmptySplit
    from tokenizer_patch.bpe import collapse_runs, train_bpe, until
    from tokenizer_patch.tokenizer import Tokenizer

    shards = shards_of(Path(command.data_dir), "train")
    peer = Tokenizer.load(command.compare_with) if command.compare_with else None
    output_dir = Path(command.output_dir)
    names = ["tokenizer.json", "tokenizer_config.json", TRAINING_REPORT]
    prepare_output(output_dir, *names, overwrite=command.overwrite_output_dir)
    shape = collapse_runs if command.collapse_whitespace else str
    texts = until(map(shape, read_texts(shards)), command.max_bytes)
    train_bpe(texts, command.vocab_size, output_dir, min_frequency=command.min_frequency)
    tokenizer = Tokenizer.load(output_dir)
    try:
        where, sample = held_out_texts(command.data_dir)
    except EmptySplit:  # a corpus that is all training text
        where, sample = held_out_texts(command.data_dir, "train")
    rates = {
        str(folder): found.tokens_per_byte([text.text for text in sample])
        for folder, found in ((output_dir, tokenizer), (command.compare_with, peer))
        if found
    }
    report = {
        "tokens": tokenizer.size, "eos_token_id": tokenizer.eos_token_id, "data_dir": command.data_dir,
        "max_bytes": command.max_bytes, "min_frequency": command.min_frequency,
        "collapse_whitespace": command.collapse_whitespace, "held_out": where, "tokens_per_byte": rates,
    }  # fmt: skip
    write_json(output_dir / TRAINING_REPORT, report)
    print(f"tokens: {tokenizer.size}, end of text is id {tokenizer.eos_token_id}")
    for folder, rate in rates.items():
        print(f"tokens per byte on {where}: {rate:.4f}  {folder}")
    if peer:
        ours, theirs = rates.values()
        print(f"that is {ours / theirs:.3f} of the other's tokens")
    print(f"wrote the tokenizer to {output_dir}")


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        about = "Train a byte-level BPE tokenizer on a corpus."
        train(parse(Train, sys.argv[2:], prog="python -m tokenizer_patch train", description=about))
    else:
        about = "Add whitespace tokens to a model; `train` as the first word trains a tokenizer instead."
        patch(parse(Patch, prog="python -m tokenizer_patch", description=about))


if __name__ == "__main__":
    run(main)
