"""Tensor files: the weights of a model folder by name, read one at a time, in any of three formats.

Of safetensors and torch's zip format only the rows that are asked for are read; a flax msgpack is read whole.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from modeling.tensor import CheckpointError, Tensor, Tensors, stored
from modeling.torch_files import open_torch

# In the order in which they are tried; patterns of each format's files.
WEIGHT_FILES = (
    ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
    ("flax_model.msgpack",),
    ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"),
    ("adapter_model.safetensors",),  # beside no other: a repository of adapters
)


def open_tensors(folder: Path) -> Tensors:
    """Find a folder's weights.  Raises: CheckpointError where there are none or a file is not what it should be."""
    for name, opener in (("model.safetensors", open_safetensors), ("pytorch_model.bin", open_torch)):
        if name == "pytorch_model.bin" and (folder / "flax_model.msgpack").is_file():
            return _open_flax(folder / "flax_model.msgpack")
        index = folder / f"{name}.index.json"
        if index.is_file():
            return {key: tensor for path in _shards(index) for key, tensor in opener(path).items()}
        if (folder / name).is_file():
            return opener(folder / name)
    raise CheckpointError(
        f"no weights in {folder}; wanted model.safetensors, flax_model.msgpack or pytorch_model.bin, "
        "the first and the last whole or as shards with their index"
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is no index of shards ({error!r}); fetch or write it again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index} names {name!r}, which is not a file of its own folder")
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is not there; fetch the missing shard")
    return [index.parent / name for name in names]


# --- safetensors --------------------------------------------------------------------------------------------------

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def open_safetensors(path: Path) -> Tensors:
    """The tensors of one file.  Raises: CheckpointError where it is not whole."""
    try:
        with safe_open(path, framework="numpy"):  # it checks the header against the file
            pass
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); fetch or write it again") from error
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    tensors: Tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            raise CheckpointError(f"{path} holds {name} as {entry['dtype']}; wanted one of {', '.join(_DTYPES)}")
        shape = tuple(entry["shape"])
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        tensors[name] = stored(path, _DTYPES[entry["dtype"]], 8 + size + entry["data_offsets"][0], shape, strides)
    return tensors


# --- flax msgpack -------------------------------------------------------------------------------------------------


def _open_flax(path: Path) -> Tensors:
    """Flax's names and layouts as torch's: kernels are transposed, scale and embedding are called weight."""
    from flax.serialization import msgpack_restore

    try:
        tree = msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack raises many kinds for bytes that are none of its own
        raise CheckpointError(f"{path} is not a flax msgpack ({error!r}); fetch or write it again") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} holds a {type(tree).__name__}; wanted a tree of parameters")
    tensors: Tensors = {}

    def walk(node: Any, names: tuple[str, ...]) -> None:
        if isinstance(node, dict):
            for name, child in node.items():
                walk(child, (*names, str(name)))
            return
        if not isinstance(node, np.ndarray):
            raise CheckpointError(f"{path} holds a {type(node).__name__} at {'.'.join(names)}; wanted an array")
        *parents, last = names
        if last in ("kernel", "scale", "embedding"):
            node = node.T if last == "kernel" and node.ndim == 2 else node
            last = "weight"
        tensors[".".join([*parents, last])] = Tensor(
            node.shape, lambda start=0, stop=None: node[start:stop] if node.ndim else node
        )

    walk(tree.get("params", tree), ())
    return tensors
