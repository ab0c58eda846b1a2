"""Program: the train step of a run, what it is fed with and the state that it changes; compiled without either."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import optax

from data_processing.blocks import Blocks
from modeling.checkpoint import load
from modeling.decoder import family, init_params
from modeling.lora import attach, init_adapters
from modeling.table import Params, map_rows
from training.arguments import TrainingArguments
from training.checkpoints import restore
from training.metrics import target_bytes
from training.optimizer import make_optimizer
from training.placement import bind
from training.preparation import Run
from training.processes import count
from training.step import State, initial_state, train_step


class StoppedWaiting(Exception):
    """A signal asks for the run's end while it waits for tokens."""


class Program:
    """What training does at each step."""

    def __init__(
        self,
        arguments: TrainingArguments,
        run: Run,
        schedule: optax.Schedule,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopping` ends the waiting for a batch, by StoppedWaiting; several processes wait until they agree."""
        self._arguments, self._run = arguments, run
        supply = run.supplies["train"]

        def wait() -> None:
            supply.wait()
            if stopping() and count() == 1:
                raise StoppedWaiting

        self.blocks = Blocks(
            supply.files, arguments.seed, run.global_batch, wait,
            segments=arguments.segment_ids, move_to=supply.move_to,
        )  # fmt: skip
        self._optimizer = make_optimizer(arguments, schedule, run.files.table)
        self._step = bind(
            train_step,
            run.placement,
            config=run.config,
            optimizer=self._optimizer,
            schedule=schedule,
            how=run.how,
            seed=arguments.seed,
            max_grad_norm=arguments.max_grad_norm,
            whole=self.whole,
        )

    @cached_property
    def fresh(self) -> State:
        """Shapes and types of the state."""
        return jax.eval_shape(lambda: initial_state(self._new_params(), self._optimizer))

    @cached_property
    def frozen(self) -> Params:
        """The model that adapters are trained beside, where it belongs; {} where the model itself is trained.

        Its matrices are held in the precision in which they are multiplied.
        """
        run = self._run
        if run.files.lora is None:
            return {}
        assert run.model_dir is not None
        places = run.placement.shardings(self._fresh_frozen)
        return load(run.model_dir, dtype=self._arguments.dtype, shardings=places).params

    def whole(self, params: Params, frozen: Params | None) -> Params:
        """What a forward pass takes of what is trained and what is not."""
        lora = self._run.files.lora
        return attach(frozen or {}, params, lora) if lora else params

    @cached_property
    def _fresh_frozen(self) -> Params:
        """Shapes and types of `frozen`."""
        run = self._run
        if run.files.lora is None:
            return {}
        sizes, dtype = run.config.sizes, self._arguments.dtype
        return map_rows(
            family(run.config).table, lambda row: jax.ShapeDtypeStruct(row.shape(sizes), row.precision(dtype))
        )

    def _new_params(self) -> Params:
        config, lora, seed = self._run.config, self._run.files.lora, self._arguments.seed
        return init_adapters(config, lora, seed) if lora else init_params(config, seed)

    def first_state(self) -> State:
        """The state that the run starts with: a checkpoint's, the model's to fine-tune, or a new model's."""
        run = self._run
        if run.checkpoint is not None:
            return restore(run.checkpoint, run.placement.abstract(self.fresh))
        if run.model_dir is None or run.files.lora:
            return run.placement.make(lambda: initial_state(self._new_params(), self._optimizer))
        cache_dir = self._arguments.cache_dir
        model = load(run.model_dir, shardings=run.placement.shardings(self.fresh["params"]), cache_dir=cache_dir)
        return run.placement.make(lambda params: initial_state(params, self._optimizer), model.params)

    def batch(self, step: int) -> Any:
        """This process's rows of a step's batch, on its devices; waits until they are tokenised."""
        placement = self._run.placement
        batch = self.blocks.batch(step, placement.rows(self._run.global_batch))
        return placement.put(batch | {"bytes": target_bytes(batch, self._run.bytes_V)}, self._run.microbatches)

    def compile(self, state: Any, batch: Any) -> Any:
        """The step (state, batch, frozen) -> (state, metrics) for arguments like these, of which shapes are enough."""
        frozen = self._run.placement.abstract(self._fresh_frozen)
        return self._run.placement.compile_step(self._step, state, batch, frozen)
