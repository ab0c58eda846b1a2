"""Build corpora and token files.

python -m data_processing corpus --source_dir DIR --output_dir CORPUS
python -m data_processing tokenize --data_dir CORPUS --tokenizer_name MODEL --block_size 2048 --token_cache_dir CACHE
python -m data_processing practice --output_dir TASKS

A corpus stage by stage, each with a folder of its own that a killed command goes on with:
python -m data_processing gather --source_dir DIR --output_dir 1-gather
python -m data_processing filter --input_dir 1-gather --output_dir 2-filter
python -m data_processing dedup --input_dir 2-filter --output_dir 3-dedup
python -m data_processing decontaminate --input_dir 3-dedup --output_dir 4-decontaminate --benchmarks HumanEval.jsonl.gz
python -m data_processing split --input_dir 4-decontaminate --output_dir CORPUS
python -m data_processing datasheet --data_dir CORPUS --tokenizer_name MODEL
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_processing.commands import (
    Corpus,
    Datasheet,
    DecontaminateStage,
    FilterStage,
    Gather,
    Judging,
    Map,
    Practice,
    Split,
    Tokenize,
)
from interface.errors import UserError, run
from interface.files import resolve
from interface.flags import choose

if TYPE_CHECKING:
    from data_processing.recipe import Recipe
    from data_processing.unit import Unit


def recipe(command: Any) -> Recipe:
    """The stages that a command's flags describe; a flag that it lacks stays at its default."""
    from data_processing.recipe import Recipe

    names = ("filters", "filter_tokenizer", "licenses", "languages", "redact", "dedup", "benchmarks",
             "redact_assignments", "benchmark_ngram")  # fmt: skip
    given: dict[str, Any] = {name: getattr(command, name) for name in names if getattr(command, name, None) is not None}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    return Recipe(command.wanted() if isinstance(command, Judging) else None, **given)


def corpus(command: Corpus) -> None:
    from data_processing.corpus import build_corpus

    output_dir = resolve(command.output_dir)

    def units(clone_dir: Path) -> list[Unit]:
        return command.units(clone_dir, command.validation_split_percentage)

    facts = command.facts()
    settings = replace(command.settings(recipe(command)), sourcing=facts)
    settings.rule.check_sources(
        [*facts.get("sources", []), *(n for n in ("train_file", "validation_file") if n in facts)]
    )
    manifest = build_corpus(units, output_dir, settings, command.num_workers, keep_work=command.keep_work)
    report(manifest, output_dir)


def report(manifest: dict[str, Any], output_dir: Path) -> None:
    """Say what a corpus holds, and where it is."""
    for split, count in manifest["documents"].items():
        print(f"  {split:10}  {count:6} documents  {manifest['bytes'][split] / 1e6:8.2f} MB")
    reasons = ", ".join(f"{count} {reason}" for reason, count in manifest["dropped"].items())
    print(f"  dropped: {reasons or 'nothing'}")
    redacted = ", ".join(f"{number} {kind}" for kind, number in manifest["redacted"].items())
    print(f"  redacted: {redacted or 'nothing'}")
    print(f"wrote the corpus to {output_dir}, and what is known of it to {output_dir / 'datasheet.md'}")


def gather(command: Gather) -> None:
    from data_processing.corpus import gather_phases

    output_dir = resolve(command.output_dir)
    units = command.units(output_dir.with_name(f"{output_dir.name}.clones"), command.validation_split_percentage)
    run_stage_command("gather", gather_phases(units, output_dir, command.facts()), output_dir, command.num_workers)


def map_command(name: str, command: Map) -> None:
    """Run the stage of a name."""
    from data_processing.corpus import stage_phases

    if name == "decontaminate" and not recipe(command).benchmarks:
        raise UserError("decontaminate needs --benchmarks: files or folders of problems")
    output_dir = resolve(command.output_dir)
    phases = stage_phases(recipe(command).stage(name), resolve(command.input_dir), output_dir)
    run_stage_command(name, phases, output_dir, command.num_workers)


def run_stage_command(name: str, phases: list[Any], output_dir: Path, workers: int) -> None:
    from data_processing.corpus import run_in_folder

    stage, before = run_in_folder(name, phases, output_dir, workers)
    counts = stage["counts"]
    came, left = (counts.get(way, {"documents": 0})["documents"] for way in ("in", "out"))
    print(f"{stage['name']}: {left} of {came} documents kept, {before} pieces of work were done before")
    print(f"wrote shards to {output_dir}")


def split(command: Split) -> None:
    from data_processing.corpus import split_corpus

    output_dir = resolve(command.output_dir)
    manifest = split_corpus(
        resolve(command.input_dir),
        output_dir,
        command.settings(recipe(command)),
        command.num_workers,
        keep_work=command.keep_work,
    )
    report(manifest, output_dir)


def datasheet(command: Datasheet) -> None:
    from data_processing.corpus import write_datasheet

    path = write_datasheet(resolve(command.data_dir), command.tokenizer_name, command.num_workers)
    print(f"wrote {path}")


def tokenize(command: Tokenize) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread in each of our processes
    from data_processing.encoders import encoder_of
    from data_processing.row_source import RowSource
    from data_processing.token_writer import write_token_files
    from data_processing.tokens import plan_token_files
    from tokenizer_patch.tokenizer import Tokenizer

    source = RowSource.of(command)
    source.check([command.split])
    encoder = encoder_of(source, Path(command.tokenizer_name), command.block_size)
    files = plan_token_files(
        tokenizer=Tokenizer.load(command.tokenizer_name),
        encoder=encoder,
        source=source,
        split=command.split,
        block_size=command.block_size,
        cache_dir=Path(command.token_cache_dir),
        max_blocks=command.max_blocks,
        max_rows=command.max_rows,
    )
    if command.overwrite_cache:
        files.clear()
    whole = files.are_whole() or write_token_files(
        files,
        encoder,
        source.open(command.split),
        source.filters(command.split),
        num_workers=command.preprocessing_num_workers or len(os.sched_getaffinity(0)),
        cache_limit=None if command.cache_limit_gb is None else int(command.cache_limit_gb * 1e9),
    )
    facts = files.facts()
    if facts is None or not whole:
        print(f"{command.split}: as many windows as --cache_limit_gb allows, or as anybody still reads, are written")
    else:
        dropped = "".join(f", {count} {reason}" for reason, count in facts["dropped"].items())
        print(
            f"{command.split}: {facts['documents']} documents, {facts['tokens']} tokens, {facts['blocks']} blocks of "
            f"{command.block_size}, {facts['rejected']} rows rejected{dropped}"
        )
    print(f"wrote token files to {files.folder}")


def practice(command: Practice) -> None:
    from data_processing.practice import PROBLEMS, write_tasks
    from interface.files import prepare_output

    output_dir = resolve(command.output_dir)
    prepare_output(output_dir, "train", "validation", PROBLEMS, overwrite=False)
    write_tasks(output_dir, command.num_train, command.num_validation, command.num_test, command.seed)
    print(
        f"wrote {command.num_train:,} tasks to {output_dir / 'train'}, {command.num_validation:,} to "
        f"{output_dir / 'validation'}, and {command.num_test:,} problems to {output_dir / PROBLEMS}"
    )


def main() -> None:
    name, command = choose(
        {
            "corpus": (Corpus, "Write sources as filtered, split corpus shards: all stages in one command."),
            "gather": (Gather, "Write sources as shards, the first stage of a corpus."),
            "filter": (FilterStage, "Write the documents of shards that the filters keep, secrets replaced."),
            "dedup": (Map, "Write the documents of shards without exact and near duplicates."),
            "decontaminate": (DecontaminateStage, "Write the documents of shards that hold no benchmark's problem."),
            "split": (Split, "Write shards as a corpus of train, validation and test, the last stage."),
            "datasheet": (Datasheet, "Write the datasheet of a corpus again, with tokens counted."),
            "practice": (
                Practice,
                "Write small tasks to learn from, and problems with unseen pairs of steps.",
            ),
            "tokenize": (Tokenize, "Write one split of a corpus as token files."),
        },
        prog="python -m data_processing",
    )
    commands: dict[str, Callable[[Any], None]] = {
        "corpus": corpus,
        "gather": gather,
        "split": split,
        "datasheet": datasheet,
        "practice": practice,
        "tokenize": tokenize,
    }
    if name in commands:
        commands[name](command)
    else:
        map_command(name, command)


if __name__ == "__main__":
    run(main)
