"""Completions of prompts: prefill, then compiled chunks of decoding until every row has stopped.

A completion depends on its prompt, its settings, its seed and its own numbers (prompt, sample), never on what shares
its batch: rows run in one fixed count, and each draws from a key of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from generation.sampling import choose
from interface.errors import UserError
from modeling.config import DecoderConfig
from modeling.decoder import extend, init_cache
from modeling.execution import Precision
from modeling.layers import Cache
from modeling.loss import cross_entropy
from modeling.table import Params
from tokenizer_patch.tokenizer import Tokenizer

ROWS = 8  # sequences a batch: on a CPU eight cost little more than one, and the count must not depend on the prompts
CHUNK = 16  # tokens decoded before the host looks for stop strings
BUCKET = 64  # prompts are padded to a multiple of this, so that a handful of shapes is compiled


class PromptTooLong(UserError):
    """A prompt and what may follow it do not fit the model's positions."""


@dataclass(frozen=True)
class Settings:
    """How to sample. `temperature` 0 is greedy; `top_p` 0.95 is Codex's (arXiv:2107.03374)."""

    max_new_tokens: int = 128
    temperature: float = 0.2
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """What followed a prompt, cut before the stop string or end of text that ended it.

    `log_probability` is the sum over the tokens that end before the cut, in nats, under the model itself: neither
    tempered nor cut to a nucleus (Codex, arXiv:2107.03374, section 3.3, ranks by its mean). The end is not counted.
    """

    text: str
    tokens: tuple[int, ...]
    ended_by: Literal["end_of_text", "stop", "length"]
    log_probability: float

    @property
    def mean_log_probability(self) -> float:
        """Nats a token; 0 for an empty completion."""
        return self.log_probability / max(len(self.tokens), 1)


def complete(
    config: DecoderConfig,
    params: Params,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    settings: Settings,
    *,
    num_samples: int = 1,
    dtype: Precision = "float32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[Completion]]:
    """Sample `num_samples` completions of each prompt.  Raises: PromptTooLong."""
    encoded = [tokenizer.encode(prompt) or [tokenizer.eos_token_id] for prompt in prompts]
    for prompt, ids in zip(prompts, encoded, strict=True):
        if len(ids) + settings.max_new_tokens > config.max_position_embeddings:
            raise PromptTooLong(
                f"the prompt {prompt[:40]!r}... has {len(ids)} tokens and may grow by {settings.max_new_tokens}; the "
                f"model has {config.max_position_embeddings} positions. Shorten it, or lower --max_new_tokens"
            )
    jobs = sorted(
        ((task, sample) for task in range(len(prompts)) for sample in range(num_samples)),
        key=lambda job: (_bucket(len(encoded[job[0]])), job),
    )
    results: dict[tuple[int, int], Completion] = {}
    for bucket in sorted({_bucket(len(ids)) for ids in encoded}):
        mine = [job for job in jobs if _bucket(len(encoded[job[0]])) == bucket]
        for first in range(0, len(mine), ROWS):
            batch = mine[first : first + ROWS]
            results |= zip(batch, _decode(config, params, tokenizer, encoded, batch, bucket, settings, dtype))
            on_progress(len(results), len(jobs))
    return [[results[task, sample] for sample in range(num_samples)] for task in range(len(prompts))]


def _bucket(length: int) -> int:
    return -(-length // BUCKET) * BUCKET


def _decode(
    config: DecoderConfig,
    params: Params,
    tokenizer: Tokenizer,
    encoded: Sequence[Sequence[int]],
    batch: Sequence[tuple[int, int]],
    bucket: int,
    settings: Settings,
    dtype: Precision,
) -> list[Completion]:
    """Run one batch of (prompt, sample) jobs of one bucket to its end."""
    tokens_NT = np.full((ROWS, bucket), tokenizer.eos_token_id, np.int32)
    first_slot_N = np.full(ROWS, bucket - 1, np.int32)  # rows without a job hold one end-of-text token
    numbers_N = np.zeros((ROWS, 2), np.uint32)
    for row, (task, sample) in enumerate(batch):
        ids = encoded[task]
        tokens_NT[row, bucket - len(ids) :] = ids
        first_slot_N[row] = bucket - len(ids)
        numbers_N[row] = task, sample
    chunks = -(-settings.max_new_tokens // CHUNK)
    logits_NV, cache = _prefill(config, params, tokens_NT, first_slot_N, bucket + chunks * CHUNK, dtype)
    made_NT, chances_NT = np.zeros((ROWS, 0), np.int32), np.zeros((ROWS, 0), np.float32)
    ended: dict[int, Completion] = {}
    for chunk in range(chunks):
        new_NT, new_chances_NT, logits_NV, cache = _decode_chunk(
            config, params, cache, logits_NV, first_slot_N, numbers_N, settings.seed, bucket + chunk * CHUNK,
            chunk * CHUNK, settings.temperature, settings.top_p, dtype, tokenizer.size,
        )  # fmt: skip
        made_NT = np.concatenate([made_NT, np.asarray(new_NT)], axis=1)[:, : settings.max_new_tokens]
        chances_NT = np.concatenate([chances_NT, np.asarray(new_chances_NT)], axis=1)
        for row in set(range(len(batch))) - ended.keys():
            completion = _cut(made_NT[row], chances_NT[row], tokenizer, settings)
            if completion.ended_by != "length" or made_NT.shape[1] == settings.max_new_tokens:
                ended[row] = completion
        if len(ended) == len(batch):
            break
    return [ended[row] for row in range(len(batch))]


def _cut(ids: np.ndarray, chances: np.ndarray, tokenizer: Tokenizer, settings: Settings) -> Completion:
    """Cut at the first end-of-text token or stop string, whichever comes first in the text."""
    ends = np.flatnonzero(ids == tokenizer.eos_token_id)
    kept = tuple(ids[: ends[0]].tolist() if len(ends) else ids.tolist())
    text = tokenizer.decode(kept)
    ended_by: Literal["end_of_text", "stop", "length"] = "end_of_text" if len(ends) else "length"
    places = [place for stop in settings.stop if (place := text.find(stop)) >= 0]
    if places:
        text, ended_by = text[: min(places)], "stop"
        whole = bisect_right(range(len(kept)), len(text), key=lambda n: len(tokenizer.decode(kept[: n + 1])))
        kept = kept[:whole]
    return Completion(text, kept, ended_by, math.fsum(chances[: len(kept)].tolist()))


@partial(jax.jit, static_argnums=(0, 4, 5))
def _prefill(
    config: DecoderConfig, params: Params, tokens_NT: jax.Array, first_slot_N: jax.Array, slots: int, dtype: Precision
) -> tuple[jax.Array, Cache]:
    cache = init_cache(config, tokens_NT.shape[0], slots, dtype)
    return extend(config, params, cache, tokens_NT, jnp.int32(0), first_slot_N, dtype=dtype)


@partial(jax.jit, static_argnums=(0, 11, 12), donate_argnums=2)
def _decode_chunk(
    config: DecoderConfig,
    params: Params,
    cache: Cache,
    logits_NV: jax.Array,
    first_slot_N: jax.Array,
    numbers_N: jax.Array,
    seed: jax.Array,
    slot: jax.Array,
    already: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array,
    dtype: Precision,
    num_tokens: int,
) -> tuple[jax.Array, jax.Array, jax.Array, Cache]:
    """Decode CHUNK tokens a row: [N, CHUNK], their log-probabilities, the scores of the one after, and the cache."""

    def key(numbers: jax.Array, place: jax.Array) -> jax.Array:
        mine = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), numbers[0]), numbers[1])
        return jax.random.fold_in(mine, place)

    def one(
        carry: tuple[jax.Array, Cache], i: jax.Array
    ) -> tuple[tuple[jax.Array, Cache], tuple[jax.Array, jax.Array]]:
        logits_NV, cache = carry
        keys_N = jax.vmap(key, in_axes=(0, None))(numbers_N, already + i)
        # rows of the table beyond the tokenizer's ids (GPT-J has 143) stand for no text
        possible_NV = jnp.where(jnp.arange(logits_NV.shape[-1]) < num_tokens, logits_NV, jnp.finfo(jnp.float32).min)
        token_N = choose(possible_NV, keys_N, temperature, top_p)
        chance_N = -cross_entropy(logits_NV, token_N, logits_NV.shape[-1])
        logits_NV, cache = extend(config, params, cache, token_N[:, None], slot + i, first_slot_N, dtype=dtype)
        return (logits_NV, cache), (token_N, chance_N)

    (logits_NV, cache), (tokens, chances) = jax.lax.scan(one, (logits_NV, cache), jnp.arange(CHUNK))
    return tokens.T, chances.T, logits_NV, cache
