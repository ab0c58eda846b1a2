"""Cost of a model: floating-point operations a token, and the memory of a training step, from its table alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp

from modeling.config import DecoderConfig
from modeling.decoder import family, init_params, token_losses
from modeling.execution import Execution
from modeling.lora import Lora, adapter_sizes, adapter_table, attach, init_adapters
from modeling.table import Params, count_parameters, partition

MESH_AXES = ("data", "fsdp", "tensor")


def multiplied_parameters(config: DecoderConfig) -> int:
    """N: the parameters that take part in one product a token. Tables that are only looked up do not."""
    true_sizes = {**config.sizes, "V": config.vocab_size}
    return sum(prod(row.shape(true_sizes)) for row in family(config).table if row.multiplied)


def attended_pairs(length: int, window: int | None) -> int:
    """How many (query, key) pairs a causal layer looks at in a text of `length` tokens."""
    reach = length if window is None else min(window, length)
    return reach * (reach + 1) // 2 + (length - reach) * reach


def adapter_parameters(config: DecoderConfig, lora: Lora | None) -> int:
    """How many parameters the adapters of a model have."""
    return count_parameters(adapter_table(config, lora), adapter_sizes(config, lora)) if lora else 0


def training_flops(config: DecoderConfig, length: int, *, all_pairs: bool = False, lora: Lora | None = None) -> float:
    """Floating-point operations a token, forward and backward, in blocks of `length` tokens.

    6N, and 12 a head channel for each (query, key) pair: 4 forward, 8 backward. Pairs are those really attended
    (causal, windows), as MaxText counts; with `all_pairs` each query meets all keys in every layer, as PaLM
    (arXiv:2204.02311, appendix B) and nanochat count: 6N + 12 L H K T. Remat's second forward pass counts in neither.
    Beside adapters the model has no gradients of its own: 4N, and 6 for each parameter of the adapters.
    """
    if all_pairs:
        pairs = config.num_layers * length**2
    else:
        pairs = sum(attended_pairs(length, window) for window in config.windows)
    products = (4 if lora else 6) * multiplied_parameters(config) + 6 * adapter_parameters(config, lora)
    return products + 12 * config.hidden_size * pairs / length


class Memory(NamedTuple):
    """Bytes that a device holds at the height of a training step."""

    parameters: int
    optimizer: int
    gradients: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return sum(self)


def training_memory(
    config: DecoderConfig,
    how: Execution,
    *,
    rows: int,
    length: int,
    mesh: Mapping[str, int] | None = None,
    accumulate: bool = False,
    lora: Lora | None = None,
) -> Memory:
    """Memory of an AdamW step on `rows` blocks a device, nothing allocated.

    Parameters, gradients (twice when accumulated) and AdamW's two moments are float32, cut as
    `modeling.table.partition` says. Activations are what the forward pass hands to the backward pass, traced with
    abstract values; those as wide as the MLP are cut over "tensor", the others whole. With remat of whole blocks one
    block's are alive beside. Beside adapters the model is held in the operands' precision, and has neither gradients
    nor moments.
    """
    mesh = mesh or {}
    table = family(config).table
    own = sum(
        (jnp.dtype(row.precision(how.dtype)).itemsize if lora else 4)
        * (prod(row.shape(config.sizes)) // prod(mesh[axis] for axis in partition(row, config.sizes, mesh) if axis))
        for row in table
    )
    trained = 4 * adapter_parameters(config, lora) if lora else own
    tensor = mesh.get("tensor", 1)
    kept = _kept(config, how, rows, length, tensor, lora)
    if how.remat == "block":  # while one block goes backward, all of its own
        kept += (_kept(config, replace(how, remat="none"), rows, length, tensor, lora) - kept) // config.num_layers
    alive = min(how.logits_alive or rows * length * config.table_rows, rows * length * config.table_rows)
    held = own + (trained if lora else 0)
    return Memory(held, 2 * trained, trained * (2 if accumulate else 1), kept, 2 * 4 * alive // tensor)


def _kept(config: DecoderConfig, how: Execution, rows: int, length: int, tensor: int, lora: Lora | None) -> int:
    """Bytes of what a forward pass keeps for its backward pass, beside the params and the logits."""
    if (
        how.attention == "cudnn"
    ):  # tracing it wants cuDNN itself; the TPU's kernel keeps the same: operands, output, sums
        how = replace(how, attention="splash")
    params = jax.eval_shape(lambda: init_params(config, 0))
    tokens = jax.ShapeDtypeStruct((rows, length), jnp.int32)

    trained = jax.eval_shape(lambda: init_adapters(config, lora, 0)) if lora else params

    def forward(trained: Params, params: Params, tokens: jax.Array) -> object:
        def loss(trained: Params) -> jax.Array:
            return token_losses(config, attach(params, trained, lora) if lora else trained, tokens, tokens, how=how)

        return jax.vjp(loss, trained)[1]

    traced = jax.make_jaxpr(forward)(trained, params, tokens).jaxpr
    given = {id(value) for value in traced.invars}
    for equation in traced.eqns:  # a stack of layers folded by periods for a scan is no copy
        if equation.primitive.name == "reshape" and id(equation.invars[0]) in given:
            given |= {id(value) for value in equation.outvars}
    wide = {config.intermediate_size, config.intermediate_size // max(tensor, 1)} - {config.hidden_size}
    total = 0
    for value in {id(v): v for v in traced.outvars if id(v) not in given}.values():
        shape = value.aval.shape
        if config.table_rows in shape:
            continue  # logits are counted by themselves
        size = prod(shape) * value.aval.dtype.itemsize
        total += size // tensor if wide & set(shape) else size
    return total
