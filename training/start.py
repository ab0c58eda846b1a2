"""Start: a training command from its parsed arguments to its last line, the same for both entry points."""

from __future__ import annotations

import json

from interface.progress import say
from training.arguments import TrainingArguments
from training.checkpoints import step_of
from training.loop import train
from training.preparation import Run, prepare
from training.schedule import make_schedule
from training.trackers import open_trackers


def start(arguments: TrainingArguments) -> None:
    """Do what a training command was told, and print where the result lies."""
    if arguments.dry_run:
        print(json.dumps(arguments.resolved(), indent=2))
        return
    run = prepare(arguments, arguments.schedule())
    trackers = open_trackers(arguments, step_of(run.checkpoint) if run.checkpoint else 0)
    max_steps, saves = arguments.duration(run.global_batch, lambda: _num_blocks(run))
    schedule = make_schedule(arguments.schedule(), max_steps)
    output_dir = train(arguments, run, schedule=schedule, max_steps=max_steps, saves=saves, trackers=trackers)
    print(f"wrote the model, its checkpoints and metrics.jsonl to {output_dir}")


def _num_blocks(run: Run) -> int:
    """The blocks of an epoch, once all of it is tokenised."""
    say("tokenising: the schedule of an epoch run needs the number of its blocks")
    num_blocks = run.supplies["train"].wait_until_whole().num_blocks()
    assert num_blocks is not None, "the files are whole"
    return num_blocks
