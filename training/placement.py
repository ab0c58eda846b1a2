"""Placement: where state and batch lie, and how sums cross devices.

`DataParallel` is pmap with `in_axes=(None, 0), out_axes=None`: every device holds the whole state, and the state has
no device axis, so checkpoint and export see the same tree whatever the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"


class DataParallel:
    """Replicated state, a share of the batch a device."""

    def __init__(self) -> None:
        self.num_devices = jax.device_count()
        self._replicated = NamedSharding(Mesh(np.array(jax.devices()), (AXIS,)), PartitionSpec())

    @staticmethod
    def sum_over_devices(tree: Any) -> Any:
        return jax.lax.psum(tree, AXIS)

    def shardings(self, tree: Any) -> Any:
        """Where each array of a tree lies: on every device, whole."""
        return jax.tree.map(lambda _: self._replicated, tree)

    def replicate(self, tree: Any) -> Any:
        """Put a tree of arrays on every device."""
        return jax.device_put(tree, self._replicated)

    def abstract(self, tree: Any) -> Any:
        """Shapes, types and places of a replicated tree: what a checkpoint is restored to."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._replicated), tree)

    def split(self, batch: dict[str, np.ndarray], microbatches: int | None = None) -> dict[str, np.ndarray]:
        """Share [rows, ...] out as [devices, rows, ...], or [devices, microbatches, rows, ...] for a train step."""
        lead = (self.num_devices,) if microbatches is None else (self.num_devices, microbatches)
        return {name: array.reshape(*lead, -1, *array.shape[1:]) for name, array in batch.items()}

    def compile_step(self, step: Callable[..., Any], state: Any, batch: Any) -> Any:
        """Compile a train step for these shapes; the old state's memory is reused for the new one."""
        mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=(0,))
        return mapped.lower(state, batch).compile()

    def map_eval(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None)


def bind(step: Callable[..., Any], placement: DataParallel, **arguments: Any) -> Callable[..., Any]:
    """A step with everything but state and batch filled in."""
    return partial(step, sum_over_devices=placement.sum_over_devices, **arguments)
