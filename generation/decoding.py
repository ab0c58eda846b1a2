"""Decoding: the compiled steps over a key-value cache, on all devices alike.

Every shape is fixed by the settings and the prompts' bucket: a prefill is of four rows a device, a step of `rows` rows,
whether they hold a job or not. So the bits of a row depend on neither its company nor the number of devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from generation.sampling import choose
from interface.choices import AttentionKernel, Precision
from modeling.config import DecoderConfig
from modeling.decoder import extend, family, init_cache
from modeling.layers import Cache
from modeling.loss import cross_entropy
from modeling.table import Params, Row, get, map_rows

CHUNK = 16  # tokens decoded before the host looks for stop strings
ROWS = P("rows")  # every array of a batch is split over the devices by its rows


class State(NamedTuple):
    """A batch between two steps: scores of the next token, float32 [N, V], and the cache, [N, H, S, K] a layer."""

    logits_NV: jax.Array
    cache: Cache


class Choice(NamedTuple):
    """How to choose tokens: numbers that a compiled step takes as arguments."""

    seed: int | jax.Array
    temperature: float | jax.Array
    top_k: int | jax.Array
    top_p: float | jax.Array


class Shape(NamedTuple):
    """What a compiled step is made for."""

    mesh: Mesh
    config: DecoderConfig
    dtype: Precision

    @property
    def on_cpu(self) -> bool:
        return bool(self.mesh.devices.flat[0].platform == "cpu")

    @property
    def cache_dtype(self) -> Precision:
        """A CPU multiplies batches in float32 only, and converting the cache at each step costs more than reading."""
        return "float32" if self.on_cpu else self.dtype

    @property
    def attention(self) -> AttentionKernel:
        """How a prompt attends to itself. In blocks its layers, unrolled, would take an accelerator long to compile."""
        return "blocked" if self.on_cpu else "plain"


def hold(config: DecoderConfig, params: Params, dtype: Precision) -> Params:
    """Params as a step reads them: matrices as `dtype` (their bytes are its time), each layer's tensors on their own.

    Cut out of the stack inside a step they would be copied every time.
    """

    def leaf(row: Row) -> jax.Array | tuple[jax.Array, ...]:
        value = jnp.asarray(get(params, row.path), row.precision(dtype))
        return tuple(jnp.unstack(value)) if row.stacked else value

    return map_rows(family(config).table, leaf)


def place(
    config: DecoderConfig, params: Params, dtype: Precision, devices: Sequence[jax.Device]
) -> tuple[Shape, Params]:
    """Copy params, as a step reads them, to every device."""
    shape = Shape(Mesh(np.array(devices), ("rows",)), config, dtype)
    return shape, jax.device_put(hold(config, params, dtype), NamedSharding(shape.mesh, P()))


@partial(jax.jit, static_argnums=0)
def prefill(shape: Shape, params: Params, tokens_NT: jax.Array, first_slot_N: jax.Array) -> State:
    """Run prompts, equally many on each device; they are padded on the left, up to `first_slot_N`."""

    def one(params: Params, tokens_NT: jax.Array, first_slot_N: jax.Array) -> State:
        cache = init_cache(shape.config, tokens_NT.shape[0], tokens_NT.shape[1], shape.cache_dtype)
        return State(
            *extend(
                shape.config, params, cache, tokens_NT, jnp.int32(0), first_slot_N,
                dtype=shape.dtype, attention=shape.attention,
            )
        )  # fmt: skip

    return jax.shard_map(one, mesh=shape.mesh, in_specs=(P(), ROWS, ROWS), out_specs=ROWS, check_vma=False)(
        params, tokens_NT, first_slot_N
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def empty(shape: Shape, rows: int, slots: int) -> State:
    """A batch of `rows` rows a device that holds no prompt yet."""

    def one() -> State:
        logits_NV = jnp.zeros((rows, shape.config.vocab_size))
        return State(logits_NV, init_cache(shape.config, rows, slots, shape.cache_dtype))

    return jax.shard_map(one, mesh=shape.mesh, in_specs=(), out_specs=ROWS, check_vma=False)()


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def spread(shape: Shape, batch: State, prompts: State, edges_N2: jax.Array) -> State:
    """Copy each prefilled prompt into its device's rows from its first edge up to, not including, its second."""

    def one(batch: State, prompts: State, edges_N2: jax.Array) -> State:
        for number in range(edges_N2.shape[0]):
            mine = jax.tree.map(lambda leaf: leaf[number : number + 1], prompts)  # noqa: B023  (used in this turn only)

            def put(row: jax.Array, batch: State, mine: State = mine) -> State:
                return jax.tree.map(
                    lambda all, new: jax.lax.dynamic_update_slice(all, new, (row, *[0] * (new.ndim - 1))), batch, mine
                )

            batch = jax.lax.fori_loop(edges_N2[number, 0], edges_N2[number, 1], put, batch)
        return batch

    return jax.shard_map(one, mesh=shape.mesh, in_specs=(ROWS,) * 3, out_specs=ROWS, check_vma=False)(
        batch, prompts, edges_N2
    )


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def decode(
    shape: Shape,
    num_tokens: int,
    params: Params,
    batch: State,
    first_slot_N: jax.Array,
    numbers_N: jax.Array,
    slot: jax.Array,
    already: jax.Array,
    choice: Choice,
) -> tuple[jax.Array, jax.Array, State]:
    """Decode CHUNK tokens a row: int32 [N, CHUNK], their log-probabilities, and the batch after them.

    A row draws from a key of its own: the seed, its two numbers (of the prompt's name, and the sample's) and the
    token's place.
    """

    def key(numbers: jax.Array, place: jax.Array) -> jax.Array:
        mine = jax.random.fold_in(jax.random.fold_in(jax.random.key(choice.seed), numbers[0]), numbers[1])
        return jax.random.fold_in(mine, place)

    def step(
        params: Params, first_slot_N: jax.Array, numbers_N: jax.Array, batch: State, i: jax.Array
    ) -> tuple[State, tuple[jax.Array, jax.Array]]:
        logits_NV, cache = batch
        keys_N = jax.vmap(key, in_axes=(0, None))(numbers_N, already + i)
        # rows of the table beyond the tokenizer's ids (GPT-J has 143) stand for no text
        possible_NV = jnp.where(jnp.arange(logits_NV.shape[-1]) < num_tokens, logits_NV, jnp.finfo(jnp.float32).min)
        token_N = choose(possible_NV, keys_N, choice.temperature, choice.top_k, choice.top_p)
        chance_N = -cross_entropy(logits_NV, token_N, logits_NV.shape[-1])
        after = extend(shape.config, params, cache, token_N[:, None], slot + i, first_slot_N, dtype=shape.dtype)
        return State(*after), (token_N, chance_N)

    def chunk(
        params: Params, batch: State, first_slot_N: jax.Array, numbers_N: jax.Array
    ) -> tuple[jax.Array, jax.Array, State]:
        one = partial(step, params, first_slot_N, numbers_N)
        batch, (tokens, chances) = jax.lax.scan(one, batch, jnp.arange(CHUNK))
        return tokens.T, chances.T, batch

    return jax.shard_map(chunk, mesh=shape.mesh, in_specs=(P(), ROWS, ROWS, ROWS), out_specs=ROWS, check_vma=False)(
        params, batch, first_slot_N, numbers_N
    )
