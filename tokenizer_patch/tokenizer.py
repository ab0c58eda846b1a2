"""Tokenizer: text to ids and back, and a name for exactly that mapping."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from interface.errors import UserError


class TokenizerError(UserError):
    """A tokenizer is missing, unreadable, or lacks something that training needs."""


class VocabularyMismatch(UserError):
    """A tokenizer and an embedding table do not fit each other."""


class Tokenizer:
    """A Hugging Face fast tokenizer, as training, scoring and sampling use it.

    Text is encoded with special tokens split: source code that contains `<|endoftext|>` gets its characters' ids and
    never the id that ends a document. Nothing is added around a text.
    """

    def __init__(self, backend: tokenizers.Tokenizer, eos_token_id: int) -> None:
        self.backend = backend
        self.backend.encode_special_tokens = True
        self.backend.no_padding()
        self.backend.no_truncation()
        self.eos_token_id = eos_token_id

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Read the tokenizer in a model folder.  Raises: TokenizerError."""
        folder = Path(folder)
        if (folder / "tokenizer.json").is_file():
            try:
                backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            except Exception as error:  # the Rust side raises plain Exception
                raise TokenizerError(
                    f"{folder / 'tokenizer.json'} is not a tokenizer ({error}); write it again"
                ) from error
            eos = _eos_token(folder)
        else:
            if not (folder / "vocab.json").is_file():
                raise TokenizerError(
                    f"no tokenizer in {folder}: wanted tokenizer.json, or vocab.json with merges.txt; "
                    "copy a tokenizer's files there, or name its folder with --tokenizer_name where a command has that"
                )
            from transformers import AutoTokenizer

            loaded = AutoTokenizer.from_pretrained(folder)
            backend, eos = loaded.backend_tokenizer, loaded.eos_token
        eos_id = backend.token_to_id(eos) if eos else None
        if eos_id is None:
            raise TokenizerError(
                f"the tokenizer in {folder} has no end-of-text token (found {eos!r}); every document ends with one, "
                "so name it as eos_token in tokenizer_config.json"
            )
        return cls(backend, eos_id)

    @property
    def size(self) -> int:
        """Ids run from 0 to size - 1, tokens that were added included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical tokenizer.json and the end-of-text id: equal means equal ids for every text."""
        canonical = json.dumps([json.loads(self.backend.to_str()), self.eos_token_id], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without an end-of-text id."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, on all processor cores."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, special tokens spelled out; bytes that are no UTF-8 become U+FFFD."""
        return self.backend.decode(ids, skip_special_tokens=False)

    def tokens_per_byte(self, texts: Sequence[str]) -> float:
        """Mean number of ids a UTF-8 byte of `texts`, end-of-text not counted."""
        tokens = sum(len(ids) for ids in self.encode_batch(texts))
        return tokens / sum(len(text.encode()) for text in texts)

    def require_rows(self, rows: int, model: str) -> None:
        """Refuse a tokenizer whose ids do not all have an embedding row.  Raises: VocabularyMismatch."""
        if self.size > rows:
            raise VocabularyMismatch(
                f"{model} has {rows} embedding rows, its tokenizer needs {self.size}; "
                "python -m tokenizer_patch adds tokens together with their rows"
            )


def _eos_token(folder: Path) -> str | None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            entry: Any = json.loads((folder / name).read_text()).get("eos_token")
            if entry:
                return entry["content"] if isinstance(entry, dict) else entry
    return None
