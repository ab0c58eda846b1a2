"""Attention kernels: cuDNN's on NVIDIA GPUs, Pallas splash attention on TPUs. Neither writes the scores to memory.

Queries come scaled. Both are causal, with an optional window that counts the query itself, and give float32 back.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp


def cudnn_attention(
    query_BHTK: jax.Array,
    key_BHTK: jax.Array,
    value_BHTK: jax.Array,
    segments_BT: jax.Array | None,
    window: int | None,
    dtype: str,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """cuDNN's flash attention. It knows no segments: with them it gets a dense [B, 1, T, T] mask, and the memory of
    that is paid; its backward pass then wants an even T. `implementation` "xla" computes the same call without a GPU.
    """
    T = query_BHTK.shape[2]
    padding = 0 if segments_BT is None else T % 2
    query_BTHK, key_BTHK, value_BTHK = (
        jnp.pad(x_BHTK.swapaxes(1, 2).astype(dtype), [(0, 0), (0, padding), (0, 0), (0, 0)])
        for x_BHTK in (query_BHTK, key_BHTK, value_BHTK)
    )
    mask = None
    if segments_BT is not None:
        padded_BT = jnp.pad(segments_BT, [(0, 0), (0, padding)], constant_values=-1)
        mask = padded_BT[:, None, :, None] == padded_BT[:, None, None, :]
    mixed_BTHK = jax.nn.dot_product_attention(
        query_BTHK, key_BTHK, value_BTHK,
        mask=mask, scale=1.0, is_causal=True, implementation=implementation,
        local_window_size=None if window is None or window >= T else (window - 1, 0),
    )  # fmt: skip
    return mixed_BTHK[:, :T].swapaxes(1, 2).astype(jnp.float32)


def splash_attention(
    query_BHTK: jax.Array,
    key_BHTK: jax.Array,
    value_BHTK: jax.Array,
    segments_BT: jax.Array | None,
    window: int | None,
    dtype: str,
    *,
    interpret: bool = False,
) -> jax.Array:
    """Pallas splash attention; `interpret` runs the kernel's own code without a TPU, slowly."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    _, H, T, _ = query_BHTK.shape
    padding = -T % 128  # the kernel's tiles; no real query sees what is appended
    side = next(side for side in (512, 256, 128) if (T + padding) % side == 0)
    square = (T + padding, T + padding)
    mask = masks.CausalMask(square) if window is None else masks.LocalMask(square, (window - 1, 0), offset=0)
    kernel = splash.make_splash_mha(
        mask=masks.MultiHeadMask([mask] * H), head_shards=1, q_seq_shards=1, interpret=interpret,
        block_sizes=splash.BlockSizes(
            block_q=side, block_kv=side, block_kv_compute=side, block_q_dkv=side, block_kv_dkv=side,
            block_kv_dkv_compute=side, block_q_dq=side, block_kv_dq=side,
        ),
    )  # fmt: skip

    rows = tuple(
        jnp.pad(x_BHTK.astype(dtype), [(0, 0), (0, 0), (0, padding), (0, 0)])
        for x_BHTK in (query_BHTK, key_BHTK, value_BHTK)
    )
    if segments_BT is None:
        mixed_BHTK = jax.vmap(kernel)(*rows)
    else:
        padded_BT = jnp.pad(segments_BT, [(0, 0), (0, padding)], constant_values=-1)
        mixed_BHTK = jax.vmap(kernel)(*rows, splash.SegmentIds(padded_BT, padded_BT))
    return mixed_BHTK[:, :, :T].astype(jnp.float32)
