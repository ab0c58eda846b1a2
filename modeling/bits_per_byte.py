"""Bits per byte: a model's loss on whole documents, comparable between tokenizers.

A patched tokenizer makes fewer tokens of the same text, so losses a token do not compare; bits a byte do. Every
document starts after an end-of-text token and is scored to its own end-of-text token in blocks of `block_size`, each
block seeing what comes before in it and nothing else. Documents, blocks and rule are the same for every model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from modeling.config import DecoderConfig
from modeling.decoder import PLAIN, token_losses
from modeling.execution import Execution
from modeling.table import Params

ROWS = 16  # blocks a pass


@partial(jax.jit, static_argnums=(0, 5))
def _loss(
    config: DecoderConfig, params: Params, tokens: jax.Array, targets: jax.Array, weights: jax.Array, how: Execution
) -> jax.Array:
    return jnp.sum(token_losses(config, params, tokens, targets, how=how) * weights)


def bits_per_byte(
    config: DecoderConfig,
    params: Params,
    documents: Iterable[tuple[list[int], int]],
    *,
    eos_token_id: int,
    block_size: int,
    how: Execution = PLAIN,
) -> float:
    """Sum of -log2 probability over documents (their end-of-text included) / their UTF-8 bytes.

    `documents` are (ids without end-of-text, bytes).
    """
    nats: list[jax.Array] = []
    total_bytes = 0

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        nonlocal total_bytes
        for ids, num_bytes in documents:
            total_bytes += num_bytes
            stream = np.array([eos_token_id, *ids, eos_token_id], np.int32)
            for first in range(0, len(stream) - 1, block_size):
                piece = stream[first : first + block_size + 1]
                padding = block_size + 1 - len(piece)
                weights = np.pad(np.ones(len(piece) - 1, np.float32), (0, padding))
                piece = np.pad(piece, (0, padding), constant_values=eos_token_id)
                yield piece[:-1], piece[1:], weights

    batch: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in blocks():
        batch.append(block)
        if len(batch) == ROWS:
            nats.append(_loss(config, params, *map(np.stack, zip(*batch)), how))
            batch = []
    if batch:
        empty = tuple(np.zeros_like(part) for part in batch[0])
        batch += [empty] * (ROWS - len(batch))  # type: ignore[list-item]
        nats.append(_loss(config, params, *map(np.stack, zip(*batch)), how))
    return math.fsum(float(x) for x in nats) / (math.log(2) * total_bytes)
