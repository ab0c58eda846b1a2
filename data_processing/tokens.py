"""Tokenising: a split's documents into token files, from where an earlier run stopped."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_processing.dataset_script import MissingColumn, fingerprint
from data_processing.splits import EmptySplit
from data_processing.token_files import WINDOW_TOKENS, Identity, TokenFiles
from interface.files import open_atomically, write_json
from tokenizer_patch.tokenizer import Tokenizer

BATCH_CHARACTERS = 1 << 20  # encode about this much text at a time: enough to keep all cores busy


def plan_token_files(
    *,
    tokenizer: Tokenizer,
    dataset_name: str | None,
    data_dir: str | None,
    split: str,
    text_column: str,
    block_size: int,
    cache_dir: Path,
    max_blocks: int | None = None,
    window_tokens: int = WINDOW_TOKENS,
) -> TokenFiles:
    """Name the token files of a split; makes nothing.  Raises: TokenFilesError, MissingData."""
    identity = Identity(
        tokenizer=tokenizer.fingerprint,
        eos_token_id=tokenizer.eos_token_id,
        token_bytes=2 if tokenizer.size <= 1 << 16 else 4,
        block_size=block_size,
        window_blocks=max(1, window_tokens // block_size),
        split=split,
        text_column=text_column,
        source=fingerprint(dataset_name, data_dir),
        max_blocks=max_blocks,
    )
    return TokenFiles.at(cache_dir, identity)


def round_robin(shards: list[Iterator[Any]]) -> Iterator[Any]:
    """Take one row of each shard in turn, in an order of shards that is shuffled but always the same."""
    order = sorted(range(len(shards)), key=lambda i: hashlib.blake2b(i.to_bytes(8), digest_size=8).digest())
    live = deque(shards[i] for i in order)
    while live:
        shard = live.popleft()
        for row in shard:
            yield row
            live.append(shard)
            break


def write_token_files(files: TokenFiles, tokenizer: Tokenizer, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Tokenise `rows` into `files`; go on after the windows that are there. Returns the facts of the whole split.

    One process at a time: a second one waits for the first and finds its work done.
    Raises: MissingColumn, EmptySplit.
    """
    files.write_identity()
    with (files.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, whatever becomes of this process
        facts = files.facts()
        if facts is None:
            (files.folder / "rejected.jsonl").unlink(missing_ok=True)  # the rows are read again from their start
            facts = _write(files, tokenizer, rows)
            write_json(files.folder / "complete.json", facts)
    return facts


def _write(files: TokenFiles, tokenizer: Tokenizer, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    identity = files.identity
    window_tokens = identity.block_size * identity.window_blocks
    ledger = _read_ledger(files.folder / "ledger.jsonl")
    while ledger and not all(files.window_path(w).is_file() for w in range(len(ledger) - 1)):
        ledger.pop()
    start = ledger[-1] if ledger else {"document": 0, "token": 0, "bytes": 0}
    window = max(len(ledger) - 1, 0)
    _write_ledger(files.folder / "ledger.jsonl", ledger or [start])

    # pending: (document number, first token's place in it, tokens, bytes of the documents before it)
    pending: deque[tuple[int, int, np.ndarray, int]] = deque()
    waiting = 0
    document, num_bytes = start["document"], start["bytes"]
    limit = None if identity.max_blocks is None else identity.max_blocks * identity.block_size + 1
    full = False
    for ids, size in _encoded(rows, tokenizer, identity.text_column, skip=start["document"]):
        array = np.array([*ids, tokenizer.eos_token_id], identity.dtype)
        first = start["token"] if document == start["document"] else 0
        pending.append((document, first, array[first:], num_bytes))
        waiting += len(array) - first
        document += 1
        num_bytes += size
        full = limit is not None and window * window_tokens + waiting >= limit
        while waiting > window_tokens and not full:
            _write_window(files, window, pending, window_tokens + 1)
            waiting -= window_tokens
            _drop_front(pending, window_tokens)
            window += 1
            at, token, _, before = pending[0]
            ledger_line = {"document": at, "token": token, "bytes": before}
            with (files.folder / "ledger.jsonl").open("a") as file:
                file.write(json.dumps(ledger_line) + "\n")
        if full:
            break
    tail = waiting if limit is None else min(waiting, limit - window * window_tokens)
    total = window * window_tokens + tail
    blocks = -(-max(total - 1, 0) // identity.block_size)
    if blocks == 0:
        raise EmptySplit(
            f"the {identity.split} split has {document} documents and {total} tokens; wanted at least one block"
        )
    while tail > window_tokens:
        _write_window(files, window, pending, window_tokens + 1)
        _drop_front(pending, window_tokens)
        tail -= window_tokens
        window += 1
    if tail > 1:
        _write_window(files, window, pending, tail)
    rejected = files.folder / "rejected.jsonl"
    return {
        "documents": document,
        "tokens": total,
        "bytes": num_bytes,
        "blocks": blocks,
        "rejected": sum(1 for _ in rejected.open()) if rejected.is_file() else 0,
    }


def _encoded(
    rows: Iterable[dict[str, Any]], tokenizer: Tokenizer, column: str, skip: int
) -> Iterator[tuple[list[int], int]]:
    """Yield (ids, UTF-8 bytes) of each row's text after the first `skip` rows."""
    texts: list[str] = []
    characters = 0

    def flush() -> Iterator[tuple[list[int], int]]:
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
            yield ids, len(text.encode())

    for number, row in enumerate(rows):
        if column not in row:
            raise MissingColumn(f"the rows have no column {column!r}; --text_column_name takes one of {', '.join(row)}")
        if number < skip:
            continue
        texts.append(row[column])
        characters += len(row[column])
        if characters >= BATCH_CHARACTERS:
            yield from flush()
            texts, characters = [], 0
    yield from flush()


def _write_window(files: TokenFiles, window: int, pending: deque[tuple[int, int, np.ndarray, int]], size: int) -> None:
    with open_atomically(files.window_path(window)) as file:
        left = size
        for _, _, array, _ in pending:
            file.write(array[:left].tobytes())
            left -= min(left, len(array))
            if not left:
                break


def _drop_front(pending: deque[tuple[int, int, np.ndarray, int]], count: int) -> None:
    """Forget the first `count` tokens."""
    while count:
        document, first, array, before = pending.popleft()
        taken = min(count, len(array))
        count -= taken
        if taken < len(array):
            pending.appendleft((document, first + taken, array[taken:], before))


def _read_ledger(path: Path) -> list[dict[str, int]]:
    lines = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:  # the last line of a process that was killed while it wrote
            break
    return lines


def _write_ledger(path: Path, lines: list[dict[str, int]]) -> None:
    with open_atomically(path) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
