"""Token files: a split's tokens on disk, in window files that are each whole when they have their name.

    FOLDER/identity.json     what the tokens depend on; another identity is another folder
    FOLDER/window-00000.bin  window_blocks * block_size + 1 tokens, little-endian uint16 or uint32; the last is short
    FOLDER/ledger.jsonl      line w: where window w starts (document, token in it), so that it can be made again
    FOLDER/rejected.jsonl    rows that could not be read, and why
    FOLDER/complete.json     written last: facts (documents, tokens, bytes, blocks, rejected rows)

Documents are joined with the end-of-text id after each, so the number of end-of-text ids is the number of documents.
The one extra token of a window is the next window's first: the target of this one's last position.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interface.errors import UserError
from interface.files import write_json

FORMAT = 1
WINDOW_TOKENS = 1 << 22  # 4 Mi: seconds of tokenising on two cores, and enough blocks to shuffle well


class TokenFilesError(UserError):
    """Token files do not fit what was asked for, or could not be made."""


@dataclass(frozen=True)
class Identity:
    """Everything that the tokens of a split depend on; its hash names the folder."""

    tokenizer: str
    eos_token_id: int
    token_bytes: int
    block_size: int
    window_blocks: int
    split: str
    text_column: str
    source: dict[str, Any]
    max_blocks: int | None = None
    format: int = FORMAT

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.token_bytes == 2 else "<u4")


class TokenFiles:
    """The token files of one split, possibly still growing under another process."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self._last: tuple[int, np.ndarray] | None = None

    @classmethod
    def at(cls, cache_dir: Path, identity: Identity) -> TokenFiles:
        """The folder of this identity below a cache folder.  Raises: TokenFilesError where it holds another one."""
        folder = Path(cache_dir) / f"{identity.split}-{identity.key}"
        record = folder / "identity.json"
        if record.is_file() and json.loads(record.read_text()) != json.loads(json.dumps(asdict(identity))):
            raise TokenFilesError(f"{folder} holds tokens of another tokenizer or corpus; remove the folder")
        return cls(folder, identity)

    def write_identity(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "identity.json", asdict(self.identity))

    def window_path(self, window: int) -> Path:
        return self.folder / f"window-{window:05d}.bin"

    def facts(self) -> dict[str, Any] | None:
        """Counts of the whole split, once its last window is there."""
        path = self.folder / "complete.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def num_blocks(self) -> int | None:
        """Blocks of an epoch, once the last window is there."""
        facts = self.facts()
        return None if facts is None else facts["blocks"]

    def tokens(self, window: int) -> np.ndarray | None:
        """A window's tokens as a memory map, or None where it is not there yet."""
        if self._last is None or self._last[0] != window:
            path = self.window_path(window)
            if not path.is_file():
                return None
            self._last = (window, np.memmap(path, self.identity.dtype, mode="r"))
        return self._last[1]

    def block(self, window: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One block: tokens and targets int32 [T], loss weights float32 [T]; padding has weight 0."""
        stored = self.tokens(window)
        if stored is None:
            raise TokenFilesError(f"{self.window_path(window)} is not there; it was removed while it was in use")
        T = self.identity.block_size
        piece = stored[index * T : index * T + T + 1].astype(np.int32)
        padding = T + 1 - len(piece)
        weights = np.ones(T, np.float32)
        if padding:
            piece = np.concatenate([piece, np.full(padding, self.identity.eos_token_id, np.int32)])
            weights[T - padding :] = 0
        return piece[:-1], piece[1:], weights


Wait = Callable[[], None]  # returns after a moment, or raises where waiting has become useless
