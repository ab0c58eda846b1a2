"""Function set: the standalone, tested functions of a corpus (Codex-S), and what became of all the others.

OUT/decisions/SPLIT/SHARD.jsonl      grows by a line a function, in their order; a killed command goes on after the last
OUT/{train,validation,test}/*        the kept ones of each shard of the corpus, as rows of prompt and solution
OUT/problems.jsonl                   those of the test split, a file of problems in HumanEval's form
OUT/yield.json                       how many were found, dropped for which reason, kept

Source: Evaluating Large Language Models Trained on Code, arXiv:2107.03374, section 4.
"""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from data_processing.document import Dropped
from data_processing.literal_calls import literal_calls
from data_processing.shard_writer import HashedFile, ShardWriter
from data_processing.shards import SUFFIX, Place, Rejected, Row, list_shards, read_from
from data_processing.splits import SPLITS, EmptySplit
from data_processing.standalone import lines_of, parse, pick
from evaluation.function_tests import Demands, Subject, decide
from evaluation.sandbox import Sandbox, SandboxError
from evaluation.score import CannotJudge
from interface.errors import UserError
from interface.files import append, open_atomically, remains, write_json
from interface.progress import Steps, duration, say

DECISIONS, PROBLEMS, YIELD = "decisions", "problems.jsonl", "yield.json"
ORDER = ("test", "validation", "train")  # of two equal functions the first is kept: held-out ones stay whole
BATCH = 64  # functions that are tested together
REPEATED, OTHER_LANGUAGE, NO_ROW = "seen before", "another language", "no row"

Item = Subject | dict[str, Any]  # to be tested, or a line that says what syntax decided


class OtherFunctions(UserError):
    """The folder holds decisions that were reached another way."""


class NothingKept(UserError):
    """No function of the train split was kept."""


def build_isolated(data_dir: Path, output_dir: Path, demands: Demands, workers: int | None) -> dict[str, Any]:
    """`build` in sandboxes of its own.  Raises: as `build`; CannotJudge."""
    try:
        with Sandbox(workers, hash_seed=1) as first, Sandbox(workers, hash_seed=2) as second:
            return build(data_dir, output_dir, demands, first, second)
    except SandboxError as error:
        raise CannotJudge(str(error)) from error


def build(data_dir: Path, output_dir: Path, demands: Demands, first: Sandbox, second: Sandbox) -> dict[str, Any]:
    """Decide on every function of a corpus and write the kept ones; returns the yield. The caller holds the lock.

    Raises: MissingData, EmptySplit, OtherFunctions, NothingKept.
    """
    shards = []
    for split in ORDER:
        try:
            shards += [(split, Path(shard.url), shard.facts) for shard in list_shards(data_dir, split)]
        except EmptySplit:
            if split == "train":
                raise
    for path in (
        path for folder in (output_dir, *(output_dir / split for split in SPLITS)) for path in remains(folder)
    ):
        path.unlink()
    steps = Steps(sum(1 for _, path, _ in shards for _ in read_from(path, Place())), label="documents", unit="file")
    seen: set[str] = set()
    counts = {split: Counter[str]() for split in ORDER}
    started, decided = time.monotonic(), 0
    try:
        for split, path, facts in shards:
            decisions = output_dir / DECISIONS / split / path.name.replace(SUFFIX, ".jsonl")
            how = {"shard": facts, "demands": asdict(demands), "python": platform.python_version()}
            decided += decide_shard(path, split, decisions, how, seen, demands, first, second, steps)
            counts[split] += write_shard(decisions, output_dir / split / path.name, seen)
            total = counts[split]
            say(f"{split}/{path.name}: {total['kept']:,} kept of {total['functions']:,} functions so far")
    finally:
        steps.close()
    seconds = time.monotonic() - started
    say(f"{decided:,} functions decided on in {duration(seconds)}, {decided / seconds:.1f} a second")
    with open_atomically(output_dir / PROBLEMS) as file:
        for row in rows_of(output_dir, "test"):
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    found = {"splits": {split: _spelt(counts[split]) for split in SPLITS}, "demands": asdict(demands)}
    write_json(output_dir / YIELD, found)
    if not counts["train"]["kept"]:
        raise NothingKept(
            f"of {counts['train']['functions']} functions in the train split of {data_dir} none was kept; "
            f"{output_dir / YIELD} says why. Give a corpus of Python files with documented functions"
        )
    return found


def decide_shard(
    path: Path, split: str, decisions: Path, how: dict[str, Any], seen: set[str], demands: Demands,
    first: Sandbox, second: Sandbox, steps: Steps,
) -> int:  # fmt: skip
    """Bring a shard's decisions to their end; how many functions this run decided on.  Raises: OtherFunctions."""
    file, known = _open(decisions, how)
    steps.advance(known.documents)
    num_decided = 0
    with file:
        if known.whole:
            return 0
        items = islice(_items(path, split, set(seen)), known.lines, None)
        for batch, subjects in _batches(items):
            made = iter(decide(subjects, first, second, demands))
            lines = [_line(item, next(made)) if isinstance(item, Subject) else item for item in batch]
            append(file, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
            num_decided += sum("function" in line for line in lines)
            steps.advance(sum("document" in line for line in lines))
        append(file, b'{"end":true}\n')
    return num_decided


def write_shard(decisions: Path, shard: Path, seen: set[str]) -> Counter[str]:
    """Write the kept functions of a shard, if any, note all that were looked at in `seen`, and count."""
    counts: Counter[str] = Counter()
    rows = []
    with decisions.open("rb") as file:
        next(file)
        for line in map(orjson.loads, file):
            if "code" in line:
                seen.add(line["code"])
            counts["functions"] += "function" in line
            counts["documents"] += "document" in line
            if "dropped" in line:
                counts[f"{'function' if 'function' in line else 'document'}: {line['dropped']}"] += 1
            if "row" in line:
                row = line["row"]
                counts["kept"] += 1
                counts.update(f"pairs {example['source']}" for example in row["examples"])
                counts.update({f"mutants {name}": number for name, number in row["mutants"].items()})
                rows.append(row)
    if rows:
        with open_atomically(shard) as out:
            writer = ShardWriter(HashedFile(out))
            for row in rows:
                writer.write(orjson.dumps(row))
            writer.end_frame()
    return counts


def rows_of(output_dir: Path, split: str) -> Iterator[Row]:
    """The kept functions of a split."""
    for path in sorted((output_dir / split).glob(f"*{SUFFIX}")):
        for row, _ in read_from(path, Place()):
            assert not isinstance(row, Rejected)  # our own
            yield row


def _items(path: Path, split: str, seen: set[str]) -> Iterator[Item]:
    """All that a shard has to decide on, in order: what syntax decides as lines, the rest as subjects."""
    for row, after in read_from(path, Place(), "text"):
        name = f"{split}/{path.name.replace(SUFFIX, '')}/{after.record}"
        if isinstance(row, Rejected):
            yield {"document": name, "dropped": NO_ROW}
            continue
        meta = row.get("meta") or {}
        if not _is_python(meta):
            yield {"document": name, "dropped": OTHER_LANGUAGE}
            continue
        text = lines_of(row["text"])
        module = parse(text)
        if isinstance(module, Dropped):
            yield {"document": name, "dropped": module.reason}
            continue
        yield {"document": name}
        shown = None
        for function, found in pick(text, module):
            task_id = f"{name}/{function}"
            if isinstance(found, Dropped):
                yield {"function": task_id, "dropped": found.reason, **found.details}
            elif found.code in seen:
                yield {"function": task_id, "dropped": REPEATED}
            else:
                seen.add(found.code)
                shown = shown or literal_calls(module)
                yield Subject(task_id, found, shown, meta)


def _batches(items: Iterable[Item]) -> Iterator[tuple[list[Item], list[Subject]]]:
    """Items in their order, as many as there are to BATCH subjects, and these."""
    batch: list[Item] = []
    subjects: list[Subject] = []
    for item in items:
        batch.append(item)
        if isinstance(item, Subject):
            subjects.append(item)
        if len(subjects) == BATCH or len(batch) == 100 * BATCH:
            yield batch, subjects
            batch, subjects = [], []
    yield batch, subjects


def _line(subject: Subject, decision: dict[str, Any]) -> dict[str, Any]:
    return {"function": subject.task_id, "code": subject.candidate.code, **decision}


def _is_python(meta: dict[str, Any]) -> bool:
    language, file_name = meta.get("repo_language"), meta.get("file_name")
    if isinstance(file_name, str) and "." in file_name:
        return file_name.endswith(".py")
    return language is None or str(language).lower() == "python"


class Known(NamedTuple):
    """What an earlier run left of a shard's decisions."""

    lines: int
    documents: int
    whole: bool  # whether that is all of them


def _open(path: Path, how: dict[str, Any]) -> tuple[IO[bytes], Known]:
    """Open a shard's decisions to append to, cut after the last line that is whole.  Raises: OtherFunctions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    num_bytes = 0
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                try:
                    lines.append(dict(orjson.loads(line)))
                except (ValueError, TypeError):  # a kill, a full disk, a power cut: from here on it is done again
                    break
                num_bytes += len(line)
    if lines and lines[0] != {"how": how}:
        raise OtherFunctions(
            f"{path} holds decisions on another shard, or made with other flags ({json.dumps(lines[0])[:300]}); "
            f"wanted {json.dumps(how)}. Give another --output_dir"
        )
    opened = path.open("ab", buffering=0)
    opened.truncate(num_bytes)
    if not lines:
        append(opened, orjson.dumps({"how": how}, option=orjson.OPT_APPEND_NEWLINE))
    documents = sum("document" in line for line in lines)
    return opened, Known(max(len(lines) - 1, 0), documents, bool(lines) and "end" in lines[-1])


def _spelt(counts: Counter[str]) -> dict[str, Any]:
    """A split's counts as people read them, the commonest reasons first."""

    def of(prefix: str) -> dict[str, int]:
        return {key.removeprefix(prefix): number for key, number in counts.most_common() if key.startswith(prefix)}

    return {
        "documents": counts["documents"], "documents_dropped": of("document: "),
        "functions": counts["functions"], "kept": counts["kept"], "dropped": of("function: "),
        "pairs": of("pairs "), "mutants": of("mutants "),
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The yield over all splits, a reason a line."""
    splits = found["splits"].values()
    total = sum(split["functions"] for split in splits)
    dropped: Counter[str] = Counter()
    for split in splits:
        dropped.update(split["dropped"])
    rows = [("functions", total), *dropped.most_common(), ("kept", sum(split["kept"] for split in splits))]
    return "\n".join(f"  {name:48} {number:8,} {number / max(total, 1):7.1%}" for name, number in rows)
