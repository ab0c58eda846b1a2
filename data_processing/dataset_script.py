"""Dataset script: the builder behind --dataset_name, found by the path of its file.

`datasets` refuses loading scripts since 4.0. The builder class inside one still works when it is imported, so that
is what happens here: import the module, take its builder, stream its split.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_processing.shards import SUFFIX, MissingData, shards_of
from interface.errors import UserError

DEFAULT = Path(__file__).with_name("code_clippy.py")


class MissingColumn(UserError):
    """The rows have no column of the name that was asked for."""


def script_path(dataset_name: str | None) -> Path:
    """The file that --dataset_name names.  Raises: MissingData."""
    path = Path(dataset_name).expanduser() if dataset_name else DEFAULT
    if not path.is_file():
        raise MissingData(
            f"no dataset script at {dataset_name}; wanted the path of a .py file with a `datasets` builder, "
            f"such as {DEFAULT.parent.name}/{DEFAULT.name}"
        )
    return path


def check(dataset_name: str | None, data_dir: str | None, splits: list[str]) -> None:
    """Refuse, in an instant and without importing `datasets`, what could not be read later."""
    if script_path(dataset_name).name == DEFAULT.name:
        if not data_dir:
            raise MissingData("--data_dir is missing; it names the folder that holds train/ and validation/ shards")
        for split in splits:
            shards_of(Path(data_dir), split)


def fingerprint(dataset_name: str | None, data_dir: str | None) -> dict[str, Any]:
    """What a split's rows depend on: the script's hash, and the name and size of every file in the data folder."""
    folder = Path(data_dir).expanduser() if data_dir else None
    files = sorted(folder.rglob(f"*{SUFFIX}")) if folder else []
    return {
        "script": hashlib.sha256(script_path(dataset_name).read_bytes()).hexdigest(),
        "shards": [[p.relative_to(folder).as_posix(), p.stat().st_size] for p in files] if folder else [],
    }


def open_split(
    dataset_name: str | None,
    data_dir: str | None,
    split: str,
    on_reject: Callable[[str, int, str, bytes], None] | None = None,
) -> list[Iterator[dict[str, Any]]]:
    """Open a split as one iterator of rows a shard.  Raises: MissingData, EmptySplit."""
    import datasets

    path = script_path(dataset_name)
    builders: list[Any] = [
        found
        for _, found in inspect.getmembers(_import(path), inspect.isclass)
        if issubclass(found, datasets.GeneratorBasedBuilder) and found is not datasets.GeneratorBasedBuilder
    ]
    if not builders:
        raise MissingData(f"{path} defines no datasets.GeneratorBasedBuilder; wanted one class of that kind")
    if on_reject is not None and hasattr(builders[0], "on_reject"):
        builders[0].on_reject = staticmethod(on_reject)
    stream = builders[0](data_dir=data_dir).as_streaming_dataset(split=split)
    return [iter(stream.shard(num_shards=stream.num_shards, index=i)) for i in range(stream.num_shards)]


def _import(path: Path) -> Any:
    name = f"dataset_script_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MissingData(f"{path} is no Python file that can be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
