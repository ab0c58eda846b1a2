"""Adapters of low rank (LoRA): a table of two small tensors beside each matrix that they adapt.

W x becomes W x + scale * up (down x), where W stays as it is and only `down` [R, in] and `up` [out, R] are trained. The
table derives from the family's; initial values, decay, counts, and both directions of PEFT's files follow from it
as they do for a model. Every matrix of a block ends in the axis that it sums over, whatever its family.
Source: LoRA, arXiv:2106.09685; names, scale and initial values as in PEFT.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from interface.errors import UserError
from modeling.config import DecoderConfig
from modeling.decoder import family
from modeling.dot import Adapted
from modeling.table import Layout, Params, Row, Table, put

PREFIX = "base_model.model."  # of PEFT's names


class BadAdapter(UserError):
    """Adapters that cannot be made of this model, or do not fit it."""


@dataclass(frozen=True)
class Lora:
    """What an adapter is made with. `targets` are Hugging Face's names of modules ("q_proj"); (): every matrix."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def module_of(row: Row) -> str:
    """Hugging Face's own name of the module that holds a tensor.

    >>> module_of(Row("blocks.up", "transformer.h.{layer}.mlp.c_fc.weight", "L F D", "zeros", "matrix"))
    'c_fc'
    """
    return row.hf.split(".")[-2]


def adapted_rows(config: DecoderConfig, lora: Lora) -> list[Row]:
    """The rows of the family's table that are adapted.  Raises: BadAdapter where a target is none of its modules."""
    matrices = [row for row in family(config).table if row.kind == "matrix"]
    known = list(dict.fromkeys(module_of(row) for row in matrices))
    if unknown := [name for name in lora.targets if name not in known]:
        raise BadAdapter(
            f"no matrices of {config.to_hf()['model_type']} are called {', '.join(unknown)}; it has {', '.join(known)}"
        )
    if lora.rank < 1:
        raise BadAdapter(f"the rank of the adapters is {lora.rank}; wanted at least 1")
    return [row for row in matrices if not lora.targets or module_of(row) in lora.targets]


def targets_of(config: DecoderConfig, lora: Lora) -> list[str]:
    """The names of the modules that are adapted, each once."""
    return list(dict.fromkeys(module_of(row) for row in adapted_rows(config, lora)))


def adapter_table(config: DecoderConfig, lora: Lora) -> Table:
    """Two rows for each adapted one; R is the rank (`adapter_sizes`)."""
    table = []
    for row in adapted_rows(config, lora):
        layers, *out, inner = row.axes.split()
        module = PREFIX + row.hf.removesuffix(".weight")
        table += [
            Row(f"{row.path}.down", f"{module}.lora_A.weight", f"{layers} R {inner}", "uniform", "matrix"),
            Row(f"{row.path}.up", f"{module}.lora_B.weight", f"{layers} {' '.join(out)} R", "zeros", "matrix",
                _up_layout(row, config)),
        ]  # fmt: skip
    return table


def stored_as_inputs_by_outputs(row: Row, config: DecoderConfig) -> bool:
    """Whether Hugging Face stores a matrix [in, out] (GPT-2's Conv1D), not [out, in]."""
    *out, _ = row.shape(config.sizes)[1:]
    return row.layout.to_hf(np.empty((*out, 1), np.bool_)).shape[-1] != 1


def _up_layout(row: Row, config: DecoderConfig) -> Layout:
    """The matrix's own layout with the rank as its input. PEFT's `up` is [out, R] beside either kind of matrix."""
    if not stored_as_inputs_by_outputs(row, config):
        return row.layout
    return Layout(lambda up: row.layout.from_hf(up.T), lambda up: row.layout.to_hf(up).T)


def adapter_sizes(config: DecoderConfig, lora: Lora) -> dict[str, int]:
    """Length of each axis letter of the adapters' table."""
    return config.sizes | {"R": lora.rank}


def init_adapters(config: DecoderConfig, lora: Lora, seed: int | jax.Array) -> Params:
    """First values: `down` uniform within 1/sqrt(in), `up` zero: the first step starts from the model itself."""
    tree: Params = {}
    sizes, key = adapter_sizes(config, lora), jax.random.key(seed)
    for row in adapter_table(config, lora):
        shape = row.shape(sizes)
        own = jax.random.fold_in(key, zlib.crc32(row.path.encode()))
        bound = 1 / sqrt(shape[-1])
        value = jnp.zeros(shape) if row.init == "zeros" else jax.random.uniform(own, shape, minval=-bound, maxval=bound)
        put(tree, row.path, value)
    return tree


def attach(base: Params, adapters: Params, lora: Lora) -> Params:
    """Params of which the adapted matrices carry their adapters; every forward pass takes them."""

    def join(base: Any, own: Any) -> Any:
        if not isinstance(base, dict):
            return Adapted(base, own["down"], own["up"], lora.scale)
        return {name: join(leaf, own[name]) if name in own else leaf for name, leaf in base.items()}

    joined: Params = join(base, adapters)
    return joined


def merged(params: Params) -> Params:
    """Plain params in which the adapters are added to their matrices, in float32."""
    return jax.tree.map(
        lambda leaf: leaf.merged() if isinstance(leaf, Adapted) else leaf,
        params,
        is_leaf=lambda leaf: isinstance(leaf, Adapted),
    )
