"""Code Clippy data: `*.jsonl.zst` shards of `{"text", "meta"}` rows as a `datasets` builder.

Three ways to use it: by its path in --dataset_name of the training commands, through `datasets`
(`CodeClippy(data_dir=...).as_streaming_dataset(split="train")`), and imported. `load_dataset("code_clippy.py")` is
refused by datasets since 4.0.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from data_processing.shards import read_rows, shards_of

META = {"repo_name": "string", "stars": "string", "repo_language": "string", "file_name": "string",
        "mime_type": "string", "license": "string"}  # fmt: skip


class CodeClippy(datasets.GeneratorBasedBuilder):
    """One example a row; each split is one folder, each shard one unit of parallel reading."""

    VERSION = datasets.Version("1.0.0")
    # what becomes of a bad row: (shard, line number, reason, line); token files record it, else it is printed
    on_reject: Callable[[str, int, str, bytes], None] = staticmethod(
        lambda shard, number, reason, line: print(f"rejected: {shard} line {number}: {reason}", file=sys.stderr)
    )

    def _info(self) -> Any:
        columns = {"id": "string", "text": "string", **META}
        features = datasets.Features({name: datasets.Value(kind) for name, kind in columns.items()})
        return datasets.DatasetInfo(description=__doc__, features=features)

    def _split_generators(self, dl_manager: Any) -> list[Any]:
        folder = Path(self.config.data_dir or ".").expanduser()
        shards_of(folder, "train")  # says what is missing, where datasets would name no split
        names = {"train": datasets.Split.TRAIN, "validation": datasets.Split.VALIDATION, "test": datasets.Split.TEST}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"shards": [str(p) for p in shards_of(folder, name)]})
            for name, split in names.items()
            if (folder / name).is_dir()
        ]

    def _generate_examples(self, shards: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for shard in shards:
            for number, row in enumerate(read_rows(Path(shard), partial(type(self).on_reject, shard))):
                meta = row.get("meta") or {}
                known = {name: None if meta.get(name) is None else str(meta[name]) for name in META}
                key = f"{Path(shard).name}:{number}"  # unique over shards, where a running count would restart
                yield key, {"id": key, "text": row["text"], **known}
