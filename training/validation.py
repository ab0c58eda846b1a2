"""Validation: the mean loss on the validation split, in the middle of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from data_processing.blocks import in_order
from interface.progress import duration, say
from training.agreement import Agreement
from training.arguments import TrainingArguments
from training.metrics import loss_metrics, target_bytes
from training.placement import Placement, bind
from training.preparation import Run
from training.processes import gather
from training.step import eval_step
from training.stopping import Stopping


def validator(
    arguments: TrainingArguments, run: Run, placement: Placement, stopping: Stopping
) -> Callable[[Any], dict[str, Any] | None] | None:
    """What scores params on the validation split, or gives None where a signal asks the run to stop meanwhile."""
    supply = run.supplies.get("validation")
    if supply is None:
        return None
    mapped = placement.map_eval(bind(eval_step, placement, config=run.config, how=run.how))

    def evaluate(params: Any) -> dict[str, Any] | None:
        while not supply.files.are_whole() and not stopping.asked:
            supply.wait()
        if any(gather("evaluation", stopping.asked)):
            return None
        started = time.monotonic()
        rows = arguments.per_device_eval_batch_size * placement.num_shards
        mine = placement.rows(rows)
        agreement = Agreement(stopping, placement)
        batches = in_order(supply.files, rows, supply.wait, segments=arguments.segment_ids)
        sums, num_bytes = [], 0.0
        for batch in batches:
            num_bytes += float(target_bytes(batch, run.bytes_V).sum())  # of the rows of all processes
            placed = placement.put({name: array[mine] for name, array in batch.items()})
            sum_and_weight, stop = mapped(params, placed | agreement.flags())
            sums.append(sum_and_weight)
            if agreement.reached(stop):
                return None
        loss, weight = (math.fsum(float(x) for x in part) for part in zip(*sums))
        found = loss_metrics(loss, weight, num_bytes)
        taken = time.monotonic() - started
        say(f"eval: loss {found['loss']:.4f}, perplexity {found['perplexity']:.2f}, {weight:.0f} tokens, "
            f"{duration(taken)}")  # fmt: skip
        return found | {"eval_tokens": weight, "eval_seconds": taken}

    return evaluate
