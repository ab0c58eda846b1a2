"""Integrity: what the files of a folder hold when they are written, and whether they still do."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PIECE_BYTES = 1 << 20


def fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    """The size and CRC-32 of every file below a folder, by its path there.

    A checksum of all bytes costs a third of a second a gigabyte; hashes that hold against malice cost four times that.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _fingerprint(path) for path in paths}


def fault_in(folder: Path, recorded: Mapping[str, Mapping[str, Any]], names: Iterable[str] | None = None) -> str | None:
    """What is wrong with the first of a folder's recorded files that is not as it was; `names`: with these alone."""
    wanted = {name: recorded[name] for name in (recorded if names is None else names)}
    for name, record in wanted.items():  # sizes first: they cost nothing, whatever the files hold
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != record["bytes"]:
            return f"{name} has {size:,} bytes of {record['bytes']:,}"
    for name, record in wanted.items():
        try:
            found = _fingerprint(folder / name)
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != record:
            return f"{name} holds other bytes than were written"
    return None


def _fingerprint(path: Path) -> dict[str, Any]:
    size, checksum = 0, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
    return {"bytes": size, "crc32": f"{checksum:08x}"}
