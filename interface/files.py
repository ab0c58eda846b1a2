"""Atomic files: what has its final name is whole, whenever the process dies."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from interface.errors import OutputNotEmpty

WRITTEN = "written.json"  # the names in an output directory that this toolkit made, so that it touches no others


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; flush it to disk and rename it when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, UTF-8."""
    with open_atomically(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder to disk, then the folders themselves."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            handle = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))


def remove_tree(folder: Path) -> None:
    """Delete a folder so that a kill in the middle never leaves half of it under its own name."""
    doomed = folder.with_name(f".{folder.name}.deleted")
    if doomed.exists():
        shutil.rmtree(doomed)
    if folder.exists():
        folder.rename(doomed)
        shutil.rmtree(doomed)


def written(output_dir: Path) -> list[str]:
    """Names directly inside `output_dir` that this toolkit made, as recorded there."""
    record = Path(output_dir) / WRITTEN
    return json.loads(record.read_text()) if record.is_file() else []


def claim(output_dir: Path, *names: str) -> None:
    """Record names that are about to be made directly inside `output_dir`."""
    before = written(output_dir)
    after = sorted({*before, *names})
    if after != before:
        write_json(Path(output_dir) / WRITTEN, after)


def prepare_output(output_dir: Path, *, overwrite: bool) -> Path | None:
    """Make `output_dir` ready for a new run; an earlier run's files move to `previous-N/`, and nothing is deleted.

    Only what `claim` recorded is moved. Returns the folder that they moved to, if any.
    Raises: OutputNotEmpty where something lies there and `overwrite` is false.
    """
    output_dir = Path(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise OutputNotEmpty(f"{output_dir} is a file; --output_dir wants a folder to write into")
    found = sorted(p.name for p in output_dir.iterdir()) if output_dir.is_dir() else []
    kept = [name for name in found if not name.startswith("previous-")]
    if kept and not overwrite:
        names = ", ".join(kept[:4]) + (", ..." if len(kept) > 4 else "")
        raise OutputNotEmpty(
            f"{output_dir} already holds {len(kept)} entries ({names}); wanted an empty folder. Give another "
            "--output_dir, go on from its checkpoint with --resume_from_checkpoint auto, or pass "
            "--overwrite_output_dir to move the earlier run aside"
        )
    output_dir.mkdir(parents=True, exist_ok=True)
    ours = [name for name in written(output_dir) if (output_dir / name).exists()]
    if not ours:
        return None
    number = 1 + max([int(n.split("-")[1]) for n in found if n.startswith("previous-") and n[9:].isdigit()], default=0)
    aside = output_dir / f"previous-{number}"
    aside.mkdir()
    for name in [*ours, WRITTEN]:
        (output_dir / name).rename(aside / name)
    return aside
