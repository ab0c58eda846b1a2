"""Train state: params, optimizer state and step on disk and back (Orbax), and params on one host.

Each process writes the shards that its own devices hold, in the background, and reads those that it needs. No device
and no process ever holds more than its part, but for the params' copy on the host of process 0, which writes the model.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from modeling.table import Params, Row, Table, get, map_rows
from training.quiet import quiet_writes


class StateWriter:
    """Writer of train states; one at a time is under way."""

    def __init__(self) -> None:
        self._closing = ExitStack()
        self._closing.enter_context(quiet_writes())
        self._orbax = ocp.StandardCheckpointer()
        self._closing.callback(self._orbax.close)

    def start(self, folder: Path, state: Any) -> None:
        """Begin to write; returns once `state` may be donated. Every process of the run calls it with its own."""
        self._orbax.save(folder.absolute(), jax.tree.map(_across, state))

    def wait(self) -> None:
        """Wait until all processes have written what was begun."""
        self._orbax.wait_until_finished()

    def close(self) -> None:
        self._closing.close()


def restore_state(folder: Path, abstract_state: Any) -> Any:
    """Read a train state into the shapes, types and places of `abstract_state`."""
    wide = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_wide(leaf.sharding)), abstract_state
    )
    with ocp.StandardCheckpointer() as reader:
        found = reader.restore(folder.absolute(), wide)
    return jax.tree.map(lambda leaf, wanted: _within(leaf, wanted.sharding), found, abstract_state)


def params_on_host(table: Table, params: Params) -> Params | None:
    """A copy of all params that later steps leave alone, on the host of process 0; None on the others.

    On CPU it is none: a buffer that numpy looks at is not donated. Where no process holds all of the params, each
    tensor is put together on all devices, handed over and dropped before the next; every process must call this.
    """
    here = jax.process_index() == 0

    def whole(row: Row) -> np.ndarray | None:
        leaf = get(params, row.path)
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return np.asarray(leaf if leaf.is_fully_addressable else leaf.addressable_data(0)) if here else None
        gather = _gather(NamedSharding(leaf.sharding.mesh, PartitionSpec()), row.stacked)
        copy = np.empty(leaf.shape, leaf.dtype) if here else None
        for layer in range(leaf.shape[0]) if row.stacked else (...,):
            part = gather(leaf, layer if row.stacked else 0).block_until_ready().addressable_data(0)
            if copy is not None:
                copy[layer] = part
        return copy

    if here:
        for leaf in jax.tree.leaves(params):
            if leaf.is_fully_addressable:
                leaf.copy_to_host_async()  # all transfers at once
    found = map_rows(table, whole)
    return found if here else None


@lru_cache
def _gather(everywhere: NamedSharding, stacked: bool) -> Any:
    return jax.jit(lambda leaf, layer: leaf[layer] if stacked else leaf, out_shardings=everywhere)


# --- what every process holds whole, as one array over all of them: Orbax knows no other --------------------------


def _wide(sharding: Sharding) -> Sharding:
    if jax.process_count() == 1 or not sharding.is_fully_addressable:
        return sharding
    return NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec())


def _across(leaf: jax.Array) -> jax.Array:
    return _within(leaf, _wide(leaf.sharding))


def _within(leaf: jax.Array, sharding: Sharding) -> jax.Array:
    """The same shards of an array under another name of where they lie."""
    if leaf.sharding == sharding:
        return leaf
    parts = [shard.data for shard in leaf.addressable_shards]
    return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts)
