"""Start: a training command from its parsed arguments to its last line, the same for both entry points."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import jax

from interface.progress import say
from training.arguments import TrainingArguments
from training.checkpoints import step_of
from training.code_scores import Judge
from training.dry_run import dry_run
from training.loop import train
from training.preparation import prepare
from training.processes import is_primary
from training.schedule import make_schedule
from training.together import together
from training.trackers import open_trackers


def start(arguments: TrainingArguments, judge_of: Callable[[TrainingArguments], Judge] | None = None) -> None:
    """Do what a training command was told, and print where the result lies.

    `judge_of` makes what scores checkpoints for --eval_pass_at_k.
    """
    # On a CPU the scratch memory of a step that was dispatched is given back some time after its end, when the next
    # one has taken as much again (docs/log.md). Steps that the caller runs itself do without; accelerators always do.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    with together() as stopping:
        if arguments.dry_run:
            dry_run(arguments)
            return
        judge = judge_of(arguments) if judge_of and arguments.eval_pass_at_k and is_primary() else None
        run = prepare(arguments, arguments.schedule())
        trackers = open_trackers(arguments, step_of(run.checkpoint) if run.checkpoint else 0)
        max_steps, saves = arguments.duration(run.global_batch, run.supplies["train"].num_blocks)
        schedule = make_schedule(arguments.schedule(), max_steps)
        with run.hub or nullcontext():
            output_dir = train(
                arguments, run, schedule=schedule, max_steps=max_steps, saves=saves, trackers=trackers,
                stopping=stopping, judge=judge,
            )  # fmt: skip
    say(f"wrote the model, its checkpoints and metrics.jsonl to {output_dir}")
