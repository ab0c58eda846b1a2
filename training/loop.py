"""The training loop, from arguments to a published model, in titled acts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import jax
import optax

from interface.errors import Stopped
from interface.flags import typed
from interface.progress import Steps, start_table
from training.agreement import Agreement
from training.arguments import TrainingArguments
from training.checkpoint_writer import Checkpoints
from training.checkpoints import eval_loss_of, note_eval_loss
from training.code_scores import CodeScores, Judge
from training.completions import Completions
from training.export import export
from training.intervals import Intervals
from training.metrics import MetricLog
from training.overview import overview
from training.preparation import Run
from training.processes import barrier, is_primary
from training.profiling import Profile
from training.program import Program, StoppedWaiting
from training.publication import publish
from training.saves import Due
from training.stopping import Stopping
from training.summary import write_facts
from training.trackers import Trackers
from training.validation import validator


def train(
    arguments: TrainingArguments,
    run: Run,
    *,
    schedule: optax.Schedule,
    max_steps: int,
    saves: Due,
    trackers: Trackers,
    stopping: Stopping,
    judge: Judge | None = None,
) -> Path:
    """Run optimizer steps up to `max_steps` and leave the model in output_dir. Returns that folder.

    `saves` tells after which steps a checkpoint is due; the last step's always is.
    Raises: Stopped, once a checkpoint is whole, where a signal asked for it (training.stopping); NotPushed.
    """
    output_dir = Path(arguments.output_dir)
    resolved = arguments.resolved()

    # --- Act 1: state ------------------------------------------------------------------------------------------
    program = Program(arguments, run, schedule, lambda: stopping.asked)
    state, frozen = program.first_state(), program.frozen
    first_step = int(state["step"])
    profile = Profile(output_dir, arguments.profiled(), first_step, max_steps)

    # --- Act 2: compile ----------------------------------------------------------------------------------------
    agreement = Agreement(stopping, run.placement)
    compiled = program.compile(state, program.batch(first_step) | agreement.flags())
    evaluate = validator(arguments, run, run.placement, stopping)
    facts = overview(arguments, run, compiled, first_step=first_step, max_steps=max_steps)
    start_table(f"{resolved['run_name']}: {f'resume at step {first_step}' if run.checkpoint else 'train'}", facts)
    if is_primary():
        write_facts(output_dir, typed(type(arguments)), facts)

    # --- Act 3: the loop ---------------------------------------------------------------------------------------
    checkpoints = Checkpoints(
        output_dir,
        model=run.files,
        identity=run.identity,
        resolved=resolved,
        keep=arguments.save_total_limit,
        with_train_state=arguments.save_optimizer,
        when_whole=run.hub.saved if run.hub else None,
        store=run.store,
        evaluated_on=run.supplies["validation"].files.identity.key if evaluate else None,
    )
    log = MetricLog(output_dir, trackers, first_step)
    completions = Completions(
        output_dir, run.prompts if is_primary() else (), run.tokenizer_dir, run.config,
        dtype=run.how.dtype, seed=arguments.seed, trackers=trackers, resumed_at=first_step,
    )  # fmt: skip
    scores = CodeScores(arguments, judge, run.config, run.tokenizer_dir)
    bar = Steps(max_steps, first_step)
    intervals = Intervals(arguments, run, log, bar)
    done = saved = first_step
    num_saves = sum(map(saves, range(1, first_step + 1)))
    with ExitStack() as stack:
        # called from last to first, whatever happens
        for close in (checkpoints.close, log.close, bar.close, intervals.end, profile.close):
            stack.callback(close)

        def evaluated() -> float | None:
            """The loss on the validation split after `done` steps; None where a signal asks for the end meanwhile."""
            with intervals.paused():
                found = evaluate(program.whole(state["params"], frozen)) if evaluate else None
                if found is not None:
                    if not log.has(done, "eval"):
                        log.write({"step": done, "kind": "eval"} | found)
                    completions.take(done, program.whole(state["params"], frozen))
            return found["loss"] if found else None

        def evaluation_due() -> bool:
            return bool(evaluate) and (saves(done) or done == max_steps or done % resolved["eval_steps"] == 0)

        def save(eval_loss: float | None = None) -> Path:
            """A checkpoint after `done` steps, of whose last one the batch has been read."""
            intervals.flush()  # a resumed run keeps the metrics up to its checkpoint
            place = run.supplies["train"].files.place_of(program.blocks.window_of(done - 1))
            return checkpoints.save(done, state, place, eval_loss=eval_loss, interval=intervals.open_steps())

        def score() -> None:
            """After the checkpoint is on its way to the disk: what scoring comes to must not take it along."""
            if judge:
                with intervals.paused():
                    params = program.whole(state["params"], frozen)
                    scores.take(done, num_saves, params, log, lambda: stopping.asked, last=done == max_steps)

        last = run.checkpoint
        own = last is not None and last.resolve().parent == output_dir.resolve()
        # what a signal cut off, the evaluation before a checkpoint or the scores after it
        if last and evaluation_due() and eval_loss_of(last) is None:
            loss = evaluated()
            if loss is not None and is_primary() and own:
                note_eval_loss(last, loss, checkpoints.evaluated_on)
        if own and (saves(done) or done == max_steps):
            score()
        for step in range(first_step, max_steps):
            profile.begin(step + 1)
            try:
                with intervals.waiting():
                    batch = program.batch(step)
            except StoppedWaiting:
                if done != saved:
                    save()
                break
            state, metrics = compiled(state, batch | agreement.flags(), frozen)
            done = step + 1
            profile.end(done, metrics)
            if step == first_step:
                jax.block_until_ready(metrics)  # several processes compile here
                stopping.saves_first = True
            stop = agreement.reached(metrics["stop"])
            intervals.add(metrics)
            bar.advance()
            if done % arguments.logging_steps == 0 or done == max_steps:
                intervals.close(done, state["params"])
            saving = saves(done) or done == max_steps
            eval_loss = None
            if evaluation_due() and not stop:
                eval_loss = evaluated()
                stop = eval_loss is None
            checkpoints.check()
            if saving or stop:
                last, saved = save(eval_loss), done
            if stop:
                break
            if saving:
                num_saves += 1
                score()
        intervals.flush()
        checkpoints.finish()
    barrier("checkpoints are whole")
    stopping.saves_first = False
    if done < max_steps:
        raise Stopped(
            f"stopped at step {done} of {max_steps}, saved in {output_dir / f'ckpt-{done}'}; the same command with "
            "--resume_from_checkpoint auto goes on from there"
        )

    # --- Act 4: publish ----------------------------------------------------------------------------------------
    assert last is not None, "the last step is always saved"
    if is_primary():
        exported = export(output_dir, last, run.files.names, best=arguments.load_best_model_at_end)
        scores.publish(exported["step"])
        publish(output_dir)
    if run.hub:
        run.hub.finish()
    return output_dir
