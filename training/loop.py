"""The training loop, from arguments to a published model, in titled acts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import optax

from data_processing.blocks import Blocks
from interface.errors import Stopped
from interface.progress import Steps, start_table
from modeling.checkpoint import Model, load, save
from modeling.config import DecoderConfig
from modeling.decoder import family, init_params
from modeling.table import count_parameters
from training.arguments import TrainingArguments
from training.checkpoints import Checkpoints, ResumeRefused, restore
from training.intervals import Intervals
from training.metrics import MetricLog
from training.optimizer import adamw
from training.placement import bind
from training.preparation import Run
from training.step import initial_state, train_step
from training.stopping import Stopping
from training.trackers import open_trackers
from training.validation import validator


def train(arguments: TrainingArguments, run: Run, *, schedule: optax.Schedule, max_steps: int) -> Path:
    """Run optimizer steps up to `max_steps` and leave the model in output_dir. Returns that folder.

    Raises: Stopped, once a checkpoint is whole, where a signal asked for it (training.stopping).
    """
    with Stopping() as stopping:
        return _train(arguments, run, schedule, max_steps, stopping)


def _train(
    arguments: TrainingArguments, run: Run, schedule: optax.Schedule, max_steps: int, stopping: Stopping
) -> Path:
    output_dir = Path(arguments.output_dir)
    config, checkpoint = run.config, run.checkpoint
    resolved = arguments.resolved()
    trackers = open_trackers(arguments.trackers(), output_dir, resolved["run_name"], resolved)

    # --- Act 1: placement, and the batch that it makes ----------------------------------------------------------
    placement = run.placement
    rows_a_pass = arguments.per_device_train_batch_size * placement.num_shards
    microbatches, left_over = divmod(run.global_batch, rows_a_pass)
    if left_over or not microbatches:
        raise ResumeRefused(
            f"the checkpoint's global batch is {run.global_batch} blocks; {placement.num_shards} devices x "
            f"--per_device_train_batch_size {arguments.per_device_train_batch_size} make {rows_a_pass} a pass, which "
            "does not divide it. Choose a per-device batch that does"
        )
    supply = run.supplies["train"]
    blocks = Blocks(
        supply.files, arguments.seed, run.global_batch, supply.wait,
        segments=arguments.segment_ids, move_to=supply.move_to,
    )  # fmt: skip

    # --- Act 2: state ------------------------------------------------------------------------------------------
    optimizer = adamw(arguments, schedule, config)
    fresh = jax.eval_shape(lambda: initial_state(init_params(config, arguments.seed), optimizer))
    if checkpoint is not None:
        state = restore(checkpoint, placement.abstract(fresh))
    elif run.model_dir is not None:
        model = load(run.model_dir, shardings=placement.shardings(fresh["params"]))
        state = placement.make(lambda params: initial_state(params, optimizer), model.params)
    else:
        state = placement.make(lambda: initial_state(init_params(config, arguments.seed), optimizer))
    first_step = int(state["step"])

    # --- Act 3: compile ----------------------------------------------------------------------------------------
    def device_batch(step: int) -> Any:
        return placement.put(blocks.batch(step, placement.rows(run.global_batch)), microbatches)

    step_function = bind(
        train_step,
        placement,
        config=config,
        optimizer=optimizer,
        schedule=schedule,
        how=run.how,
        seed=arguments.seed,
    )
    compiled = placement.compile_step(step_function, state, device_batch(first_step))
    evaluate = validator(arguments, run, placement, stopping)
    parameters = count_parameters(family(config).table, {**config.sizes, "V": config.vocab_size})
    start_table(
        f"{resolved['run_name']}: {'resume at step ' + str(first_step) if checkpoint else 'train'}",
        {
            "model": f"{arguments.model_name_or_path or arguments.config_name} ({_model_type(config)})",
            "parameters": f"{parameters / 1e6:.2f} M",
            "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()}), "
            f"{arguments.dtype} operands",
            "tokens a step": f"{run.global_batch * arguments.block_size:,} = {placement.num_shards} devices x "
            f"{microbatches} passes x {arguments.per_device_train_batch_size} blocks x {arguments.block_size}",
            "steps": f"{max_steps:,}, {first_step:,} done",
            "estimated memory": _memory(compiled),
            "output": str(output_dir),
        },
    )

    # --- Act 4: the loop ---------------------------------------------------------------------------------------
    checkpoints = Checkpoints(
        output_dir,
        config=config,
        tokenizer_dir=run.tokenizer_dir,
        eos_token_id=run.eos_token_id,
        identity=run.identity,
        resolved=resolved,
        keep=arguments.save_total_limit,
        with_train_state=arguments.save_optimizer,
    )
    log = MetricLog(output_dir, trackers, first_step)
    bar = Steps(max_steps, first_step)
    intervals = Intervals(log, bar, run.global_batch * arguments.block_size, arguments)
    done = first_step
    with ExitStack() as stack:
        for close in (checkpoints.close, log.close, bar.close):  # called from last to first, whatever happens
            stack.callback(close)
        stack.enter_context(stopping.saving_first())
        for step in range(first_step, max_steps):
            state, metrics = compiled(state, device_batch(step))
            done = step + 1
            intervals.add(metrics)
            bar.advance()
            if done % arguments.logging_steps == 0 or done == max_steps:
                intervals.close(done)
            saving = done % arguments.save_steps == 0 or done == max_steps
            if evaluate and not stopping.asked and (saving or done % resolved["eval_steps"] == 0):
                intervals.flush()
                found = evaluate(state["params"])
                if found is not None:
                    log.write({"step": done, "kind": "eval"} | found)
                intervals.restart_clock()
            stop = stopping.asked
            if saving or stop:
                intervals.flush()  # a resumed run keeps the metrics up to its checkpoint
                checkpoints.save(done, state, supply.files.place_of(blocks.window_of(step)))
            if stop:
                break
        intervals.flush()
    if stopping.asked and done < max_steps:
        raise Stopped(
            f"stopped at step {done} of {max_steps}, saved in {output_dir / f'ckpt-{done}'}; the same command with "
            "--resume_from_checkpoint auto goes on from there"
        )

    # --- Act 5: publish ----------------------------------------------------------------------------------------
    save(
        output_dir, Model(config, jax.device_get(state["params"])),
        tokenizer_dir=run.tokenizer_dir, eos_token_id=run.eos_token_id,
    )  # fmt: skip
    return output_dir


def _memory(compiled: Any) -> str:
    analysis = compiled.memory_analysis() if hasattr(compiled, "memory_analysis") else None
    if analysis is None:
        return "not told by this platform"
    held = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    return f"{(held - analysis.alias_size_in_bytes) / 1e9:.2f} GB a device"


def _model_type(config: DecoderConfig) -> str:
    return str(config.to_hf()["model_type"])
