"""Weights that the tests of their readers share: a model folder without weights, and its tensors in two formats."""

from __future__ import annotations

from collections import OrderedDict

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import modeling


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, two))


@pytest.fixture(scope="module")
def model(model_dir):
    return modeling.load(model_dir)


@pytest.fixture(scope="module")
def tensors(model_dir):
    return load_file(model_dir / "model.safetensors")


@pytest.fixture
def folder(model_dir, tmp_path):
    """A model folder that has its config and no weights yet."""
    (tmp_path / "config.json").write_text((model_dir / "config.json").read_text())
    return tmp_path


def torch_tensors(tensors, kind="float32"):
    torch = pytest.importorskip("torch", reason="torch writes its own format; ./run.sh test installs it")
    state = OrderedDict((name, torch.tensor(value).to(getattr(torch, kind))) for name, value in tensors.items())
    state["transformer.h.0.attn.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)  # an old mask buffer
    state["lm_head.weight"] = state["transformer.wte.weight"]  # shares its storage
    return torch, state


def flax_tree(tensors):
    """The tree that the Flax classes of transformers 4 wrote: kernels [in, out], scale, embedding."""
    tree: dict = {}
    for name, value in tensors.items():
        *parents, last = name.split(".")
        if last == "weight":
            last = (
                "embedding" if parents[-1] in ("wte", "wpe") else "scale" if parents[-1].startswith("ln_") else "kernel"
            )
            value = value.T if last == "kernel" else value
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = np.ascontiguousarray(value)
    return tree
