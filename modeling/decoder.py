"""Decoder: the pure functions over params that every family answers to.

Params are plain nested dicts of arrays. NNX modules are made and taken apart in here and in the family files only.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from interface.choices import AttentionKernel, ModelType, Precision
from interface.errors import UserError
from modeling import codegen, gpt2, gpt_j, gpt_neo
from modeling.config import DecoderConfig, UnsupportedConfig
from modeling.dropout import Dropout
from modeling.execution import Execution
from modeling.layers import Cache, Pass, positions
from modeling.loss import chunked, cross_entropy
from modeling.table import Params, Table

PLAIN = Execution()


class TooManyTokens(UserError):
    """More tokens in a row than the model has positions."""


class Family(NamedTuple):
    """What a family's file offers: its config class, its module, its table and the tensors to ignore (patterns)."""

    config: type[DecoderConfig]
    module: Any
    table: Table
    ignored: tuple[str, ...]
    architecture: str


FAMILIES: dict[ModelType, Family] = {
    "gpt_neo": Family(gpt_neo.GPTNeoConfig, gpt_neo.GPTNeo, gpt_neo.TABLE, gpt_neo.IGNORED, "GPTNeoForCausalLM"),
    "gptj": Family(gpt_j.GPTJConfig, gpt_j.GPTJ, gpt_j.TABLE, gpt_j.IGNORED, "GPTJForCausalLM"),
    "codegen": Family(codegen.CodeGenConfig, codegen.CodeGen, codegen.TABLE, codegen.IGNORED, "CodeGenForCausalLM"),
    "gpt2": Family(gpt2.GPT2Config, gpt2.GPT2, gpt2.TABLE, gpt2.IGNORED, "GPT2LMHeadModel"),
}


def family_of(model_type: str | None) -> Family:
    """Look a family up by its config.json's model_type.  Raises: UnsupportedConfig."""
    if model_type not in FAMILIES:
        raise UnsupportedConfig(f"model_type is {model_type!r}; this toolkit knows {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def config_from_hf(hf: dict[str, Any]) -> DecoderConfig:
    """Read a config.json of any known family."""
    return family_of(hf.get("model_type")).config.from_hf(hf)


def new_config(model_type: ModelType, vocab_size: int) -> DecoderConfig:
    """A family's config of transformers' default sizes, with this vocabulary."""
    from transformers import CONFIG_MAPPING, PretrainedConfig

    everybodys = PretrainedConfig().to_dict()
    hf = {k: v for k, v in CONFIG_MAPPING[model_type]().to_dict().items() if v != everybodys.get(k)}
    return config_from_hf(hf | {"model_type": model_type, "vocab_size": vocab_size})


def family(config: DecoderConfig) -> Family:
    """The family that a config belongs to."""
    return next(known for known in FAMILIES.values() if known.config is type(config))


@lru_cache(maxsize=16)
def _structure(config: DecoderConfig) -> Any:
    """The NNX graph of a config's module, without its values."""
    module = nnx.eval_shape(lambda: family(config).module(config, jax.random.key(0)))
    return nnx.graphdef(module)


def _module(config: DecoderConfig, params: Params) -> Any:
    return nnx.merge(_structure(config), params)


@partial(jax.jit, static_argnums=0)
def init_params(config: DecoderConfig, seed: int | jax.Array) -> Params:
    """Draw float32 params for a model that is trained from scratch; padding rows of the vocabulary are drawn too."""
    return nnx.to_pure_dict(nnx.state(family(config).module(config, jax.random.key(seed))))


def init_cache(config: DecoderConfig, rows: int, slots: int, dtype: str) -> Cache:
    """An empty cache for `rows` sequences of at most `slots` tokens; attention over all of it multiplies in `dtype`."""
    shape = (rows, config.num_heads, slots, config.head_size)
    return tuple((jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(config.num_layers))


def logits(
    config: DecoderConfig,
    params: Params,
    tokens_BT: jax.Array,
    *,
    how: Execution = PLAIN,
    positions_BT: jax.Array | None = None,
    segment_ids_BT: jax.Array | None = None,
) -> jax.Array:
    """Scores of the next token at each position: float32 [B, T, V], V without padding.

    Positions run 0..T-1 where none are given. With segment ids, a token sees its own segment only.
    """
    model = _module(config, params)
    hidden_BTD, _ = model.hidden(
        tokens_BT, None, _whole(config, tokens_BT, how, positions_BT, segment_ids_BT, None), config
    )
    return model.head(hidden_BTD, how.dtype)[..., : config.vocab_size]


def token_losses(
    config: DecoderConfig,
    params: Params,
    tokens_BT: jax.Array,
    targets_BT: jax.Array,
    *,
    how: Execution = PLAIN,
    positions_BT: jax.Array | None = None,
    segment_ids_BT: jax.Array | None = None,
    dropout_keys_B: jax.Array | None = None,
) -> jax.Array:
    """-log probability of each target in nats, float32 [B, T]; padding rows of the vocabulary have no probability.

    With a key a row (modeling.dropout.row_keys) the config's dropout is on, else off.
    """
    dropout = None if dropout_keys_B is None else Dropout(config.dropout, dropout_keys_B)
    model = _module(config, params)
    this = _whole(config, tokens_BT, how, positions_BT, segment_ids_BT, dropout)
    hidden_BTD, _ = model.hidden(tokens_BT, None, this, config)

    def losses(hidden_BTD: jax.Array, targets_BT: jax.Array) -> jax.Array:
        return cross_entropy(model.head(hidden_BTD, how.dtype), targets_BT, config.vocab_size)

    if how.logits_alive is None:
        return losses(hidden_BTD, targets_BT)
    return chunked(losses, hidden_BTD, targets_BT, max(how.logits_alive // config.table_rows, 1))


def _whole(
    config: DecoderConfig,
    tokens_BT: jax.Array,
    how: Execution,
    positions_BT: jax.Array | None,
    segment_ids_BT: jax.Array | None,
    dropout: Dropout | None,
) -> Pass:
    """A pass over whole rows, without a cache.  Raises: TooManyTokens."""
    T = tokens_BT.shape[1]
    if positions_BT is None:
        if config.max_position_embeddings < T:  # an index beyond a table reads its last row, silently
            raise TooManyTokens(f"{T} tokens a row; the model has {config.max_position_embeddings} positions")
        positions_BT = jnp.arange(T)[None]
    return Pass(how, positions_BT, segment_ids_BT=segment_ids_BT, dropout=dropout)


def extend(
    config: DecoderConfig,
    params: Params,
    cache: Cache,
    tokens_BT: jax.Array,
    slot: jax.Array,
    first_slot_B: jax.Array,
    *,
    dtype: Precision,
    attention: AttentionKernel = "plain",
) -> tuple[jax.Array, Cache]:
    """Write T more tokens a row into the cache at `slot`; return the last one's scores [B, V] and the new cache.

    Rows are padded on the left: row b holds tokens from `first_slot_B[b]` on, so all rows share one `slot`. Tokens that
    fill the whole cache meet nothing but themselves, in the way of `attention` and in `dtype`.
    """
    model = _module(config, params)
    position_BT = positions(slot, tokens_BT.shape[1], first_slot_B)
    this = Pass(Execution(dtype, attention), position_BT, slot, first_slot_B)
    hidden_BTD, cache = model.hidden(tokens_BT, cache, this, config)
    return model.head(hidden_BTD[:, -1:], dtype)[:, 0, : config.vocab_size], cache
