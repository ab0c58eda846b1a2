"""Layers: parameters of a table as NNX modules, and the walk through a stack of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from modeling.config import DecoderConfig
from modeling.dropout import Dropout
from modeling.execution import Execution
from modeling.table import Table, initial_value

LayerCache = tuple[jax.Array, jax.Array]  # keys and values, [B, H, S, K]
Cache = tuple[LayerCache, ...]
Block = dict[str, Any]  # a block's leaves by name


class Pass(NamedTuple):
    """What a forward pass is told beside params and tokens: the same for all its layers.

    `position_BT`: the position of each token in its text, int32 [B or 1, T].
    `slot`, `first_slot_B`: with a cache, where this piece begins in it, and each row's first slot that holds a token
        (rows are padded on the left).
    `segment_ids_BT`: tokens of a row see each other only where these agree; None: all of a row is one text.
    """

    how: Execution
    position_BT: jax.Array
    slot: jax.Array | int = 0
    first_slot_B: jax.Array | None = None
    segment_ids_BT: jax.Array | None = None
    dropout: Dropout | None = None


class Leaves(nnx.Module):
    """The parameters of a table below one prefix, as attributes; their first values are drawn from `key`."""

    def __init__(self, table: Table, prefix: str, config: DecoderConfig, key: jax.Array) -> None:
        for row in table:
            group, name = row.path.split(".")
            if group == prefix:
                setattr(self, name, nnx.Param(initial_value(row, config.sizes, config.initializer_range, key)))


def run_blocks(
    blocks: nnx.Module, x_BTD: jax.Array, cache: Cache | None, this: Pass, config: DecoderConfig
) -> tuple[jax.Array, Cache | None]:
    """Apply one block after the other; `blocks` holds all layers' leaves stacked.

    Called with a layer's own leaves, a block maps (x, cache, this, config, layer, window) to (x, cache). Decoding (with
    a cache) is always unrolled: a scan would copy the cache for each token.
    """
    windows = config.windows
    structure, stacked = nnx.split(blocks)
    leaves = nnx.to_pure_dict(stacked)

    def run(own: Block, x: jax.Array, old: LayerCache | None, layer: Any, window: int | None) -> Any:
        block: Any = nnx.merge(structure, own)
        return block(_keep_rows(x, this.how), old, this, config, layer, window)

    if cache is not None:
        caches = []
        for layer, own in enumerate(_unstack(leaves)):
            x_BTD, new = run(own, x_BTD, cache[layer], layer, windows[layer])
            caches.append(new)
        return x_BTD, tuple(caches)

    def forward(held: Block, x: jax.Array, layer: Any, window: int | None, own: Callable[[Block], Block]) -> jax.Array:
        """`own` takes the layer's leaves out of `held`, inside of what the backward pass computes again: taken out
        before, a scan would keep a copy of each layer's leaves for it, all parameters once more."""

        def block(held: Block, x: jax.Array, layer: Any) -> jax.Array:
            return run(own(held), x, None, layer, window)[0]

        return _remat(block, this.how)(held, x, layer)

    if not this.how.scan:
        for layer, leaves_of_layer in enumerate(_unstack(leaves)):
            x_BTD = forward(leaves_of_layer, x_BTD, layer, windows[layer], lambda held: held)
        return x_BTD, None

    p = period(windows)

    def one_period(x: jax.Array, turn: tuple[jax.Array, Block]) -> tuple[jax.Array, None]:
        number, stacks = turn
        for place in range(p):
            x = forward(stacks, x, number * p + place, windows[place], partial(_layer, place))
        return x, None

    turns = jax.tree.map(lambda leaf: leaf.reshape(-1, p, *leaf.shape[1:]), leaves)
    return jax.lax.scan(one_period, x_BTD, (jnp.arange(len(windows) // p), turns))[0], None


def _keep_rows(x_BTD: jax.Array, how: Execution) -> jax.Array:
    """On a mesh, cut the residual stream by rows and nothing else. Left alone, XLA may cut its width as the weights'
    is cut, and then it sums activations over devices instead of fetching weights, which are fewer."""
    return jax.lax.with_sharding_constraint(x_BTD, PartitionSpec(how.rows_over)) if how.rows_over else x_BTD


def _layer(place: int, stacks: Block) -> Block:
    return _unstack(stacks)[place]


def _unstack(leaves: Block) -> list[Block]:
    """Each layer's own leaves; a leaf is a stack, or already a tuple of its layers (see generation.decoding).

    A stack is unstacked as a whole: the transpose of that is one concatenation, where slicing each layer out would add
    L arrays of full size in the backward pass.
    """

    def layers(leaf: Any) -> Sequence[Any]:
        if isinstance(leaf, tuple):
            return leaf
        stacks, structure = jax.tree.flatten(leaf)  # one of an array, three of an adapted matrix
        return [jax.tree.unflatten(structure, own) for own in zip(*map(jnp.unstack, stacks), strict=True)]

    return [dict(zip(leaves, own, strict=True)) for own in zip(*map(layers, leaves.values()), strict=True)]


def _remat(function: Callable[..., jax.Array], how: Execution) -> Callable[..., jax.Array]:
    if how.remat == "none":
        return function
    policies = jax.checkpoint_policies
    return jax.checkpoint(function, policy=policies.checkpoint_dots if how.remat == "dots" else None)


def period(windows: Sequence[int | None]) -> int:
    """Layers after which the pattern of attention repeats; it divides their number."""
    L = len(windows)
    return next(p for p in range(1, L + 1) if L % p == 0 and all(windows[i] == windows[i % p] for i in range(L)))


def look_up(table_RD: jax.Array, index: jax.Array, how: Execution) -> jax.Array:
    """Rows of an embedding table as float32: [..., D]; the residual stream is float32 whatever the table holds."""
    if how.rows_over:  # fetch the table's whole width before, as of every weight, not the rows' width after
        unconstrained = PartitionSpec.UNCONSTRAINED
        table_RD = jax.lax.with_sharding_constraint(table_RD, PartitionSpec(unconstrained, None))
    if table_RD.dtype != jnp.bfloat16:
        return table_RD[index].astype(jnp.float32)
    return _look_up_bits(table_RD, index).astype(jnp.float32)


@jax.custom_vjp
def _look_up_bits(table_RD: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of a bfloat16 table as bfloat16, fetched as their bits: XLA's CPU backend would convert the whole table
    first, at every call. A change of bits has no gradient of its own, so the plain one is given."""
    bits = jax.lax.bitcast_convert_type(table_RD, jnp.uint16)[index]
    return jax.lax.bitcast_convert_type(bits, jnp.bfloat16)


_look_up_bits.defvjp(
    lambda table_RD, index: (_look_up_bits(table_RD, index), (jnp.zeros_like(table_RD), index)),
    lambda saved, rows: (saved[0].at[saved[1]].add(rows), None),
)


def sites(layer: Any) -> tuple[Any, Any, Any]:
    """Where a layer drops: its attention weights, what attention adds, what the MLP adds; 0 is after the embeddings."""
    return 3 * layer + 1, 3 * layer + 2, 3 * layer + 3


def positions(slot: jax.Array, length: int, first_slot_B: jax.Array) -> jax.Array:
    """Position of each cached token in its own row: int32 [B, T]; rows are padded on the left up to `first_slot_B`."""
    slot_T = slot + jnp.arange(length)
    return jnp.maximum(slot_T[None] - first_slot_B[:, None], 0)
