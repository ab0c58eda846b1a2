"""Tokens: rows as units of tokens, by an encoder.

A unit is what is tokenised whole: a document, or a group of documents packed into blocks.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_processing.groups import in_groups
from data_processing.interleave import Interleave, Rows
from data_processing.row_source import RowSource
from data_processing.shards import Rejected, Row
from data_processing.token_files import WINDOW_TOKENS, Identity, TokenFiles
from interface.errors import UserError
from tokenizer_patch.tokenizer import Tokenizer

FIRST_ROWS = 10_000  # looked at for one that can be read
PIECE_CHARACTERS = 1 << 18  # of text in one call of the tokenizer: 2 to 6 % quicker than a megabyte


class MissingColumn(UserError):
    """The rows have no column of the name that was asked for."""

    @classmethod
    def of(cls, rejected: Sequence[Rejected]) -> MissingColumn:
        """The error for first rows of which none can be read: that is a wrong column, not bad luck."""
        example = rejected[0].start[:200].decode("utf-8", "replace")
        return cls(
            f"none of the first {len(rejected)} rows can be read: {rejected[0].reason}; --text_column_name names the "
            f"column that holds the text. The first row starts {example!r}"
        )


def check_first_row(rows: Rows, column: str) -> None:
    """Read on to the first row that can be read.  Raises: MissingColumn where it, or all before it, lack the column."""
    rejected = []
    for row in islice(Interleave(rows), FIRST_ROWS):
        if not isinstance(row, Rejected):
            _want_column(row, column)
            return
        rejected.append(row)
    if rejected:
        raise MissingColumn.of(rejected)


def _want_column(row: Row, column: str) -> None:
    if column not in row:
        raise MissingColumn(f"the rows have no column {column!r}; --text_column_name takes one of {', '.join(row)}")


@dataclass(frozen=True)
class TokenUnit:
    """Tokens of one or more whole documents, each with its end-of-text id.

    `weights` bool [len(tokens)]: whether a token counts where it is the target; None: each does. `rows` is how many
    rows were taken, those that were left out included; `dropped` counts these by reason. `bytes` of UTF-8 text.
    """

    tokens: np.ndarray
    weights: np.ndarray | None
    rows: int
    bytes: int
    dropped: dict[str, int] = field(default_factory=dict)


class Encoder(Protocol):
    """Rows to units: frozen and picklable, since every worker process gets its copy.

    Cutting the rows at a multiple of `group_rows` changes nothing: encode(a + b) == encode(a) + encode(b). Units come
    in the order of their rows. A unit without tokens (all its rows dropped) is allowed.
    """

    @property
    def group_rows(self) -> int:
        """Rows that are encoded together: 1, or as many as are packed into one unit."""

    @property
    def weighted(self) -> bool:
        """Whether units carry weights."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the units depend on besides rows, tokenizer and block size: JSON values, into the fingerprint."""

    def encode(self, rows: Sequence[Row]) -> list[TokenUnit]:
        """The units of some rows."""


@dataclass(frozen=True)
class TextEncoder:
    """Plain text: a row is a unit, its text and one end-of-text id; every token counts."""

    tokenizer_dir: Path
    column: str = "text"
    group_rows = 1
    weighted = False

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.tokenizer_dir)

    @property
    def identity(self) -> dict[str, Any]:
        return {"kind": "text", "column": self.column}

    def encode(self, rows: Sequence[Row]) -> list[TokenUnit]:
        """Tokenise each row's text.  Raises: MissingColumn."""
        for row in rows:
            _want_column(row, self.column)
        texts = [row[self.column] for row in rows if isinstance(row[self.column], str)]
        ids_of_texts = chain.from_iterable(map(self.tokenizer.encode_batch, in_groups(texts, len, PIECE_CHARACTERS)))
        encoded = iter(zip(ids_of_texts, texts, strict=True))
        units = []
        for row in rows:
            if not isinstance(row[self.column], str):
                units.append(TokenUnit(np.empty(0, np.uint32), None, 1, 0, {"no text": 1}))
                continue
            ids, text = next(encoded)
            ids.append(self.tokenizer.eos_token_id)
            tokens = np.frombuffer(array("I", ids), np.uint32)  # a third of np.array's time: 1 % of the whole
            units.append(TokenUnit(tokens, None, 1, len(text.encode())))
        return units


def plan_token_files(
    *,
    tokenizer: Tokenizer,
    encoder: Encoder,
    source: RowSource,
    split: str,
    block_size: int,
    cache_dir: Path,
    max_blocks: int | None = None,
    max_rows: int | None = None,
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
        encoder=encoder.identity,
        weighted=encoder.weighted,
        source=source.fingerprint(split),
        max_blocks=max_blocks,
        max_rows=max_rows,
    )
    return TokenFiles.at(cache_dir, identity)
