"""Program: the train step of a run, what it is fed with and the state that it changes; compiled without either."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import optax

from data_processing.blocks import Blocks
from modeling.checkpoint import load
from modeling.decoder import init_params
from training.arguments import TrainingArguments
from training.checkpoints import restore
from training.metrics import target_bytes
from training.optimizer import make_optimizer
from training.placement import bind
from training.preparation import Run
from training.step import State, initial_state, train_step


class Program:
    """What training does at each step."""

    def __init__(self, arguments: TrainingArguments, run: Run, schedule: optax.Schedule) -> None:
        self._arguments, self._run = arguments, run
        supply = run.supplies["train"]
        self.blocks = Blocks(
            supply.files, arguments.seed, run.global_batch, supply.wait,
            segments=arguments.segment_ids, move_to=supply.move_to,
        )  # fmt: skip
        self._optimizer = make_optimizer(arguments, schedule, run.config)
        self._step = bind(
            train_step,
            run.placement,
            config=run.config,
            optimizer=self._optimizer,
            schedule=schedule,
            how=run.how,
            seed=arguments.seed,
            max_grad_norm=arguments.max_grad_norm,
        )

    @cached_property
    def fresh(self) -> State:
        """Shapes and types of the state."""
        config, seed = self._run.config, self._arguments.seed
        return jax.eval_shape(lambda: initial_state(init_params(config, seed), self._optimizer))

    def first_state(self) -> State:
        """The state that the run starts with: a checkpoint's, the model's to fine-tune, or a new model's."""
        run, seed = self._run, self._arguments.seed
        if run.checkpoint is not None:
            return restore(run.checkpoint, run.placement.abstract(self.fresh))
        if run.model_dir is None:
            return run.placement.make(lambda: initial_state(init_params(run.config, seed), self._optimizer))
        model = load(run.model_dir, shardings=run.placement.shardings(self.fresh["params"]))
        return run.placement.make(lambda params: initial_state(params, self._optimizer), model.params)

    def batch(self, step: int) -> Any:
        """This process's rows of a step's batch, on its devices; waits until they are tokenised."""
        placement = self._run.placement
        batch = self.blocks.batch(step, placement.rows(self._run.global_batch))
        return placement.put(batch | {"bytes": target_bytes(batch, self._run.bytes_V)}, self._run.microbatches)

    def compile(self, state: Any, batch: Any) -> Callable[..., Any]:
        """The step (state, batch) -> (state, metrics) for states and batches like these, of which shapes are enough."""
        compiled: Callable[..., Any] = self._run.placement.compile_step(self._step, state, batch)
        return compiled
