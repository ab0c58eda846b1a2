"""Problem files: a benchmark's problems from its public source, pinned by hash, or from any file of that form."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_processing.remote_files import Unreachable, read_chunks
from interface.errors import UserError
from interface.files import open_atomically, resolve

DEFAULT_CACHE = "~/.cache/code_clippy/benchmarks"


class NoProblems(UserError):
    """There is no file of problems, or it cannot be read."""


class BrokenProblems(UserError):
    """A file holds something else than the problems of its benchmark."""


@dataclass(frozen=True)
class Source:
    """A file that its authors publish. `sha256` is of the bytes behind `url`."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class ProblemFile:
    """The rows of a file, and what a result records of where they came from."""

    path: str
    sha256: str
    published: bool  # whether these are the very bytes that the authors publish
    rows: list[dict[str, Any]]

    @property
    def facts(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "published": self.published}


def load_rows(source: Source, place: str | None = None, cache_dir: str | None = None) -> ProblemFile:
    """Read the problems at `place`, a file or a folder that holds it; by default the published ones, fetched once.

    JSON lines or one JSON list, compressed with gzip or not.
    Raises: NoProblems where there is no such file; BrokenProblems where a row is no JSON object.
    """
    path = fetch(source, cache_dir) if place is None else _find(source, resolve(place))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NoProblems(f"{path} cannot be read ({error.strerror}); wanted the problems of {source.name}") from error
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in _lines(text)]
    except (ValueError, EOFError, OSError) as error:  # no UTF-8, no JSON, a broken archive
        raise BrokenProblems(f"{path} cannot be parsed ({error}); wanted JSON lines as in {source.url}") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise BrokenProblems(f"row {number} of {path} is no JSON object; wanted a problem as in {source.url}")
    if not rows:
        raise BrokenProblems(f"{path} is empty; wanted problems as in {source.url}")
    return ProblemFile(str(path), digest, digest == source.sha256, rows)


def fetch(source: Source, cache_dir: str | None = None, sleep: Callable[[float], None] = time.sleep) -> Path:
    """The published file in the cache, fetched where it is not there yet.

    Raises: NoProblems without a network; BrokenProblems where the bytes are not those that were published.
    """
    path = resolve(cache_dir or DEFAULT_CACHE) / f"{source.sha256[:16]}-{source.name}"
    if path.is_file():
        return path
    digest = hashlib.sha256()
    try:
        with open_atomically(path) as file:
            for chunk in read_chunks(source.url, sleep=sleep):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != source.sha256:
                raise BrokenProblems(
                    f"{source.url} has sha256 {digest.hexdigest()}; wanted {source.sha256}, as published. "
                    "Give a file that you trust with --problems"
                )
    except Unreachable as error:
        raise NoProblems(
            f"{source.name} is not in {path.parent} and cannot be fetched ({error}); "
            "fetch it yourself and give it with --problems"
        ) from error
    return path


def text_of(row: dict[str, Any], number: int, *names: str) -> list[str]:
    """The values of a row that have to be text.  Raises: BrokenProblems."""
    for name in names:
        if not isinstance(row.get(name), str):
            raise BrokenProblems(f"row {number} has no text {name!r} (found: {', '.join(sorted(row))[:200]})")
    return [row[name] for name in names]


def by_id(file: ProblemFile, *fields: str) -> dict[str, dict[str, Any]]:
    """Rows by the first of the fields, each of which has to be a text.  Raises: BrokenProblems."""
    found = {}
    for number, row in enumerate(file.rows, start=1):
        name = text_of(row, number, *fields)[0]
        if name in found:
            raise BrokenProblems(f"{file.path} has two problems called {name}; wanted one of each {fields[0]}")
        found[name] = row
    return found


def _find(source: Source, path: Path) -> Path:
    if path.is_file():
        return path
    stem = source.name.split(".")[0]
    found = [file for file in sorted(path.glob(f"{stem}.json*")) if file.is_file()] if path.is_dir() else []
    if not found:
        raise NoProblems(
            f"no problems at {path}; wanted a file such as {source.name} or a folder that holds it. "
            "Without --problems the published file is fetched"
        )
    return found[0]


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]
