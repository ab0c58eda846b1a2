"""Atomic files: what has its final name is whole, whenever the process dies."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from interface.errors import OutputNotEmpty

WRITTEN = "written.json"  # the names in an output directory that this toolkit made, so that it touches no others


def resolve(name: str | Path) -> Path:
    """Spell what a user named as an absolute path, ~ and links followed; a loop of links stays what it is.

    Path's own expanduser and resolve raise a RuntimeError for a ~user who is not there and for a loop.
    """
    return Path(os.path.realpath(os.path.expanduser(name)))  # noqa: PTH111


@contextmanager
def open_unflushed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; rename it when the block ends well.

    A power cut may still empty it: for files whose hash is checked before they are used. A flush takes milliseconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under a temporary name; flush it to disk and rename it when the block ends well."""
    with open_unflushed(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def append(file: IO[bytes], data: bytes) -> None:
    """Write all of some bytes to an unbuffered file: its own `write` may leave off in the middle where a disk is full,
    and says so by a number only.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


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
    record = output_dir / WRITTEN
    return json.loads(record.read_text()) if record.is_file() else []


def claim(output_dir: Path, *names: str) -> None:
    """Record names that are about to be made directly inside `output_dir`.

    Raises: OutputNotEmpty where one of them is there already and is not ours to overwrite.
    """
    before = written(output_dir)
    foreign = [name for name in names if name not in before and (output_dir / name).exists()]
    if foreign:
        raise OutputNotEmpty(
            f"{output_dir} holds {foreign[0]}, which this toolkit did not write and would overwrite; "
            "give another --output_dir, or move that file away"
        )
    after = sorted({*before, *names})
    if after != before:
        write_json(output_dir / WRITTEN, after)


def lock(folder: Path) -> int:
    """Keep other runs out of a folder for as long as the returned handle is open; the kernel lets go when we die.

    The folder itself is locked, so that nothing is left in it.  Raises: OutputNotEmpty where another run is at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise OutputNotEmpty(f"another run is writing to {folder}; wait for it, or give another folder") from error
    except OSError:
        pass  # a file system without locks: nobody can be kept out
    return handle


def remains(folder: Path) -> list[Path]:
    """What a killed process left of files and folders that never got, or already lost, their names."""
    return [path for path in folder.glob(".*") if path.suffix in (".partial", ".deleted")]


def check_output(output_dir: Path, *names: str, overwrite: bool) -> list[str]:
    """The names of an earlier run's files (what `claim` recorded) in a folder that a new run may make `names` in.

    Raises: OutputNotEmpty where something lies there and `overwrite` is false, or has one of the names and is not ours.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise OutputNotEmpty(f"{output_dir} is a file; --output_dir wants a folder to write into")
    found = {path.name for path in output_dir.iterdir()} if output_dir.is_dir() else set()
    found -= {path.name for path in remains(output_dir)}
    kept = sorted(name for name in found if not name.startswith("previous-"))
    if kept and not overwrite:
        listed = ", ".join(kept[:4]) + (", ..." if len(kept) > 4 else "")
        raise OutputNotEmpty(
            f"{output_dir} already holds {len(kept)} entries ({listed}); wanted an empty folder. Give another "
            "--output_dir, or pass --overwrite_output_dir to move what this toolkit wrote there aside"
        )
    ours = [name for name in written(output_dir) if name in found]
    foreign = sorted(set(names) & set(kept) - set(ours))
    if foreign:
        raise OutputNotEmpty(
            f"{output_dir} holds {foreign[0]}, which this toolkit did not write and would overwrite; "
            "give another --output_dir, or move that file away"
        )
    return ours


def prepare_output(output_dir: Path, *names: str, overwrite: bool) -> Path | None:
    """Make `output_dir` ready for a new run that will make `names` in it; nothing of anybody is deleted.

    An earlier run's files, and no others, move to `previous-N/`, which is returned if so.
    Raises: OutputNotEmpty as `check_output`.
    """
    ours = check_output(output_dir, *names, overwrite=overwrite)
    output_dir.mkdir(parents=True, exist_ok=True)
    aside = move_aside(output_dir, *ours, WRITTEN) if ours else None
    claim(output_dir, *names)
    return aside


def move_aside(output_dir: Path, *names: str) -> Path:
    """Move what lies directly inside `output_dir` to its next `previous-N/`, which is returned."""
    numbers = [int(path.name[9:]) for path in output_dir.glob("previous-*") if path.name[9:].isdigit()]
    aside = output_dir / f"previous-{1 + max(numbers, default=0)}"
    aside.mkdir()
    for name in names:
        (output_dir / name).rename(aside / name)
    return aside
