"""Row source: where a split's rows come from, as --dataset_name, --data_dir and the like say it.

Corpus shards (code_clippy.py, or no script), APPS (apps.py) and pairs (pairs.py) are read directly, under whatever path
the script is named; other dataset scripts run their builder; anything else, on the Hub or in a folder or in single
files, goes through `datasets.load_dataset` as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

from data_processing.apps_examples import AppsRows
from data_processing.dataset_script import DEFAULT, open_builder, script_path
from data_processing.interleave import Rows
from data_processing.languages import LanguageFilter
from data_processing.pair_rows import KINDS, PairRows, pair_shards
from data_processing.remote_files import is_remote
from data_processing.row_flags import RowFlags
from data_processing.shards import SUFFIX, MissingData, Place, Rejected, Row, Shard, list_shards, read_from
from data_processing.splits import position
from data_processing.unit import file_hash
from interface.errors import UserError

# what `datasets` calls the readers of single files; a text file is one document, not one a line
FILE_KINDS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".txt": "text", ".parquet": "parquet"}

APPS, PAIRS = DEFAULT.with_name("apps.py"), DEFAULT.with_name("pairs.py")
CONFIGURATIONS = {APPS: ("formatted",), PAIRS: KINDS}  # those that hold prompts and answers; the first is the default


class BadSource(UserError):
    """Flags name no rows, or too many."""


@dataclass(frozen=True)
class RowSource:
    """The flags that say which rows there are, checked."""

    dataset_name: str | None = None
    dataset_config_name: str | None = None
    data_dir: str | None = None
    train_file: str | None = None
    validation_file: str | None = None
    validation_split_percentage: int = 5
    languages: str | None = None
    text_column_name: str = "text"

    @classmethod
    def of(cls, command: RowFlags) -> RowSource:
        """The source that a command's flags name."""
        return cls(**{field.name: getattr(command, field.name) for field in fields(cls)})

    def __post_init__(self) -> None:
        if (self.train_file or self.validation_file) and (self.dataset_name or self.data_dir):
            raise BadSource(
                "--train_file and --validation_file are rows of their own; give no --dataset_name or --data_dir"
            )
        if self.validation_file and not self.train_file:
            raise BadSource("--validation_file comes with --train_file; give both, or a --dataset_name")
        if not 0 < self.validation_split_percentage < 100:
            raise BadSource(f"--validation_split_percentage is {self.validation_split_percentage}; wanted 1 to 99")
        self.language_filter  # noqa: B018 (refuses unknown names)

    @property
    def is_pairs(self) -> bool:
        """Whether the rows are prompts and answers, and not texts."""
        return self._built_in in CONFIGURATIONS

    @cached_property
    def language_filter(self) -> LanguageFilter | None:
        """What keeps the languages that are named; none named: all are kept."""
        return LanguageFilter.of([self.languages]) if self.languages else None

    def check(self, splits: Sequence[str]) -> None:
        """Refuse what could not be read later, as far as a moment shows it.  Raises: MissingData, EmptySplit."""
        if self.is_pairs and self.languages:
            raise BadSource(
                "--languages goes by the names of files, which prompts and answers have none of; leave it away"
            )
        for split in splits:
            if self._file(split):
                path = Path(str(self._file(split))).expanduser()
                if not path.is_file():
                    raise MissingData(f"no file at {path}; --train_file and --validation_file name existing files")
                self._kind(path)
            elif self._is_corpus:
                self._shards(split)
            elif self.is_pairs:
                self._pairs(split)

    def fingerprint(self, split: str) -> dict[str, Any]:
        """What the split's rows depend on, as JSON values."""
        found: dict[str, Any] = {}
        if self.language_filter:
            kept = self.language_filter
            found["languages"] = [*sorted(kept.languages), *sorted(kept.extensions)]
        if self._file(split):
            path = Path(str(self._file(split))).expanduser()
            return found | {"file": _stamp(path)} | self._carving(split)
        if self._is_corpus:
            return found | {"shards": [shard.facts for shard in self._shards(split)]}
        if self.is_pairs:
            return found | self._pairs(split).identity
        found |= {"config": self.dataset_config_name}
        if self._is_script:
            path = script_path(self.dataset_name)
            return found | {"script": file_hash(path), "files": _files_below(self.data_dir)}
        if self._commit is None:
            return found | {"folder": _files_below(self.dataset_name)} | self._carving(split)
        return found | {"dataset": self.dataset_name, "commit": self._commit} | self._carving(split)

    def open(self, split: str) -> Rows:
        """The split's rows.  Raises: MissingData, EmptySplit."""
        file = self._file(split)
        if file and file.endswith((SUFFIX, ".jsonl")):
            path = Path(file).expanduser()
            return ShardRows([Shard(str(path), path.name, path.stat().st_size)], self.text_column_name)
        if not file and self._is_corpus:
            return ShardRows(self._shards(split), self.text_column_name)
        if self.is_pairs:
            return self._pairs(split)
        return StreamRows(self._stream(split))

    def filters(self, split: str) -> list[Any]:
        """What leaves rows out: functions of a row to a reason or None."""
        found: list[Any] = []
        if self._carves:
            share = self.validation_split_percentage / 100
            found.append(partial(_other_side, self.text_column_name, share, split == "validation"))
        if self.language_filter:
            found.append(partial(_other_language, self.language_filter))
        return found

    def _file(self, split: str) -> str | None:
        return (self.validation_file or self.train_file) if split == "validation" else self.train_file

    @cached_property
    def _is_script(self) -> bool:
        name = self.dataset_name
        return bool(name) and str(name).endswith(".py") and self._built_in is None

    @cached_property
    def _built_in(self) -> Path | None:
        """The script of ours that is named, under any path: its rows need no builder."""
        if self.train_file:
            return None
        if self.dataset_name is None:
            return DEFAULT
        if not self.dataset_name.endswith(".py"):
            return None
        script = script_path(self.dataset_name).read_bytes()
        return next((ours for ours in (DEFAULT, APPS, PAIRS) if ours.read_bytes() == script), None)

    @property
    def _is_corpus(self) -> bool:
        return self._built_in == DEFAULT

    @cached_property
    def _carves(self) -> bool:
        """Whether validation rows are a part of the train rows."""
        if self.train_file:
            return not self.validation_file
        if self._built_in or self._is_script:
            return False
        return "validation" not in self._split_names

    @cached_property
    def _split_names(self) -> list[str]:
        import datasets

        try:
            found: list[str] = datasets.get_dataset_split_names(
                self.dataset_name, self.dataset_config_name, revision=self._commit
            )
        except Exception as error:  # no such dataset, no network, no such configuration: many kinds
            raise MissingData(f"{self._missing} ({error})") from error
        return found

    @cached_property
    def _commit(self) -> str | None:
        """Where a dataset on the Hub stands: what is read is what the tokens are named for. None for a folder here."""
        name = str(self.dataset_name)
        return None if Path(name).expanduser().is_dir() else _commit(name)

    @property
    def _missing(self) -> str:
        return (
            f"no dataset {self.dataset_name!r}, neither a folder here nor on the Hub; wanted a .py file with "
            f"a `datasets` builder (such as {DEFAULT.parent.name}/{DEFAULT.name}), a folder or a dataset's name"
        )

    def _carving(self, split: str) -> dict[str, Any]:
        if not self._carves:
            return {}
        return {"validation_split_percentage": self.validation_split_percentage, "side": split}

    def _shards(self, split: str) -> list[Shard]:
        if not self.data_dir:
            raise MissingData("--data_dir is missing; it names the folder that holds train/ and validation/ shards")
        if split not in self._listed:
            self._listed[split] = list_shards(self.data_dir, split)
        return self._listed[split]

    @cached_property
    def _listed(self) -> dict[str, list[Shard]]:
        """Shards by split, listed once: what is read is what the tokens are named for, and a remote listing is slow."""
        return {}

    def _pairs(self, split: str) -> AppsRows | PairRows:
        assert self._built_in is not None
        kinds = CONFIGURATIONS[self._built_in]
        kind = self.dataset_config_name or kinds[0]
        if kind not in kinds:
            raise BadSource(
                f"--dataset_config_name {kind} of {self._built_in.name} holds no prompts and answers; wanted "
                f"{', '.join(kinds)}"
            )
        if self._built_in == APPS:
            return AppsRows(self.data_dir, split)
        if not self.data_dir:
            raise MissingData("--data_dir is missing; it names the folder that holds train/ and validation/ files")
        return PairRows(pair_shards(self.data_dir, split), kind)

    def _kind(self, path: Path) -> str:
        if path.name.endswith(SUFFIX):
            return "shard"
        if path.suffix not in FILE_KINDS:
            raise MissingData(f"{path} is of no kind that is read; wanted {SUFFIX}, {', '.join(FILE_KINDS)}")
        return FILE_KINDS[path.suffix]

    def _stream(self, split: str) -> Any:
        import datasets

        if file := self._file(split):
            path = Path(file).expanduser()
            kind = self._kind(path)
            whole_files = {"sample_by": "document"} if kind == "text" else {}
            return datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True, **whole_files)
        if self._is_script:
            builder = open_builder(str(self.dataset_name), self.data_dir, self.dataset_config_name)
            return builder.as_streaming_dataset(split=split)
        name = "train" if self._carves and split == "validation" else split
        if name not in self._split_names:
            raise MissingData(f"{self.dataset_name} has no split {name!r}; it has {', '.join(self._split_names)}")
        return datasets.load_dataset(
            self.dataset_name, self.dataset_config_name, split=name, streaming=True, revision=self._commit
        )


class ShardRows:
    """Rows of jsonl.zst or jsonl shards, here or behind a URL."""

    def __init__(self, shards: Sequence[Shard], column: str | None) -> None:
        self.names = [shard.name for shard in shards]
        self._shards = shards
        self._column = column

    def read(self, shard: int, place: Place) -> Iterator[tuple[Row | Rejected, Place]]:
        return read_from(self._shards[shard].url, place, *([self._column] if self._column else []))


class StreamRows:
    """Rows of a `datasets` stream; going on at a row reads those before it again."""

    def __init__(self, stream: Any) -> None:
        self.names = [f"{number:05d}" for number in range(stream.num_shards)]
        self._stream = stream

    def read(self, shard: int, place: Place) -> Iterator[tuple[Row | Rejected, Place]]:
        rows = self._stream.shard(num_shards=len(self.names), index=shard)
        for number, row in enumerate(islice(rows, place.record, None), start=place.record + 1):
            yield row, Place(number)


def _other_side(column: str, share: float, validation: bool, row: Row) -> str | None:
    """Carve the validation rows out of the train rows by the text alone, so that copies stay together."""
    if (position(str(row.get(column))) < share) == validation:
        return None
    return "of the other split"


def _other_language(kept: LanguageFilter, row: Row) -> str | None:
    return None if kept.keeps_row(row) else "of another language"


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]


def _files_below(folder: str | None) -> list[list[Any]]:
    """Name and size of every file in a data folder."""
    if not folder or is_remote(folder):
        return [[folder, 0]] if folder else []
    root = Path(folder).expanduser()
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return [[path.relative_to(root).as_posix(), path.stat().st_size] for path in found]


def _commit(name: str) -> str:
    """Where a dataset on the Hub stands.  Raises: MissingData."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(name).sha)
    except Exception as error:
        raise MissingData(
            f"no dataset {name!r} can be found, neither a folder here nor on the Hub ({error})"
        ) from error
