"""CodeGen: GPT-J's block with query, value and key in one matrix, interleaved for four TPU cores.

Source of the conventions: Salesforce's checkpoints as torch transformers reads them (mp_num=4).
"""

from __future__ import annotations

import jax
import numpy as np

from modeling import gpt_j
from modeling.config import UnsupportedConfig
from modeling.dot import dot
from modeling.table import Layout, Row

CORES = 4  # the fused rows are [core, (query, value, key), a quarter of the heads]


def _gather(fused: np.ndarray) -> np.ndarray:
    """[4 * 3 * E/4, D] in core order -> [3, E, D]: query, value, key."""
    E, D = fused.shape[0] // 3, fused.shape[1]
    return fused.reshape(CORES, 3, E // CORES, D).transpose(1, 0, 2, 3).reshape(3, E, D)


def _scatter(parts: np.ndarray) -> np.ndarray:
    """The inverse of `_gather`."""
    _, E, D = parts.shape
    return parts.reshape(3, CORES, E // CORES, D).transpose(1, 0, 2, 3).reshape(3 * E, D)


_FUSED = Row(
    "blocks.query_value_key", "transformer.h.{layer}.attn.qkv_proj.weight", "L 3 HK D", "initializer_range", "matrix",
    Layout(_gather, _scatter),
)  # fmt: skip
_SPLIT = ("blocks.query", "blocks.key", "blocks.value")

TABLE = (*(row for row in gpt_j.TABLE if row.path not in _SPLIT), _FUSED)
IGNORED = gpt_j.IGNORED


class CodeGenConfig(gpt_j.GPTJConfig):
    """What the forward pass needs of a CodeGen config.json: the same as of GPT-J's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_heads % CORES:
            raise UnsupportedConfig(
                f"CodeGen's fused matrix wants heads in multiples of {CORES}; found {self.num_heads}"
            )


class Block(gpt_j.Block):
    """GPT-J's layer with its three projections in one product."""

    def project(self, normed_BTD: jax.Array, dtype: str) -> tuple[jax.Array, jax.Array, jax.Array]:
        all_BTQE = dot("BTD,QED->BTQE", normed_BTD, self.query_value_key[...], dtype)
        return all_BTQE[:, :, 0], all_BTQE[:, :, 2], all_BTQE[:, :, 1]


class CodeGen(gpt_j.GPTJ):
    """GPT-J's decoder over CodeGen's blocks."""

    table = TABLE
    block = Block
