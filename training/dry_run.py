"""Dry run: what can be known of a run without a step of it. No weights are read, nothing is written but tokens."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import groupby
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from interface.progress import start_table
from modeling.table import get
from tokenizer_patch.tokenizer import Tokenizer
from training.arguments import TrainingArguments
from training.checkpoints import step_of
from training.overview import overview
from training.preparation import Run, begin_dry, check
from training.program import Program
from training.schedule import make_schedule


def dry_run(arguments: TrainingArguments) -> None:
    """Print the configuration, the run's table, where each parameter lies, and the first block with its loss weights.

    Refuses what the run itself would.  Raises: as training.preparation.prepare.
    """
    print(json.dumps(arguments.resolved(), indent=2), flush=True)
    with TemporaryDirectory(prefix="dry_run_") as logs:
        run = check(arguments, arguments.schedule(), Path(logs))
        begin_dry(arguments, run)
        try:
            _show(arguments, run)
        finally:
            run.supplies["train"].close()
    print(
        f"dry run: nothing was written to {arguments.output_dir}; tokens are in {arguments.token_cache_dir}, where the "
        "run finds them"
    )


def _show(arguments: TrainingArguments, run: Run) -> None:
    supply = run.supplies["train"]
    max_steps, _ = arguments.duration(run.global_batch, supply.num_blocks)
    program = Program(arguments, run, make_schedule(arguments.schedule(), max_steps))
    first_step = step_of(run.checkpoint) if run.checkpoint else 0
    compiled = program.compile(run.placement.abstract(program.fresh), program.batch(first_step))
    num_blocks = supply.files.num_blocks()
    epochs = (
        f"{max_steps * run.global_batch / num_blocks:.2f}, of {num_blocks:,} blocks each"
        if num_blocks
        else "known once the corpus is tokenised"
    )
    facts = overview(arguments, run, compiled, first_step=first_step, max_steps=max_steps)
    start_table(f"{arguments.resolved()['run_name']}: dry run", facts | {"epochs": epochs})
    start_table("parameters on each device", dict(shares(run, program.fresh["params"])))
    block = {name: array[0] for name, array in program.blocks.batch(first_step, slice(1)).items()}
    show_block(block, Tokenizer.load(run.tokenizer_dir), f"the first block of step {first_step + 1}")


def shares(run: Run, params: Any) -> Iterator[tuple[str, str]]:
    """What of the parameters a device holds: how they are cut, and the names of those that are cut so."""
    shardings = run.placement.shardings(params)
    cuts: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for row in run.files.table:
        place, shape = get(shardings, row.path), get(params, row.path).shape
        axes = [f"{axis} over {name}" for axis, name in zip(row.axes.split(), place.spec) if name]
        cut = ", ".join(axes) or "whole"
        cuts.setdefault(cut, []).append(row.path)
        sizes[cut] = sizes.get(cut, 0) + prod(place.shard_shape(shape))
    for cut, paths in cuts.items():
        yield cut, f"{sizes[cut] / 1e6:.2f} M: {', '.join(paths)}"


def show_block(block: dict[str, np.ndarray], tokenizer: Tokenizer, name: str) -> None:
    """Print a block's text in the stretches that count in the loss and those that do not, grey on a terminal."""
    dim, plain = ("\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    counted = int(np.count_nonzero(block["loss_weights"]))
    print(f"{name}: {len(block['tokens'])} tokens to foretell, {counted} of them count in the loss")
    # the first token is not foretold: nothing in the block is before it
    ids = [int(block["tokens"][0]), *block["targets"].tolist()]
    weights = [0.0, *block["loss_weights"].tolist()]
    for counts, stretch in groupby(zip(ids, weights), key=lambda pair: pair[1] > 0):
        tokens = [token for token, _ in stretch]
        text = visible(tokenizer.decode(tokens))
        if len(set(tokens)) == 1 and len(tokens) > 1:  # what fills up a block
            text = f"{visible(tokenizer.decode(tokens[:1]))} x {len(tokens)}"
        print(f"--- {'loss' if counts else 'no loss'}: {len(tokens)} of {len(ids)} tokens")
        print(text if counts else f"{dim}{text}{plain}")


def visible(text: str) -> str:
    r"""Spell control characters, so that data cannot steer a terminal.

    >>> visible("a\tb\x1b[2J\n")
    'a\tb\\x1b[2J\n'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
