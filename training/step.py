"""Train step: one pure function (state, batch) -> (state, metrics), and its evaluation twin.

The loss is sum(weight * nll) / sum(weight) over the whole global batch: over microbatches and devices. A mean of
means would weigh a token by how many others its microbatch happens to have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from modeling.config import DecoderConfig
from modeling.decoder import token_losses
from modeling.dropout import row_keys
from modeling.execution import Execution
from modeling.table import Params

State = dict[str, Any]  # params, optimizer, step, skipped
Batch = dict[str, jax.Array]
Sum = Callable[[Any], Any]  # sums a tree over all devices
Whole = Callable[[Params, Params | None], Params]  # of what is trained and what is not, what a forward pass takes

COUNTED = ("bytes",)  # of the targets' text (training.metrics.target_bytes)


def weighted_loss(
    config: DecoderConfig, params: Params, micro: Batch, how: Execution, dropout_keys_B: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sum of weight * nll and sum of weights of one microbatch [B, T]; positions and segments where it has them."""
    losses_BT = token_losses(
        config,
        params,
        micro["tokens"],
        micro["targets"],
        how=how,
        positions_BT=micro.get("positions"),
        segment_ids_BT=micro.get("segment_ids"),
        dropout_keys_B=dropout_keys_B,
    )
    return jnp.sum(losses_BT * micro["loss_weights"]), jnp.sum(micro["loss_weights"])


def initial_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    return {
        "params": params,
        "optimizer": optimizer.init(params),
        "step": jnp.zeros((), jnp.int32),
        "skipped": jnp.zeros((), jnp.int32),
    }


def train_step(
    state: State,
    batch: Batch,
    frozen: Params | None = None,
    *,
    config: DecoderConfig,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    how: Execution,
    seed: int,
    sum_over_devices: Sum,
    max_grad_norm: float = 0.0,
    whole: Whole = lambda params, frozen: params,
) -> tuple[State, dict[str, jax.Array]]:
    """Update once from this device's share of the global batch: arrays [microbatches, B, T], rows [microbatches, B].

    What a batch COUNTED a row, [microbatches, B], is summed up and handed to the metrics; so are the flags that several
    processes put into it, as "stop" (training.agreement).
    `whole` makes what the forward pass takes of the state's params and of `frozen`, which has no gradients.
    Gradients are clipped to a global norm of `max_grad_norm`; 0: not at all. A batch without weight, or gradients that
    are not finite, change nothing but the counts of steps and of skips.
    """

    def one(micro: Batch) -> tuple[tuple[jax.Array, jax.Array], Params]:
        keys_B = row_keys(seed, state["step"], micro["rows"]) if any(config.dropout) else None

        def loss(params: Params) -> tuple[jax.Array, jax.Array]:
            return weighted_loss(config, whole(params, frozen), micro, how, keys_B)

        return jax.value_and_grad(loss, has_aux=True)(state["params"])

    def add(total: Any, micro: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one(micro)), None

    stop = flags_of(batch)
    batch = {name: leaf for name, leaf in batch.items() if name != "flags"}
    if batch["tokens"].shape[0] == 1:
        total = one(jax.tree.map(lambda leaf: leaf[0], batch))
    else:
        zeros = ((jnp.zeros(()), jnp.zeros(())), jax.tree.map(jnp.zeros_like, state["params"]))
        total, _ = jax.lax.scan(add, zeros, batch)
    counted = {name: jnp.sum(batch[name]) for name in COUNTED if name in batch}
    ((loss, weight), gradients), counted, stop = sum_over_devices((total, counted, stop))
    weighed = jnp.maximum(weight, 1e-9)
    norm = optax.tree.norm(gradients) / weighed
    good = jnp.isfinite(norm) & (weight > 0)
    # mean and clipping are one factor, which the update takes in passing; apart each would write all gradients again
    factor = jnp.minimum(1.0, max_grad_norm / norm) / weighed if max_grad_norm else 1 / weighed

    def update(params: Params, moments: Any) -> tuple[Params, Any]:
        clipped = jax.tree.map(lambda leaf: leaf * factor, gradients)
        updates, moved = optimizer.update(clipped, moments, params)
        return optax.apply_updates(params, updates), moved

    # a branch, not a choice between two states: both would have to be in memory
    params, moments = jax.lax.cond(good, update, lambda *same: same, state["params"], state["optimizer"])
    new = {
        "params": params,
        "optimizer": moments,
        "step": state["step"] + 1,
        "skipped": state["skipped"] + jnp.where(good, 0, 1),
    }
    metrics = {
        "loss": loss / weighed,
        "loss_sum": loss,
        "weight": weight,
        **counted,
        "gradient_norm": norm,
        "learning_rate": schedule(state["step"] - state["skipped"]),  # as the optimizer counts: updates
        "skipped": new["skipped"],
        "stop": stop,
    }
    return new, metrics


def flags_of(batch: Batch) -> jax.Array:
    """The sum of the flags that a device's share of a batch has."""
    return jnp.sum(batch.get("flags", jnp.zeros((), jnp.int32)))


def eval_step(
    params: Params, batch: Batch, *, config: DecoderConfig, how: Execution, sum_over_devices: Sum
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Sum of weight * nll and sum of weights over all devices, and of the flags; batch arrays [B, T]."""
    return sum_over_devices((weighted_loss(config, params, batch, how), flags_of(batch)))
