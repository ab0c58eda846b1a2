"""Matrix product: operands in one precision, accumulation in float32, forward and backward."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import jax
import jax.numpy as jnp


@partial(jax.tree_util.register_dataclass, data_fields=("base", "down", "up"), meta_fields=("scale",))
@dataclass(frozen=True)
class Adapted:
    """A matrix [..., out, in] that stays as it is, and what is added: scale * up [..., out, R] @ down [..., R, in].

    It stands where a matrix does: in params, and as the second operand of `dot` (see modeling.lora).
    """

    base: jax.Array
    down: jax.Array
    up: jax.Array
    scale: float = field(default=1.0)

    def __getitem__(self, everything: object) -> Self:
        """Itself, for `[...]`: what is asked of a parameter."""
        assert everything is ...
        return self

    def merged(self) -> jax.Array:
        """The sum as one float32 matrix: of a layer [*out, in], or of a stack of layers [L, *out, in]."""
        letters = "LXYDE"[: self.base.ndim - 1]  # all but the input; of a stack the first one is its layers
        lead = "L" if self.down.ndim == 3 else ""
        added = jnp.einsum(
            f"{letters}R,{lead}RI->{letters}I", self.up.astype(jnp.float32), self.down.astype(jnp.float32),
            precision=jax.lax.Precision.HIGHEST,
        )  # fmt: skip
        return self.base.astype(jnp.float32) + self.scale * added


def dot(spec: str, x: jax.Array, y: jax.Array | Adapted, dtype: str) -> jax.Array:
    """Contract `x` with `y` by an einsum `spec`; operands are rounded to `dtype`, the float32 sum is returned.

    With an adapted matrix the two narrow products are added: it is never written out as a whole, and no gradient of
    its base is asked for.
    """
    if not isinstance(y, Adapted):
        return _dot(spec, x, y, dtype)
    operands, out = spec.split("->")
    left, right = operands.split(",")
    inner = right[-1]  # a matrix ends in the axis that is summed over
    narrow = left.replace(inner, "R")
    low = _dot(f"{left},R{inner}->{narrow}", x, y.down, dtype)
    return _dot(spec, x, y.base, dtype) + y.scale * _dot(f"{narrow},{right[:-1]}R->{out}", low, y.up, dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _dot(spec: str, x: jax.Array, y: jax.Array, dtype: str) -> jax.Array:
    """`dot` of two arrays.

    Autodiff of a plain einsum would multiply the float32 cotangent with a bfloat16 operand: slower by five on a CPU,
    and not what a matrix unit does. Here the cotangent is rounded to `dtype` too, and both gradients come back in
    the operands' own types. Each letter of an operand must be in the other operand or in the result.
    """
    return _contract(spec, x, y, dtype)


def _contract(spec: str, x: jax.Array, y: jax.Array, dtype: str) -> jax.Array:
    x, y = x.astype(dtype), y.astype(dtype)
    if dtype == "float32":
        # float32 means float32: without HIGHEST a GPU or TPU would round the operands
        return jnp.einsum(spec, x, y, precision=jax.lax.Precision.HIGHEST)
    operands, out = spec.split("->")
    left, right = operands.split(",")
    low = partial(jnp.einsum, spec, preferred_element_type=jnp.float32)
    idle = [letter for letter, length in zip(left, x.shape, strict=True) if length == 1 and letter not in right]
    if idle and len(set(left) - set(right)) > len(idle):
        # One token a row: left in, XLA's CPU backend would copy the weights into another layout at every call.
        short = str.maketrans("", "", "".join(idle))
        product = _contract(
            f"{left},{right}->{out}".translate(short), x.squeeze([left.index(n) for n in idle]), y, dtype
        )
        return jnp.expand_dims(product, [out.index(letter) for letter in idle])
    batch = [letter for letter in left if letter in right and letter in out]
    if not batch or (left[-1] in right and left[-1] not in out and list(left[: len(batch)]) == batch):
        return low(x, y)
    return jax.lax.platform_dependent(x, y, cpu=partial(_merged, left, right, out), default=low)


def _merged(left: str, right: str, out: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """The batched product of [N, rows, summed] and [N, summed, columns], one axis each.

    XLA's CPU backend has a batched bfloat16 product for operands that lie in memory in this order, and converts others
    to float32. It counts a transposed operand among the others, but not one that is reshaped after.
    """
    length = dict(zip(left + right, x.shape + y.shape, strict=True))
    batch = "".join(letter for letter in left if letter in right and letter in out)
    summed = "".join(letter for letter in left if letter not in out)
    rows, columns = ("".join(n for n in side if n in out and n not in batch) for side in (left, right))

    def merge(side: str, operand: jax.Array, *axes: str) -> jax.Array:
        ordered = jnp.einsum(f"{side}->{''.join(axes)}", operand)
        return ordered.reshape([math.prod(length[letter] for letter in axis) for axis in axes])

    operands = merge(left, x, batch, rows, summed), merge(right, y, batch, summed, columns)
    product = jnp.einsum("nij,njk->nik", *operands, preferred_element_type=jnp.float32)
    whole = batch + rows + columns
    return jnp.einsum(f"{whole}->{out}", product.reshape([length[letter] for letter in whole]))


def _forward(spec: str, x: jax.Array, y: jax.Array, dtype: str) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    low_x, low_y = x.astype(dtype), y.astype(dtype)
    # empty arrays carry the operands' own types to the backward pass at no cost
    types = (jnp.zeros(0, x.dtype), jnp.zeros(0, y.dtype))
    return _contract(spec, low_x, low_y, dtype), (low_x, low_y, *types)


def _backward(spec: str, dtype: str, saved: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[jax.Array, ...]:
    x, y, x_type, y_type = saved
    operands, out = spec.split("->")
    left, right = operands.split(",")
    gradient_x = _contract(f"{out},{right}->{left}", cotangent, y, dtype)
    gradient_y = _contract(f"{out},{left}->{right}", cotangent, x, dtype)
    return gradient_x.astype(x_type.dtype), gradient_y.astype(y_type.dtype)


_dot.defvjp(_forward, _backward)
