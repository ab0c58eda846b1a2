"""Signature files: what deduplication knows of each document of a shard, without its text.

One file a shard: a record a document in row order, then the documents' names, then where each name ends, then a line of
JSON with the counts and its own length. A file that breaks off, or that was made by other rules, is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from data_processing.criteria import whole_number
from data_processing.document import Document
from data_processing.minhash import BANDS, PERMUTATIONS, ROWS, SHINGLE_TOKENS, signature
from interface.errors import UserError

RULES = f"2: {SHINGLE_TOKENS}-shingles, {BANDS} x {ROWS}"  # raised by hand where signatures or keys are computed anew
RECORD = np.dtype(
    [
        ("id", "<u8", 2),  # of the document and its meta: what ties are broken by
        ("in_repository", "<u8", 2),  # equal where repository and text are; 0 without a repository
        ("exact", "<u8", 2),  # equal where the text is, but for its white space
        ("license", "<u1"),  # class: 0 is preferred
        ("stars", "<i8"),
        ("signed", "?"),  # false under five tokens
        ("signature", "<u4", PERMUTATIONS),
    ]
)  # fmt: skip
MARK = b"signatures\n"


class BrokenSignatures(UserError):
    """A signature file breaks off, or was made by another version of the rules."""


def write_signatures(documents: Iterable[Document], file: IO[bytes], rank: Callable[[Document], int]) -> int:
    """Write the signature file of a shard's documents; return their number.

    `rank` gives a document's licence class, 0 (taken first) to 255. The file is written from start to end.
    """
    names, ends = bytearray(), []
    for document in documents:
        file.write(_record(document, rank(document)).tobytes())
        for key in ("repo_name", "file_name"):
            names += str(document.meta.get(key) or "").encode("utf-8", "surrogatepass")
            ends.append(len(names))
    file.write(names)
    file.write(np.array(ends, "<u8").tobytes())
    tail = json.dumps({"rules": RULES, "documents": len(ends) // 2, "names": len(names)}).encode()
    file.write(tail + len(tail).to_bytes(4, "little") + MARK)
    return len(ends) // 2


def _record(document: Document, license_class: int) -> npt.NDArray[Any]:
    text = document.text.encode("utf-8", "surrogatepass")
    record = np.zeros(1, RECORD)
    record["id"] = identity(document)
    repository = str(document.meta.get("repo_name") or "").encode("utf-8", "surrogatepass")
    if repository:
        record["in_repository"] = _digest(len(repository).to_bytes(8), repository, text)
    record["exact"] = _digest(" ".join(document.text.split()).encode("utf-8", "surrogatepass"))
    record["license"] = license_class
    stars = document.meta.get("stars")
    stars = stars if isinstance(stars, float) else whole_number(stars)  # Code Clippy's are strings
    record["stars"] = int(stars) if stars is not None and 0 <= stars < 2**62 else -1  # unknown, NaN: last
    places = signature(document.text)
    if places is not None:
        record["signed"] = True
        record["signature"] = places
    return record


def identity(document: Document) -> npt.NDArray[np.uint64]:
    """128 bits of a document's id and meta: two that share them are interchangeable."""
    meta = json.dumps(document.meta, sort_keys=True, default=str)
    return _digest(document.id.encode(), meta.encode())


def _digest(*parts: bytes) -> npt.NDArray[np.uint64]:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return np.frombuffer(digest.digest(), "<u8")


class Signatures:
    """The signature files of a corpus as one table, read from disk a part at a time; rows are numbered through."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        tails = [_read_tail(path) for path in self.paths]
        self.starts = np.concatenate([[0], np.cumsum([tail["documents"] for tail in tails], dtype=np.int64)])
        self._name_bytes = [tail["names"] for tail in tails]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def rows_of(self, shard: int) -> slice:
        """Where a file's documents stand in the table."""
        return slice(int(self.starts[shard]), int(self.starts[shard + 1]))

    def read(self, start: int, count: int) -> npt.NDArray[Any]:
        """Records from `start` on, at most `count`, of one file only."""
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        count = min(count, self.rows_of(shard).stop - start)
        offset = (start - int(self.starts[shard])) * RECORD.itemsize
        return np.fromfile(self.paths[shard], RECORD, count, offset=offset)

    def take(self, rows: npt.NDArray[np.int64], field: str) -> npt.NDArray[Any]:
        """One field of the given rows."""
        taken = np.empty(len(rows), RECORD[field])
        for shard, where in self._by_shard(rows):
            # Mapped anew each time, so that pages which were looked at do not stay
            records = np.memmap(self.paths[shard], RECORD, "r", shape=(self._count(shard),))
            taken[where] = records[field][rows[where] - self.starts[shard]]
        return taken

    def names(self, rows: npt.NDArray[np.int64]) -> list[tuple[bytes, bytes]]:
        """Repository and path of the given rows, UTF-8."""
        found: list[tuple[bytes, bytes]] = [(b"", b"")] * len(rows)
        for shard, where in self._by_shard(rows):
            count, size = self._count(shard), self._name_bytes[shard]
            ends = np.memmap(
                self.paths[shard], "<u8", "r", offset=count * RECORD.itemsize + size, shape=(2 * count,)
            )  # fmt: skip
            with self.paths[shard].open("rb") as file:
                for place in where:
                    row = int(rows[place] - self.starts[shard])
                    start, middle, end = (int(ends[i]) if i >= 0 else 0 for i in range(2 * row - 1, 2 * row + 2))
                    file.seek(count * RECORD.itemsize + start)
                    both = file.read(end - start)
                    found[place] = both[: middle - start], both[middle - start :]
        return found

    def _count(self, shard: int) -> int:
        return int(self.starts[shard + 1] - self.starts[shard])

    def _by_shard(self, rows: npt.NDArray[np.int64]) -> Iterable[tuple[int, npt.NDArray[np.int64]]]:
        """Each file with the places in `rows` that stand in it."""
        if not len(rows):
            return []
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")
        present, firsts = np.unique(shards[order], return_index=True)
        return zip(present.tolist(), np.split(order, firsts[1:]), strict=True)


def _read_tail(path: Path) -> dict[str, Any]:
    """Read the line of counts at the end of a signature file.  Raises: BrokenSignatures."""
    again = "delete it, so that the next run writes it anew"
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MARK) - 4))
        end = file.read()
        if len(end) < len(MARK) + 4 or end[4:] != MARK:
            raise BrokenSignatures(f"{path} has {size} bytes and no whole end; wanted a signature file: {again}")
        length = int.from_bytes(end[:4], "little")
        file.seek(size - len(end) - length)
        tail = json.loads(file.read(length))
    if tail["rules"] != RULES:
        raise BrokenSignatures(f"{path} was made by the rules {tail['rules']!r}; wanted {RULES!r}: {again}")
    wanted = tail["documents"] * (RECORD.itemsize + 16) + tail["names"] + length + len(end)
    if size != wanted:
        raise BrokenSignatures(f"{path} has {size} bytes; wanted {wanted} for {tail['documents']} documents: {again}")
    return tail
