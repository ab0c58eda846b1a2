"""Placement: where state and batch lie, and how sums cross devices.

Two placements of one step. `DataParallel` is pmap with `in_axes=(None, 0), out_axes=None`: every device holds the
whole state, which has no device axis, so checkpoint and export see the same tree whatever the number of devices.
`MeshPlacement` is jit over a mesh of data x fsdp x tensor: parameters and optimizer state are cut as the family's table
says, the rows of a batch over data and fsdp.

A batch is cut into `num_shards` shares of rows, one after the other in the global batch. Each process loads the rows
that its own devices work on.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from interface.errors import UserError
from modeling.config import DecoderConfig
from modeling.cost import MESH_AXES
from modeling.decoder import family
from modeling.execution import Execution
from modeling.table import partition

AXIS = "data"
ROWS_OVER = ("data", "fsdp")  # the mesh axes that cut a batch's rows


class BadMesh(UserError):
    """A mesh does not fit the devices or the model."""


class Placement(ABC):
    """What a run asks of a placement."""

    num_shards: int  # shares that the rows of a batch are cut into

    @abstractmethod
    def execution(self, how: Execution) -> Execution:
        """`how`, as this placement runs it."""

    @abstractmethod
    def sum_over_devices(self, tree: Any) -> Any:
        """Inside a step, the sum over all devices of what each has computed."""

    @abstractmethod
    def shardings(self, tree: Any) -> Any:
        """Where each array of a tree of params, or of a state that holds some, lies."""

    @abstractmethod
    def rows(self, total: int) -> np.ndarray:
        """The rows of a global batch that this process loads, in the order in which `put` wants them."""

    @abstractmethod
    def put(self, batch: Mapping[str, np.ndarray], microbatches: int | None = None) -> Any:
        """Place this process's rows: [rows, ...] for an evaluation, cut into microbatches for a train step."""

    @abstractmethod
    def flag(self, raised: bool) -> Any:
        """Place this process's flag, so that the sum over a batch's flags counts the devices that have it."""

    @abstractmethod
    def compile_step(self, step: Callable[..., Any], state: Any, batch: Any, *held: Any) -> Any:
        """Compile a train step for these shapes; the old state's memory is reused for the new one.

        `held` are further arguments, which lie as a state does and stay as they are.
        """

    @abstractmethod
    def map_eval(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """An evaluation step as a function of (params, placed batch)."""

    def make(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Compute a state where it belongs: no device ever holds more than its part."""
        wanted = self.shardings(jax.eval_shape(function, *arguments))
        return jax.jit(function, out_shardings=wanted)(*arguments)

    def abstract(self, tree: Any) -> Any:
        """Shapes, types and places of a tree: what a checkpoint is restored to."""
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree, self.shardings(tree)
        )


class DataParallel(Placement):
    """Replicated state, a share of the batch a device."""

    def __init__(self) -> None:
        self.num_shards = jax.device_count()
        self._local = len(jax.local_devices())
        # each process has its own whole state: pmap takes and gives arrays of its own devices
        self._replicated = NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())

    def execution(self, how: Execution) -> Execution:
        return how

    def sum_over_devices(self, tree: Any) -> Any:
        # XLA's CPU backend copies all gradients even where there is nobody to add
        return jax.lax.psum(tree, AXIS) if self.num_shards > 1 else tree

    def shardings(self, tree: Any) -> Any:
        return jax.tree.map(lambda _: self._replicated, tree)

    def rows(self, total: int) -> np.ndarray:
        share = total // self.num_shards * self._local
        return jax.process_index() * share + np.arange(share)

    def put(self, batch: Mapping[str, np.ndarray], microbatches: int | None = None) -> Any:
        lead = (self._local,) if microbatches is None else (self._local, microbatches)
        return {name: array.reshape(*lead, -1, *array.shape[1:]) for name, array in batch.items()}

    def flag(self, raised: bool) -> Any:
        return np.full(self._local, raised, np.int32)

    def compile_step(self, step: Callable[..., Any], state: Any, batch: Any, *held: Any) -> Any:
        in_axes = (None, 0, *(None for _ in held))
        mapped = jax.pmap(step, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=(0,))
        # what is compiled ahead takes arrays of all processes' devices; pmap itself takes this process's and joins them
        return mapped.lower(state, batch, *held).compile() if jax.process_count() == 1 else mapped

    def map_eval(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=None)


class MeshPlacement(Placement):
    """State cut over fsdp and tensor, rows over data and fsdp.  Raises: BadMesh."""

    def __init__(self, config: DecoderConfig, lengths: Mapping[str, int], devices: np.ndarray | None = None) -> None:
        shape = tuple(lengths.get(axis, 1) for axis in MESH_AXES)
        there = jax.device_count() if devices is None else devices.size
        if np.prod(shape) != there:
            asked = ",".join(f"{axis}={length}" for axis, length in zip(MESH_AXES, shape))
            raise BadMesh(
                f"--mesh {asked} is for {np.prod(shape)} devices; there are {there}. Make the product {there}"
            )
        if config.num_heads % shape[2]:
            raise BadMesh(
                f"--mesh tensor={shape[2]} does not divide the model's {config.num_heads} heads; take a divisor"
            )
        types = (AxisType.Auto,) * len(shape)
        if devices is None:
            self.mesh = jax.make_mesh(shape, MESH_AXES, axis_types=types)
        else:
            self.mesh = Mesh(devices.reshape(shape), MESH_AXES, axis_types=types)
        self.num_shards = shape[0] * shape[1]
        self._whole = NamedSharding(self.mesh, PartitionSpec())
        sizes = dict(zip(MESH_AXES, shape))
        self._cut = {
            tuple(row.path.split(".")): NamedSharding(self.mesh, PartitionSpec(*partition(row, config.sizes, sizes)))
            for row in family(config).table
        }

    def execution(self, how: Execution) -> Execution:
        return replace(how, rows_over=ROWS_OVER)

    def sum_over_devices(self, tree: Any) -> Any:
        """Sums over a batch are over all of it already; what has the shape of params is cut as they are."""
        return jax.lax.with_sharding_constraint(tree, self.shardings(tree))

    def shardings(self, tree: Any) -> Any:
        def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            names = tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))
            cut = self._cut.get(names[-2:], self._whole)
            return cut if leaf.ndim == len(cut.spec) else self._whole  # an optimizer may keep less of a parameter

        return jax.tree_util.tree_map_with_path(place, tree)

    def rows(self, total: int) -> np.ndarray:
        share = total // self.num_shards
        here = jax.process_index()
        coordinates = [place for place, device in np.ndenumerate(self.mesh.devices) if device.process_index == here]
        shares = sorted({place[0] * self.mesh.devices.shape[1] + place[1] for place in coordinates})
        return np.concatenate([number * share + np.arange(share) for number in shares])

    def put(self, batch: Mapping[str, np.ndarray], microbatches: int | None = None) -> Any:
        """[rows, ...], or [microbatches, rows, ...] in which each device's shares of the microbatches are its rows."""
        return {name: self._put(array, microbatches) for name, array in batch.items()}

    def _put(self, rows: np.ndarray, microbatches: int | None) -> jax.Array:
        if microbatches is None:
            return jax.make_array_from_process_local_data(NamedSharding(self.mesh, PartitionSpec(ROWS_OVER)), rows)
        own = len(self.rows(self.num_shards))  # shares of this process
        cut = rows.reshape(own, microbatches, -1, *rows.shape[1:]).swapaxes(0, 1)
        cut = cut.reshape(microbatches, -1, *rows.shape[1:])
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, PartitionSpec(None, ROWS_OVER)), cut)

    def flag(self, raised: bool) -> Any:
        own = np.full(len(self.mesh.local_devices), raised, np.int32)  # rows may be those of two processes, and differ
        return jax.make_array_from_process_local_data(NamedSharding(self.mesh, PartitionSpec(MESH_AXES)), own)

    def compile_step(self, step: Callable[..., Any], state: Any, batch: Any, *held: Any) -> Any:
        with self._in_use():
            compiled = jax.jit(step, out_shardings=(self.shardings(state), self._whole), donate_argnums=(0,)).lower(
                state, batch, *held
            )
            return compiled.compile()

    def map_eval(self, step: Callable[..., Any]) -> Callable[..., Any]:
        jitted = jax.jit(step, out_shardings=self._whole)

        def evaluate(params: Any, batch: Any) -> Any:
            with self._in_use():
                return jitted(params, batch)

        return evaluate

    def _in_use(self) -> contextlib.AbstractContextManager[Any]:
        return jax.set_mesh(self.mesh)


def bind(step: Callable[..., Any], placement: Placement, *, how: Execution, **arguments: Any) -> Callable[..., Any]:
    """A step with everything but state and batch filled in."""
    return partial(step, sum_over_devices=placement.sum_over_devices, how=placement.execution(how), **arguments)
