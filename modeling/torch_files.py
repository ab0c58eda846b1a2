"""Torch files: the tensors of a checkpoint in torch's zip format, without torch.

A torch file holds a pickle, which could call anything and change anything that it gets hold of. Here it has only the
instructions that a state dict needs, and can name nothing but what a tensor is made of.
"""

from __future__ import annotations

import pickle
import reprlib
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import ml_dtypes
import numpy as np

from modeling.tensor import CheckpointError, Tensor, Tensors, stored

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


_INSTRUCTIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.MARK, pickle.STOP),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BINPERSID),
)


class _TensorUnpickler(pickle._Unpickler):
    """Unpickles a state dict of tensors; any other name or instruction is refused.

    Python's own unpickler in Python, because C's takes no other table of instructions. What it calls and gets are an
    OrderedDict, `_tensor`, and names of storages as text: no object that anybody else shares.
    """

    def _refuse(self) -> None:
        raise CheckpointError(
            f"{self._path} has an instruction that no state dict needs; nothing was run. Fetch it again"
        )

    def _forget_state(self) -> None:
        """BUILD: torch leaves `_metadata` on a state dict, which we do not need; nothing else has a state."""
        del self.stack[-1]
        if not isinstance(self.stack[-1], OrderedDict):
            raise CheckpointError(f"{self._path} sets a state where only a state dict has one; nothing was run")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **dict.fromkeys(range(256), _refuse),
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _INSTRUCTIONS},
        pickle.BUILD[0]: _forget_state,
    }
    stack: list[Any]

    def __init__(self, file: Any, archive: zipfile.ZipFile, prefix: str, path: Path) -> None:
        super().__init__(file)
        self._archive = archive
        self._entries = {info.filename: info for info in archive.infolist()}
        self._prefix = prefix
        self._path = path
        self._starts: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _STORAGES:
            return name
        raise CheckpointError(f"{self._path} asks for {module}.{name}, which no tensor is made of; nothing was run")

    def persistent_load(self, saved: Any) -> _Storage:
        match saved:
            case ("storage", str(kind), str(key), str(), int(count)) if kind in _STORAGES and key.isalnum():
                return self._stored(_Storage(_STORAGES[kind], f"{self._prefix}/data/{key}", count))
        found = reprlib.repr(saved)  # bounded: a few shared tuples could print as gigabytes
        raise CheckpointError(f"{self._path} refers to a storage as {found}; wanted torch's own form")

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
        known = isinstance(storage, _Storage) and len(shape) == len(strides)
        if not known or not all(isinstance(n, int) and n >= 0 for n in whole):
            raise CheckpointError(f"{self._path} describes a tensor that cannot be; fetch it again")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if prod(shape) else 0
        if last >= max(storage.numbers, 1):
            raise CheckpointError(
                f"{self._path} describes a tensor of shape {tuple(shape)} that reaches past its {storage.numbers} "
                "stored numbers; fetch it again"
            )

        def read(start: int = 0, stop: int | None = None) -> np.ndarray:
            at = self._start(storage.entry) + offset * storage.dtype.itemsize
            return stored(self._path, storage.dtype, at, tuple(shape), tuple(strides)).read(start, stop)

        return Tensor(tuple(shape), read)

    def _start(self, entry: str) -> int:
        """Where a storage begins in the file. Its checksum is compared the first time that somebody asks."""
        if entry not in self._starts:
            try:
                with self._archive.open(entry) as file:
                    while file.read(1 << 24):
                        pass
            except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
                raise CheckpointError(f"{self._path} is damaged ({error}); fetch it again") from error
            at = self._entries[entry].header_offset
            with self._path.open("rb") as file:  # a local header: 30 bytes, the last four the lengths of two fields
                file.seek(at)
                name_bytes, extra_bytes = struct.unpack("<26x2H", file.read(30))
            self._starts[entry] = at + 30 + name_bytes + extra_bytes
        return self._starts[entry]


def open_torch(path: Path) -> Tensors:
    """List the tensors of a pytorch_model.bin.  Raises: CheckpointError for anything else."""
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
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise CheckpointError(f"{path} holds no plain state dict; wanted tensors by name")
    return dict(state)
