"""Tensor writer: a safetensors file, made one tensor at a time.

The library's own writer wants every tensor of a file in memory, and then the file again as bytes.
Source of the format: the safetensors README; what is written here is byte for byte what that library writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from typing import IO

import numpy as np

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def write_safetensors(
    file: IO[bytes], shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype, tensor: Callable[[str], np.ndarray]
) -> None:
    """Write tensors of one dtype: a header of where each lies, then the numbers of `tensor(name)`, by name."""
    # readers before transformers 5 refuse a file without this entry
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + prod(shapes[name]) * dtype.itemsize
        header[name] = {"dtype": DTYPES[dtype.name], "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in sorted(shapes):
        value = tensor(name).astype(dtype, order="C", copy=False)
        assert value.shape == tuple(shapes[name])
        file.write(value.reshape(-1).view(np.uint8).data)
