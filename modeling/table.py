"""Parameter table: one row a tensor, from which everything about a family's weights follows.

A family lists its rows once. Shapes, initial values, the weight-decay mask, the parameter count, and both directions
of the Hugging Face conversion are read from there; nothing is guessed from a name or from a number of axes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]  # a plain nested dict of arrays
Sizes = Mapping[str, int]  # axis letter -> length


@dataclass(frozen=True)
class Layout:
    """An invertible change of layout between a Hugging Face tensor and ours."""

    from_hf: Callable[[np.ndarray], np.ndarray]
    to_hf: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda x: x, lambda x: x)


@dataclass(frozen=True)
class Row:
    """One tensor.

    `path`: where it lies in our params, parts joined by dots.
    `hf`: its Hugging Face name; `{layer}` stands for the layer number of a tensor that we stack.
    `axes`: its axes in our layout, separated by spaces, each a letter, a digit or a product of them ("L 3 HK D").
            L is the layer axis and V the vocabulary, padded in memory.
    `init`: the standard deviation's name in the config, "zeros" or "ones".
    `kind`: "matrix" (multiplied with activations), "head" (so too, and its rows are the vocabulary's; a tied one is
            also looked up), "lookup" (read by index) or "vector" (added or multiplied element by element).
    """

    path: str
    hf: str
    axes: str
    init: str
    kind: Literal["matrix", "head", "lookup", "vector"]
    layout: Layout = SAME

    @property
    def decay(self) -> bool:
        """Whether weight decay applies: never to biases and to the scales of norms."""
        return self.kind != "vector"

    def precision(self, dtype: str) -> str:
        """The type of a tensor where weights are held as `dtype`: vectors, which cost no memory, stay float32."""
        return dtype if self.decay else "float32"

    @property
    def multiplied(self) -> bool:
        """Whether each of its numbers takes part in one product a token."""
        return self.kind in ("matrix", "head")

    @property
    def stacked(self) -> bool:
        return self.axes.split()[0] == "L"

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(prod(_length(letter, sizes) for letter in axis) for axis in self.axes.split())

    def hf_shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Shape of the Hugging Face tensor: of one layer where ours is stacked."""
        shape = self.shape(sizes)[1:] if self.stacked else self.shape(sizes)
        return self.layout.to_hf(np.empty(shape, np.bool_)).shape

    def hf_names(self, sizes: Sizes) -> list[str]:
        return [self.hf.format(layer=layer) for layer in range(sizes["L"])] if self.stacked else [self.hf]


Table = Sequence[Row]


def _length(letter: str, sizes: Sizes) -> int:
    return int(letter) if letter.isdigit() else sizes[letter]


def put(tree: Params, path: str, value: Any) -> None:
    """Store `value` at a dotted path of a nested dict."""
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def get(tree: Params, path: str) -> Any:
    """Read the value at a dotted path of a nested dict."""
    for name in path.split("."):
        tree = tree[name]
    return tree


def map_rows(table: Table, function: Callable[[Row], Any]) -> Params:
    """A tree in the shape of the params, its leaves made from their rows."""
    tree: Params = {}
    for row in table:
        put(tree, row.path, function(row))
    return tree


def initial_value(row: Row, sizes: Sizes, deviation: float, key: jax.Array) -> jax.Array:
    """Draw a tensor's first value in float32; each row folds its own name into the key, so order does not matter."""
    shape = row.shape(sizes)
    if row.init == "zeros":
        return jnp.zeros(shape, jnp.float32)
    if row.init == "ones":
        return jnp.ones(shape, jnp.float32)
    return deviation * jax.random.normal(jax.random.fold_in(key, zlib.crc32(row.path.encode())), shape, jnp.float32)


def decay_mask(table: Table) -> Params:
    """True where weight decay applies."""
    return map_rows(table, lambda row: row.decay)


def count_parameters(table: Table, sizes: Sizes) -> int:
    """Count parameters at the given sizes; pass the unpadded vocabulary as V to count what is published."""
    return sum(prod(row.shape(sizes)) for row in table)


# Which mesh axis cuts which axis of a matrix: heads, MLP and vocabulary over "tensor", the model's width over "fsdp".
_MESH_AXES = {"HK": "tensor", "F": "tensor", "V": "tensor", "D": "fsdp"}


def partition(row: Row, sizes: Sizes, mesh: Mapping[str, int]) -> tuple[str | None, ...]:
    """The mesh axis that cuts each axis of a tensor; `mesh` gives the axes' lengths. Vectors are whole everywhere.

    An axis that does not divide, or whose heads do not, stays whole.
    """
    if row.kind == "vector":
        return (None,) * len(row.axes.split())

    def cut(axis: str, length: int) -> str | None:
        name = _MESH_AXES.get(axis)
        parts = mesh.get(name, 1) if name else 1
        return name if parts > 1 and (sizes["H"] if axis == "HK" else length) % parts == 0 else None

    return tuple(map(cut, row.axes.split(), row.shape(sizes)))


def pad_vocabulary(row: Row, value: np.ndarray, rows: int) -> np.ndarray:
    """Append zero rows to a tensor's vocabulary axis until it has `rows` of them."""
    axes = row.axes.split()
    if "V" not in axes:
        return value
    widths = [(0, rows - value.shape[i] if axis == "V" else 0) for i, axis in enumerate(axes)]
    return np.pad(value, widths) if any(after for _, after in widths) else value


def cut_vocabulary(row: Row, value: np.ndarray, rows: int) -> np.ndarray:
    """Drop the padding of a tensor's vocabulary axis."""
    return value[tuple(slice(rows) if axis == "V" else slice(None) for axis in row.axes.split())]


def hf_entries(table: Table, sizes: Sizes) -> dict[str, tuple[Row, int | None]]:
    """Every Hugging Face name, with its row and, where ours is stacked, its layer."""
    return {
        name: (row, layer if row.stacked else None) for row in table for layer, name in enumerate(row.hf_names(sizes))
    }


def hf_tensor(row: Row, layer: int | None, params: Params, vocabulary: int) -> np.ndarray:
    """One tensor as Hugging Face has it: in its layout there, without vocabulary padding."""
    leaf = get(params, row.path)
    value = np.asarray(leaf if layer is None else leaf[layer])
    if layer is None:  # no stacked row has a vocabulary axis
        value = cut_vocabulary(row, value, vocabulary)
    return np.ascontiguousarray(row.layout.to_hf(value))


def hf_tensors(table: Table, sizes: Sizes, params: Params, vocabulary: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every tensor under its Hugging Face name."""
    for name, (row, layer) in hf_entries(table, sizes).items():
        yield name, hf_tensor(row, layer, params, vocabulary)
