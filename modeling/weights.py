"""Weights: Hugging Face tensors as params, each read piece by piece into its place on its devices.

A whole model never lies on the host beside its devices' memory, nor does a whole stacked leaf: a leaf is made on its
devices, and then every device's part of it is filled a few rows at a time, on all devices in step.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from modeling.config import DecoderConfig
from modeling.table import SAME, Params, Row, Table, get, map_rows
from modeling.tensor import CheckpointError, Tensors

# 4 MiB. Larger ones are no faster, and the allocator keeps what it lent for them: loading 1.3 billion parameters takes
# 43, 83, 169 and 415 MB above them with pieces of 1, 4, 16 and 64 MiB.
PIECE_BYTES = 1 << 22
Box = tuple[slice, ...]  # a part of a leaf: where it starts and stops on each axis


def params_from_hf(
    table: Table,
    config: DecoderConfig,
    tensors: Tensors,
    ignored: tuple[str, ...],
    source: str,
    dtype: str = "float32",
    shardings: Params | None = None,
) -> Params:
    """Arrange Hugging Face tensors as our params on their devices.  Raises: CheckpointError naming every misfit.

    `shardings` is a tree like the params of NamedSharding; without it they lie on the default device. `dtype` is that
    of the matrices; biases and norms, which weight decay leaves alone, are always float32.
    """
    if not any(name.startswith("transformer.") for name in tensors):  # saved without a head, as the repository gpt2 is
        tensors = {name if name.startswith("lm_head.") else f"transformer.{name}": v for name, v in tensors.items()}
    _check_fit(table, config, tensors, ignored, source)

    def leaf(row: Row) -> jax.Array:
        reader = _Reader(row, config, tensors, jnp.dtype(row.precision(dtype)))
        return _fill(reader, None if shardings is None else get(shardings, row.path))

    return map_rows(table, leaf)


def _check_fit(table: Table, config: DecoderConfig, tensors: Tensors, ignored: tuple[str, ...], source: str) -> None:
    wanted = {name: row for row in table for name in row.hf_names(config.sizes)}
    missing = sorted(wanted.keys() - tensors.keys())
    unused = sorted(name for name in tensors.keys() - wanted.keys() if not any(re.fullmatch(p, name) for p in ignored))
    true_sizes = {**config.sizes, "V": config.vocab_size}
    misfits = []
    for name, row in wanted.items():
        if name in tensors and (found := tensors[name].shape) != (fit := row.hf_shape(true_sizes)):
            misfits.append(f"{name} {found}, wanted {fit}")
    if missing or unused or misfits:
        found_bad = [
            f"{len(names)} {what}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for what, names in (("missing", missing), ("unknown", unused), ("of another shape", misfits))
            if names
        ]
        raise CheckpointError(f"the weights in {source} do not fit its config: {'; '.join(found_bad)}")


class _Reader:
    """Any part of one leaf, in our layout, read from the tensors that it is made of."""

    def __init__(self, row: Row, config: DecoderConfig, tensors: Tensors, dtype: np.dtype) -> None:
        self.row = row
        self.shape = row.shape(config.sizes)
        self.dtype = dtype
        self._tensors = tensors
        self._names = row.hf_names(config.sizes)
        # devices in step often want different columns of the same rows
        self._rows = lru_cache(maxsize=1)(self._read_rows)

    def read(self, box: Box) -> np.ndarray:
        """What `box` of the leaf holds; vocabulary padding, which no file has, is zero."""
        bounds = [place.indices(length)[:2] for place, length in zip(box, self.shape, strict=True)]
        part = np.zeros([stop - start for start, stop in bounds], self.dtype)
        names, inner, parts = self._names, bounds, part[None]
        if self.row.stacked:
            names, inner, parts = self._names[slice(*bounds[0])], bounds[1:], part
        for name, target in zip(names, parts, strict=True):
            rows = self._rows(name, *inner[0])[:, *(slice(*bound) for bound in inner[1:])]
            target[: len(rows)] = rows
        return part

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        tensor = self._tensors[name]
        if self.row.layout is SAME:
            rows = tensor.read(start, min(stop, tensor.shape[0]))
        else:
            rows = self.row.layout.from_hf(tensor.read())[start:stop]
        # an integer or a double rounds once to float32 whatever the leaf's type, as it would in training
        return rows if rows.dtype.itemsize < 4 else rows.astype(np.float32, copy=False)


def _fill(reader: _Reader, sharding: NamedSharding | None) -> jax.Array:
    """One leaf on its devices."""
    shape, dtype = reader.shape, reader.dtype
    part = shape if sharding is None else sharding.shard_shape(shape)
    step = _step(reader, part)
    if step == part:  # one piece is all
        return _put(shape, sharding, reader.read)
    leaf = jnp.zeros(shape, dtype, device=sharding)
    write = _writer(sharding)
    for start in product(*(range(0, length, size) for length, size in zip(part, step, strict=True))):
        piece = tuple(min(size, length - at) for at, size, length in zip(start, step, part, strict=True))

        def read(index: Box, start: tuple[int, ...] = start, piece: tuple[int, ...] = piece) -> np.ndarray:
            """The device whose share of all the pieces is `index` wants this of the leaf."""
            places = [(at.start or 0) // size * length for at, size, length in zip(index, piece, part, strict=True)]
            corners = [place + at for place, at in zip(places, start, strict=True)]
            return reader.read(tuple(slice(at, at + size) for at, size in zip(corners, piece, strict=True)))

        pieces = tuple(whole // length * size for whole, length, size in zip(shape, part, piece, strict=True))
        leaf = write(leaf, _put(pieces, sharding, read), jnp.asarray(start, jnp.int32))
        leaf.block_until_ready()  # else the host reads ahead, and holds what it has read
    return leaf


def _step(reader: _Reader, part: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a piece: all of a device's part, or else some rows of one tensor of it."""
    if prod(part) * reader.dtype.itemsize <= PIECE_BYTES:
        return part
    lead = 1 if reader.row.stacked else 0
    row_bytes = prod(part[lead + 1 :]) * reader.dtype.itemsize
    rows = max(1, PIECE_BYTES // row_bytes) if reader.row.layout is SAME else part[lead]
    return (*(1,) * lead, min(rows, part[lead]), *part[lead + 1 :])


def _put(shape: tuple[int, ...], sharding: NamedSharding | None, read: Any) -> jax.Array:
    if sharding is None:
        return jnp.asarray(read((slice(None),) * len(shape)))
    return jax.make_array_from_callback(shape, sharding, read)


def _write(leaf: jax.Array, piece: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice(leaf, piece, tuple(start))


@lru_cache
def _writer(sharding: NamedSharding | None) -> Any:
    """Write a piece into a leaf in place: on each device its own piece into its own part."""
    if sharding is None:
        return jax.jit(_write, donate_argnums=0)
    spec = sharding.spec
    write = jax.shard_map(
        _write, mesh=sharding.mesh, in_specs=(spec, spec, PartitionSpec()), out_specs=spec, check_vma=False
    )
    return jax.jit(write, donate_argnums=0)
