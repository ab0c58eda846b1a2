"""A safetensors file written tensor by tensor, with the library's own writer as the oracle."""

from __future__ import annotations

import io

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

from modeling.tensor_writer import write_safetensors


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_the_file_is_byte_for_byte_the_librarys(dtype):
    """Names whose order is not that of insertion, a scalar, nothing at all, and layouts that are not contiguous."""
    tensors = {
        "b.10": np.arange(6.0).reshape(2, 3).T,
        "b.9": np.array(7.0),
        "a-": np.zeros((0, 5)),
        "a.z": np.arange(22.0)[::2],
        "é": np.ones(3),
    }
    tensors = {name: value.astype(dtype) for name, value in tensors.items()}
    file = io.BytesIO()
    shapes = {name: value.shape for name, value in tensors.items()}
    write_safetensors(file, shapes, np.dtype(dtype), lambda name: tensors[name])
    whole = {name: value.copy(order="C") for name, value in tensors.items()}
    assert file.getvalue() == save(whole, metadata={"format": "pt"})
