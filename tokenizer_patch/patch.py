"""Patch: whitespace tokens for a tokenizer that has none, and their rows in a model's tables.

A new row starts as a copy of tab's row: the model has seen tab where indentation stands, so the first step of
fine-tuning starts from something that works. The reference wrote tab's row over the end-of-text row and left two of
its four new rows random; every row that was there before stays as it is here, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from modeling.checkpoint import Model
from modeling.decoder import family
from modeling.table import get, map_rows, pad_vocabulary
from tokenizer_patch.tokenizer import Tokenizer, TokenizerError

CLIPPY_TOKENS = ("\t\t", "  ", "    ", "        ")  # GPT-Neo-125M-Code-Clippy's four: two tabs; 2, 4 and 8 spaces


def patch_tokenizer(folder: Path, output_dir: Path, tokens: tuple[str, ...] = CLIPPY_TOKENS) -> list[int]:
    """Add `tokens` to the tokenizer in `folder`, write it to `output_dir`, return the ids that are new.

    They are ordinary tokens: a special one would be dropped by `decode(..., skip_special_tokens=True)`, and
    with it all indentation. A token that is there already keeps its id.
    """
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    before = len(loaded)
    loaded.add_tokens([_added_token(token) for token in tokens])
    output_dir.mkdir(parents=True, exist_ok=True)
    loaded.save_pretrained(output_dir)
    return list(range(before, len(loaded)))


def _added_token(text: str) -> Any:
    """A token matched as it stands: not stripped, not normalised, not only as a word, not special."""
    from tokenizers import AddedToken

    return AddedToken(text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)


def patch_params(model: Model, new_ids: list[int], tab_id: int) -> Model:
    """Give each new id tab's row in every table that has a vocabulary axis; return the model, grown where needed.

    A table with rows to spare (GPT-J has 50,400 for 50,257 tokens) is used as it is and never shrinks.
    """
    vocab_size = max([model.config.vocab_size, *(new_id + 1 for new_id in new_ids)])
    config = replace(model.config, vocab_size=vocab_size)

    def patched(row: Any) -> Any:
        value = get(model.params, row.path)
        if "V" not in row.axes.split() or not new_ids:
            return value
        axis = row.axes.split().index("V")
        old = np.asarray(value)
        kept = np.take(old, np.arange(model.config.vocab_size), axis=axis)  # without the padding, which may hold noise
        grown = np.moveaxis(pad_vocabulary(row, kept, config.table_rows), axis, 0).copy()
        grown[new_ids] = grown[tab_id]
        return jnp.asarray(np.moveaxis(grown, 0, axis))

    return Model(config, map_rows(family(config).table, patched))


def tab_id(tokenizer: Tokenizer) -> int:
    """The single id of a tab.  Raises: TokenizerError."""
    ids = tokenizer.encode("\t")
    if len(ids) != 1:
        raise TokenizerError(f"a tab encodes to {len(ids)} ids, {ids}; wanted one, whose row the new tokens start from")
    return ids[0]
