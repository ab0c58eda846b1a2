"""Commands: what each command of this folder is told, as flags; flags that several have are a class of their own."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_processing.row_flags import RowFlags
from interface.errors import UserError
from interface.files import resolve
from interface.flags import flag, required, want_at_least

if TYPE_CHECKING:
    from data_processing.corpus import CorpusSettings
    from data_processing.criteria import Criteria
    from data_processing.recipe import Recipe
    from data_processing.unit import Unit


@dataclass(frozen=True, kw_only=True)
class Working:
    """Flags of every command that makes documents."""

    workers: int | None = flag(None, "processes; default: one for each core")

    def __post_init__(self) -> None:
        want_at_least(1, self, "workers")

    @property
    def num_workers(self) -> int:
        return self.workers or os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Judging:
    """Flags of the criteria: gather clones no repository of a search that fails them, filter judges every document."""

    criteria: Literal["none", "code_clippy"] = flag(
        "none",
        "code_clippy: over 10 stars, over 2 commits, a licence, no fork, files under 70,708 bytes, where that is known",
        "filters",
    )
    more_stars_than: int | None = flag(None, "criterion of its own", "filters")
    more_commits_than: int | None = flag(None, "criterion of its own", "filters")
    fewer_bytes_than: int | None = flag(None, "criterion of its own: the size of a file", "filters")

    def wanted(self) -> Criteria | None:
        """The criteria that the flags name; None where there is none."""
        from data_processing.criteria import Criteria

        own = {name: getattr(self, name) for name in ("more_stars_than", "more_commits_than", "fewer_bytes_than")}
        own = {name: value for name, value in own.items() if value is not None}
        if self.criteria == "code_clippy":
            return Criteria(**own)
        off = Criteria(None, None, license_needed=False, no_forks=False, fewer_bytes_than=None)
        return replace(off, **own) if own else None


@dataclass(frozen=True, kw_only=True)
class Sourcing(Judging):
    """Flags that name the sources; with none of them Python's standard library."""

    source_dir: str | None = flag(None, "folder of code, git repository or folder of repositories", "sources")
    sources: list[str] | None = flag(
        None, "git URLs, folders, lists of either (.txt), SEART search exports (.csv), shards (.jsonl.zst, .parquet)",
        "sources",
    )  # fmt: skip
    dataset_name: str | None = flag(None, "Hugging Face data set, streamed; NAME or NAME:CONFIG", "sources")
    text_column_name: str | None = flag(None, "column that holds the text; default: text or content", "sources")
    train_file: str | None = flag(None, "file of rows for train: .jsonl, .json, .csv, .txt, .parquet", "sources")
    validation_file: str | None = flag(None, "file of rows for validation; default: a share of train_file", "sources")
    clone_dir: str | None = flag(None, "folder of clones, of which none is made again; default: beside OUTPUT_DIR",
                                 "sources")  # fmt: skip
    clone_base_url: str = flag("https://github.com/", "what the names of a search export are appended to", "sources")
    clone_timeout: float = flag(600.0, "seconds that one repository's clone may take", "sources")
    license_scanner: Literal["builtin", "askalono"] = flag(
        "builtin", "what reads LICENSE files; askalono: the extra [scanners]", "sources"
    )

    def specs(self) -> list[str]:
        hub = [f"hf:{self.dataset_name}"] if self.dataset_name else []
        return [*([self.source_dir] if self.source_dir else []), *(self.sources or []), *hub]

    def facts(self) -> dict[str, Any]:
        """What was read and how, as plain JSON values for the datasheet: names of sources, not places on a machine."""
        from data_processing.license_texts import scanner_name
        from data_processing.sources import embedded_corpus, source_names

        given = {"train_file": self.train_file, "validation_file": self.validation_file}
        found: dict[str, Any] = {name: Path(path).name for name, path in given.items() if path}
        if self.specs() or not found:
            found["sources"] = sorted(source_names(self.specs())) or [embedded_corpus().name]
            found["license_scanner"] = scanner_name(self.license_scanner)
        criteria = self.wanted()
        return found | ({"criteria": asdict(criteria)} if criteria else {})

    def units(self, clone_dir: Path, validation_percentage: float) -> list[Unit]:
        """The units of all sources that the flags name."""
        from data_processing.license_texts import SCANNERS, detect_repository_licence
        from data_processing.sources import training_units, units

        specs = self.specs()
        if self.validation_file and not self.train_file:
            raise UserError("--validation_file is given without --train_file; wanted both, or --train_file alone")
        found: list[Unit] = []
        if self.train_file:
            found += training_units(
                self.train_file, self.validation_file, validation_percentage, text_column=self.text_column_name
            )
        if specs or not found:
            found += units(
                specs,
                clone_dir=resolve(self.clone_dir) if self.clone_dir else clone_dir,
                base_url=self.clone_base_url,
                text_column=self.text_column_name,
                criteria=self.wanted(),
                detect_license=partial(detect_repository_licence, detect=SCANNERS[self.license_scanner]),
                clone_timeout_seconds=self.clone_timeout,
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Filtering:
    """Flags of the filters, each of one document alone."""

    filters: Literal["codex", "codeparrot", "none"] = flag(
        "codex", "which quality filters; docs/filters.md has their thresholds", "filters"
    )
    filter_tokenizer: str | None = flag(
        None, "folder of a tokenizer: with codeparrot, files of few characters a token are dropped too", "filters"
    )
    licenses: str = flag(
        "auto",
        "which licences are kept: auto (permissive of public sources, all of local ones), all, or permissive, copyleft "
        "and unknown joined by +",
        "filters",
    )
    languages: list[str] | None = flag(
        None, "keep these, as in Python C++ .pyi: GitHub's names or extensions; default: all", "filters"
    )
    redact: Literal["builtin", "kingfisher", "none"] = flag(
        "builtin", "what finds secrets and e-mail addresses; kingfisher: beside our rules, the extra [scanners]",
        "filters",
    )  # fmt: skip
    redact_assignments: bool = flag(
        False, "also replace values of high entropy that are assigned to names such as password", "filters"
    )


@dataclass(frozen=True, kw_only=True)
class Decontaminating:
    """Flags of the search for benchmarks' problems."""

    benchmarks: list[str] | None = flag(
        None, "files or folders of problems (HumanEval, MBPP, MTPB, APPS) that no document may hold", "filters"
    )
    benchmark_ngram: int = flag(13, "words in a row, 10 to 13, that a document may share with no problem", "filters")


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Flags of the split and of the datasheet."""

    num_train_shards: int | None = flag(None, "number of shards of the train split; default: 256 MB each, at least 4")
    validation_split_percentage: float = flag(5.0, "share of the repositories that goes to validation")
    test_split_percentage: float = flag(5.0, "share of the repositories that goes to test")
    weights: list[str] | None = flag(
        None, "how often each document of a source is seen in train, as in github=1 stack=0.5; default: once"
    )
    tokenizer_name: str | None = flag(None, "folder of a tokenizer that counts the tokens for the datasheet")
    keep_work: bool = flag(False, "keep the folder OUTPUT_DIR.work, so that a later run with other settings is quicker")

    def settings(self, recipe: Recipe) -> CorpusSettings:
        from data_processing.corpus import CorpusSettings
        from data_processing.splits import SplitRule, parse_weights

        rule = SplitRule(
            self.num_train_shards,
            self.validation_split_percentage / 100,
            self.test_split_percentage / 100,
            parse_weights(self.weights or []),
        )
        return CorpusSettings(rule, recipe, self.tokenizer_name)


@dataclass(frozen=True, kw_only=True)
class Corpus(Splitting, Decontaminating, Filtering, Sourcing, Working):
    output_dir: str = required("folder for {train,validation,test}/*.jsonl.zst, manifest.json and datasheet.md")
    dedup: bool = flag(True, "drop exact and near duplicates", "filters")


@dataclass(frozen=True, kw_only=True)
class Gather(Sourcing, Working):
    output_dir: str = required("folder for the shards and their manifests")
    validation_split_percentage: float = flag(5.0, "share of train_file that goes to validation", "sources")


@dataclass(frozen=True, kw_only=True)
class Map(Working):
    """Flags of a stage from shards to shards."""

    input_dir: str = required("folder of shards, that of the stage before")
    output_dir: str = required("folder for the shards and their manifests")


@dataclass(frozen=True, kw_only=True)
class FilterStage(Filtering, Judging, Map):
    pass


@dataclass(frozen=True, kw_only=True)
class DecontaminateStage(Decontaminating, Map):
    pass


@dataclass(frozen=True, kw_only=True)
class Split(Splitting, Working):
    input_dir: str = required("folder of shards, that of the stage before")
    output_dir: str = required("folder for {train,validation,test}/*.jsonl.zst, manifest.json and datasheet.md")


@dataclass(frozen=True, kw_only=True)
class Datasheet(Working):
    data_dir: str = required("folder of a corpus")
    tokenizer_name: str | None = flag(None, "folder of a tokenizer that counts the tokens")


@dataclass(frozen=True, kw_only=True)
class Practice:
    output_dir: str = required("folder for the tasks; a new or empty one")
    num_train: int = flag(20_000, "tasks to learn from")
    num_validation: int = flag(200, "tasks of the same kind to validate on")
    num_test: int = flag(300, "problems to score on; each holds a pair of operations that is in no other split")
    seed: int = flag(0, "seed of the tasks and of the pairs that are held out")

    def __post_init__(self) -> None:
        want_at_least(1, self, "num_train", "num_validation", "num_test")


@dataclass(frozen=True, kw_only=True)
class Tokenize(RowFlags):
    tokenizer_name: str = required("folder of the tokenizer")
    block_size: int = required("tokens a block")
    token_cache_dir: str = required("folder that token files are kept in, one subfolder for each tokenizer and corpus")
    split: str = flag("train", "split to tokenise")
    max_blocks: int | None = flag(None, "stop after this many blocks")
    max_rows: int | None = flag(None, "stop after this many rows")

    def __post_init__(self) -> None:
        want_at_least(1, self, "block_size", "max_blocks", "max_rows", "preprocessing_num_workers")
