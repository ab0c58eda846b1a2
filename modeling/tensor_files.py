"""Tensor files: the weights of a model folder by name, read one at a time, in any of three formats.

safetensors and torch's zip format are read lazily; a flax msgpack is read whole. torch is not needed, and a torch
file's pickle can name nothing but what a tensor is made of.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from interface.errors import UserError

# In the order in which they are tried; patterns of each format's files.
WEIGHT_FILES = (
    ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
    ("flax_model.msgpack",),
    ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"),
)


class CheckpointError(UserError):
    """A model directory is missing, incomplete or does not fit its config."""


class Tensor(NamedTuple):
    """A stored tensor: its shape, and how to read it."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


Tensors = dict[str, Tensor]


def open_tensors(folder: Path) -> Tensors:
    """Find a folder's weights.  Raises: CheckpointError where there are none or a file is not what it should be."""
    for name, opener in (("model.safetensors", _open_safetensors), ("pytorch_model.bin", _open_torch)):
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
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of shards ({error!r}); fetch or write it again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index} names {name!r}, which is not a file of its own folder")
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is not there; fetch the missing shard")
    return [index.parent / name for name in names]


# --- safetensors --------------------------------------------------------------------------------------------------


def _open_safetensors(path: Path) -> Tensors:
    try:
        file = safe_open(path, framework="numpy")
        return {
            name: Tensor(tuple(file.get_slice(name).get_shape()), lambda name=name: file.get_tensor(name))  # type: ignore[misc]
            for name in file.keys()  # noqa: SIM118 (it has no iterator)
        }
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); fetch or write it again") from error


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
            value = node.T if last == "kernel" and node.ndim == 2 else node
            tensors[".".join([*parents, "weight"])] = Tensor(value.shape, lambda: value)
        else:
            tensors[".".join(names)] = Tensor(node.shape, lambda: node)

    walk(tree.get("params", tree), ())
    return tensors


# --- torch's zip format -------------------------------------------------------------------------------------------

_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype(np.float64),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
PICKLE_BYTES = 1 << 26  # names and shapes only: CodeGen-16B's takes a hundredth of this


class _Storage(NamedTuple):
    dtype: np.dtype
    entry: str
    numbers: int


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles a state dict of tensors; any other name is refused, so nothing can be called."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, prefix: str, path: Path) -> None:
        super().__init__(file)
        self._archive = archive
        self._entries = {info.filename: info for info in archive.infolist()}
        self._prefix = prefix
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise CheckpointError(f"{self._path} asks for {module}.{name}, which no tensor is made of; nothing was run")

    def persistent_load(self, saved: Any) -> _Storage:
        match saved:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count)) if key.isalnum():
                return self._stored(_Storage(dtype, f"{self._prefix}/data/{key}", count))
        raise CheckpointError(f"{self._path} refers to a storage as {str(saved)[:80]}; wanted torch's own form")

    def _stored(self, storage: _Storage) -> _Storage:
        """Check that the archive holds what a storage says, as it is: a compressed entry could be a bomb."""
        size = storage.numbers * storage.dtype.itemsize
        info = self._entries.get(storage.entry)
        if info is None or info.file_size != size or info.compress_type != zipfile.ZIP_STORED:
            found = "nothing" if info is None else f"{info.file_size} bytes, {info.compress_size} in the file"
            raise CheckpointError(f"{self._path} holds {found} at {storage.entry}; wanted {size}. Fetch it again")
        return storage

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
        whole = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in whole):
            raise CheckpointError(f"{self._path} describes a tensor that cannot be; fetch it again")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if prod(shape) else 0
        if last >= max(storage.numbers, 1):
            raise CheckpointError(
                f"{self._path} describes a tensor of shape {tuple(shape)} that reaches past its {storage.numbers} "
                "stored numbers; fetch it again"
            )

        def read() -> np.ndarray:
            data = self._archive.read(storage.entry)
            flat = np.frombuffer(data, storage.dtype)
            steps = [stride * storage.dtype.itemsize for stride in strides]
            return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)

        return Tensor(tuple(shape), read)


def _open_torch(path: Path) -> Tensors:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is no zip archive: it is cut short, or was written by torch before 1.6. Fetch it again, or load "
            "and save it once with a newer torch"
        ) from error
    pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > PICKLE_BYTES:
        raise CheckpointError(f"{path} is a zip archive but no torch checkpoint; wanted one data.pkl in it")
    prefix = pickles[0].filename.rsplit("/", 1)[0]
    try:
        with archive.open(pickles[0]) as file:
            state = _TensorUnpickler(file, archive, prefix, path).load()
    except CheckpointError:
        raise
    except Exception as error:  # a pickle of garbage can raise anything
        raise CheckpointError(f"{path} holds no state dict that can be read ({error!r}); fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path} holds no plain state dict; wanted tensors by name")
    return {str(name): tensor for name, tensor in state.items()}
