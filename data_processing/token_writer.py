"""Token writer: a split's rows into the windows that its readers want, from wherever the ledger knows them to start."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from data_processing.encoding_pool import Filter, encode_in_order, row_batches
from data_processing.interleave import Interleave, Rows
from data_processing.shards import Rejected
from data_processing.splits import EmptySplit
from data_processing.token_files import TokenFiles, TokenFilesError
from data_processing.token_ledger import Line
from data_processing.token_readers import next_window, window_to_spare, windows_read
from data_processing.tokens import Encoder, MissingColumn, TokenUnit
from interface.files import remains, write_json

POLL_SECONDS = 0.2


def write_token_files(
    files: TokenFiles,
    encoder: Encoder,
    rows: Rows,
    filters: Sequence[Filter] = (),
    *,
    num_workers: int = 1,
    cache_limit: int | None = None,
    pause: Callable[[], None] = lambda: time.sleep(POLL_SECONDS),
) -> bool:
    """Make the windows that are not there, those first that a reader wants first. Says whether all are there.

    With a `cache_limit` in bytes the windows that are wanted last make room for those that are wanted sooner; while all
    are wanted sooner it waits, as long as somebody reads. One process at a time writes; a second one waits for the
    first. Raises: MissingColumn, EmptySplit, TokenFilesError.
    """
    room = None if cache_limit is None else cache_limit // files.identity.window_bytes
    if room is not None and room < 2:
        raise TokenFilesError(
            f"--cache_limit_gb allows {cache_limit} bytes of token files; wanted at least "
            f"{2 * files.identity.window_bytes}: one window that is read and one that is made"
        )
    with files.writing():
        for left in remains(files.folder):
            left.unlink()  # of a writer that was killed
        stream = _Stream(files, encoder, rows, filters, num_workers)
        had_readers = False
        try:
            while True:
                reading = windows_read(files.folder)
                if had_readers and not reading:
                    return files.are_whole()  # those that this was for are gone
                had_readers = bool(reading)
                present = {int(path.stem[7:]) for path in files.folder.glob("window-*.bin")}
                num_windows = files.num_windows()
                wanted = next_window(present, reading or [0], num_windows)
                if wanted is None:
                    return True
                if room is not None and len(present) >= room:
                    spare = window_to_spare(present, wanted, reading or [0], num_windows)
                    if spare is None and not reading:
                        return False
                    if spare is None:
                        pause()
                        continue
                    files.remove_window(spare)
                stream.make(wanted)
        finally:
            stream.close()


class _Made(NamedTuple):
    """A window as it comes out of the stream, and where the next one starts; None after the last."""

    tokens: np.ndarray
    weights: np.ndarray
    after: Line | None


class _Stream:
    """The stream of windows, opened where it is wanted."""

    def __init__(
        self, files: TokenFiles, encoder: Encoder, rows: Rows, filters: Sequence[Filter], num_workers: int
    ) -> None:
        self._files = files
        self._encoder = encoder
        self._rows = rows
        self._filters = filters
        self._num_workers = num_workers
        self._windows: Iterator[_Made] | None = None
        self._at = 0
        self._rejects = _RejectFile(files.folder / "rejected.jsonl")

    def close(self) -> None:
        if self._windows is not None:
            self._windows.close()  # type: ignore[attr-defined]
            self._windows = None

    def make(self, wanted: int) -> None:
        """Write one window; those on the way to it get their lines in the ledger."""
        known = self._files.ledger.nearest(wanted)
        if self._windows is None or not known["window"] <= self._at <= wanted:
            self.close()
            self._windows, self._at = self._read(known), known["window"]
        made = None
        while self._at <= wanted:
            made = next(self._windows, None)
            if made is None:
                return  # the stream ended before it, and the facts say so now
            if self._at == wanted:
                weights = made.weights if self._files.identity.weighted else None
                self._files.write_window(wanted, made.tokens, weights)
            self._at += 1
            if made.after:
                self._note(made.after)

    def _note(self, line: Line) -> None:
        known = self._files.ledger.line(line["window"])
        if known is None:
            self._files.ledger.add(line)
        elif known != line:
            raise TokenFilesError(
                f"the corpus has changed since {self._files.folder} was made: window {line['window']} starts elsewhere "
                "now. Give --overwrite_cache to tokenise it again"
            )

    def _read(self, line: Line) -> Iterator[_Made]:
        """The windows from a line of the ledger on; at the end the facts are written."""
        identity = self._files.identity
        window = line["window"]
        limit = None
        if identity.max_blocks is not None:
            limit = identity.max_blocks * identity.block_size + 1 - window * identity.window_tokens
        counts: Counter[str] = Counter(line["counts"])
        pending = _Pending(identity.window_tokens, window)
        units_to_skip, tokens_to_skip = line["unit"], line["token"]
        stream = Interleave(self._rows, line["state"])
        taken = 0  # tokens since the line
        left = None if identity.max_rows is None else identity.max_rows - counts["rows"]
        batches = row_batches(stream, self._encoder.group_rows, self._filters, left)
        encoded = encode_in_order(self._encoder, batches, self._num_workers)
        for batch, units in encoded:
            self._rejects.add(counts["rejected"], batch.rejected)
            if batch.rejected and not batch.rows and not counts.total():
                raise MissingColumn.of(batch.rejected)
            before = dict(sorted(counts.items()))
            counts["rejected"] += len(batch.rejected)
            counts["rows"] += len(batch.rows)
            counts.update({f"dropped.{reason}": count for reason, count in batch.dropped.items()})
            for number, unit in enumerate(units):
                counts["documents"] += unit.rows - sum(unit.dropped.values())
                counts["bytes"] += unit.bytes
                counts.update({f"dropped.{reason}": count for reason, count in unit.dropped.items()})
                if units_to_skip:
                    units_to_skip -= 1
                    continue
                start = {"state": batch.state, "unit": number, "counts": before}
                pending.add(unit, start, tokens_to_skip)
                taken += len(unit.tokens) - tokens_to_skip
                tokens_to_skip = 0
                if limit is not None and taken >= limit:
                    break
                while pending.waiting > identity.window_tokens:
                    yield pending.take()
            if limit is not None and taken >= limit:
                break
        encoded.close()  # type: ignore[attr-defined]
        if limit is not None and taken > limit:
            pending.cut(taken - limit)
        total = window * identity.window_tokens + min(taken, limit or taken)
        blocks = -(-max(total - 1, 0) // identity.block_size)
        if blocks == 0:
            raise EmptySplit(
                f"the {identity.split} split has {counts['documents']} documents and {total} tokens; wanted at least "
                f"one block{_reasons(counts)}"
            )
        while pending.waiting > identity.window_tokens + 1:
            yield pending.take()
        self._finish(counts, total, blocks)
        if pending.waiting > 1:
            yield pending.take()

    def _finish(self, counts: Counter[str], total: int, blocks: int) -> None:
        facts = {
            "documents": counts["documents"], "tokens": total, "bytes": counts["bytes"], "blocks": blocks,
            "rejected": counts["rejected"],
            "dropped": {name[8:]: count for name, count in sorted(counts.items()) if name.startswith("dropped.")},
        }  # fmt: skip
        known = self._files.facts()
        if known is None:
            write_json(self._files.folder / "complete.json", facts)
        elif known != facts:
            raise TokenFilesError(
                f"the corpus has changed since {self._files.folder} was made: {known} then, {facts} now. "
                "Give --overwrite_cache to tokenise it again"
            )


def _reasons(counts: Counter[str]) -> str:
    found = {
        name.removeprefix("dropped."): counts[name]
        for name in sorted(counts)
        if name not in ("documents", "bytes", "rows")
    }
    listed = ", ".join(f"{count} {name}" for name, count in found.items() if count)
    return f"; left out: {listed}" if listed else ""


class _Pending:
    """Tokens of units that are not in a window yet."""

    def __init__(self, window_tokens: int, window: int) -> None:
        self.waiting = 0
        self._window_tokens = window_tokens
        self._window = window
        # tokens, weights, the ledger's words for the unit, tokens of the unit before these
        self._parts: deque[tuple[np.ndarray, np.ndarray, dict[str, Any], int]] = deque()

    def add(self, unit: TokenUnit, start: dict[str, Any], skip: int) -> None:
        """Take a unit's tokens after the first `skip`."""
        weights = np.ones(len(unit.tokens), bool) if unit.weights is None else unit.weights
        if skip < len(unit.tokens):
            self._parts.append((unit.tokens[skip:], weights[skip:], start, skip))
            self.waiting += len(unit.tokens) - skip

    def cut(self, count: int) -> None:
        """Forget the last `count` tokens."""
        self.waiting -= count
        while count:
            tokens, weights, start, before = self._parts.pop()
            kept = max(len(tokens) - count, 0)
            count -= len(tokens) - kept
            if kept:
                self._parts.append((tokens[:kept], weights[:kept], start, before))

    def take(self) -> _Made:
        """The next window, and where the one after it starts if anything is left for it."""
        size = min(self.waiting, self._window_tokens + 1)
        tokens, weights, left = [], [], size
        while left:
            part = self._parts.popleft()
            taken = min(left, len(part[0]))
            tokens.append(part[0][:taken])
            weights.append(part[1][:taken])
            left -= taken
            rest = (part[0][taken:], part[1][taken:], part[2], part[3] + taken)
        self._window += 1
        made = np.concatenate(tokens), np.concatenate(weights)
        if size <= self._window_tokens:
            self.waiting = 0
            return _Made(*made, None)
        # the last token is the next window's first as well
        self._parts.appendleft((part[0][taken - 1 :], part[1][taken - 1 :], part[2], part[3] + taken - 1))
        self.waiting -= self._window_tokens
        start = {"unit": rest[2]["unit"], "token": rest[3] - 1}
        return _Made(*made, {"window": self._window, "state": rest[2]["state"], **start, "counts": rest[2]["counts"]})


class _RejectFile:
    """Bad rows in the order of the stream, each once, however often it is read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        whole = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
        self._count = whole.count(b"\n") + bool(whole)
        if path.is_file():
            os.truncate(path, len(whole) + bool(whole))

    def add(self, first: int, rejected: list[Rejected]) -> None:
        """Append those from number `first` on that are not there yet."""
        new = rejected[max(self._count - first, 0) :]
        if not new:
            return
        with self._path.open("ab") as file:
            for row in new:
                text = row.start.decode("utf-8", "replace")
                entry = {"shard": row.shard, "line": row.line, "reason": row.reason, "text": text}
                file.write(orjson.dumps(entry) + b"\n")
        self._count = first + len(rejected)
