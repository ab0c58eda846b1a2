"""Preparation of a run: everything that can be known to be wrong is refused here, before any long work.

Nothing is written before the checks have passed; then the output folder is made ready and tokenising starts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from data_processing.row_source import RowSource
from data_processing.tokens import check_first_row
from interface.files import check_output, claim, lock, move_aside, prepare_output, remains, write_json, written
from interface.progress import say
from modeling.adapter_files import is_adapter
from modeling.checkpoint import read_config
from modeling.config import DecoderConfig, UnsupportedConfig
from modeling.decoder import new_config
from modeling.description import parse_mesh
from modeling.execution import Execution, choose
from modeling.hub import resolve
from modeling.lora import Lora
from tokenizer_patch.tokenizer import Tokenizer
from training import processes
from training.arguments import BadArguments, TrainingArguments
from training.checkpoints import (
    ResumeRefused,
    check_same_run,
    checkpoints_in,
    find_checkpoint,
    number_of,
    place_of,
    run_state_of,
    step_of,
)
from training.completions import CODE, PROBLEMS, read_prompts
from training.export import NAME as EXPORTED
from training.hub_push import HubPush, open_hub
from training.identity import identity_of
from training.metrics import bytes_of_tokens
from training.model_files import ModelFiles
from training.one_run import require_one_run, require_seen
from training.placement import DataParallel, MeshPlacement, Placement
from training.publication import PUBLISHED
from training.store import Store
from training.supply import Supply


class Run(NamedTuple):
    """A run that has passed its checks and may start."""

    config: DecoderConfig
    how: Execution
    placement: Placement
    files: ModelFiles  # of what is trained
    model_dir: Path | None  # where the weights to start from are; None for a model from scratch
    tokenizer_dir: Path
    bytes_V: np.ndarray  # of text that each id stands for
    supplies: dict[str, Supply]
    checkpoint: Path | None
    global_batch: int
    microbatches: int  # that a device takes its share of the global batch in
    identity: dict[str, Any]
    prompts: tuple[str, ...] = ()  # to complete at each evaluation
    hub: HubPush | None = None  # of the main process, where it is to push
    store: Store | None = None  # of the main process, where copies of checkpoints go to one
    held: int | None = None  # the lock of output_dir, for as long as the run lasts


def prepare(arguments: TrainingArguments, schedule: dict[str, Any]) -> Run:
    """Check everything, make output_dir ready, start tokenising.  Raises: as `check`; OutputNotEmpty."""
    return begin(arguments, check(arguments, schedule))


def check(arguments: TrainingArguments, schedule: dict[str, Any], log_dir: Path | None = None) -> Run:
    """Find what is wrong before anything is written.

    `schedule` describes the learning-rate schedule by its numbers; a resume under another one is refused.
    `log_dir` gets the logs of tokenising, once that starts; default: output_dir.
    Raises: a UserError of the room that found something wrong.
    """
    if not arguments.do_train:
        raise BadArguments("nothing to do: give --do_train (and --do_eval to evaluate along the way)")
    splits = ["train", "validation"] if arguments.do_eval else ["train"]
    rows = RowSource.of(arguments)
    rows.check(splits)
    prompts = _prompts(arguments, rows) if arguments.do_eval else ()
    if rows.is_pairs and not arguments.segment_ids:
        raise BadArguments("prompts and answers share blocks with others that they must not see; give --segment_ids")
    if not rows.is_pairs:
        for split in splits:
            check_first_row(rows.open(split), arguments.text_column_name)
    hub = open_hub(arguments) if processes.is_primary() and not arguments.dry_run else None  # before a long download
    model_dir = _model_dir(arguments)
    tokenizer_dir = _tokenizer_dir(arguments, model_dir)
    tokenizer = Tokenizer.load(tokenizer_dir)
    config = _read_config(arguments, model_dir, tokenizer.size)
    tokenizer.require_rows(config.vocab_size, arguments.model)
    if arguments.block_size > config.max_position_embeddings:
        raise UnsupportedConfig(
            f"--block_size is {arguments.block_size}; {arguments.model} has {config.max_position_embeddings} positions."
            f" Give --block_size {config.max_position_embeddings} or less"
        )

    files = _model_files(arguments, config, model_dir, tokenizer_dir, tokenizer.eos_token_id)
    how = choose(config, arguments.dtype, attention=arguments.attention, remat=arguments.remat)
    output_dir = Path(arguments.output_dir)
    for source in filter(None, (arguments.model_name_or_path, arguments.tokenizer_name, arguments.config_name)):
        if Path(source).resolve().is_relative_to(output_dir.resolve()) and Path(source).exists():
            raise BadArguments(
                f"{source} lies in --output_dir {output_dir}, which this run writes; give another folder"
            )
    checkpoint, store = None, None
    if arguments.checkpoint_store and processes.is_primary() and not arguments.dry_run:
        store = Store(arguments.checkpoint_store, arguments.save_total_limit)
        if arguments.resume_from_checkpoint == "auto":
            store.fetch(output_dir)
    if arguments.resume_from_checkpoint:
        checkpoint = find_checkpoint(output_dir, arguments.resume_from_checkpoint)
        if checkpoint is not None:
            require_seen(checkpoint)
    placement = _placement(arguments, config)
    global_batch, microbatches = _global_batch(arguments, placement.num_shards, checkpoint)
    supplies = {
        split: Supply(
            arguments,
            rows,
            tokenizer,
            tokenizer_dir,
            split,
            (log_dir or output_dir) / _log_name(split, processes.rank()),
            global_batch=global_batch,
            **(arguments.eval_limit() if split == "validation" else {}),
        )
        for split in splits
    }
    tokens = supplies["train"].files.identity
    batch = {"global_batch": global_batch, "shards": placement.num_shards}
    identity = identity_of(arguments, config, model_dir, tokens, schedule) | files.identity | batch
    if checkpoint is not None:
        check_same_run(checkpoint, identity, arguments.changes_allowed())
    if store is not None:
        store.require_nothing_after(step_of(checkpoint) if checkpoint else 0)
    return Run(
        config,
        how,
        placement,
        files,
        model_dir,
        tokenizer_dir,
        bytes_of_tokens(tokenizer),
        supplies,
        checkpoint,
        global_batch,
        microbatches,
        identity,
        prompts,
        hub,
        store,
    )


def begin(arguments: TrainingArguments, run: Run) -> Run:
    """Make output_dir ready and start tokenising.  Raises: OutputNotEmpty, OutputNotShared, ProcessesDiffer."""
    keys = {f"{split} split": supply.files.identity.key for split, supply in run.supplies.items()}
    require_one_run(arguments, run.identity | keys, run.checkpoint)
    held = _take(arguments, run) if processes.is_primary() else None
    processes.barrier("output_dir is ready")
    _start_supplies(arguments, run)
    return run._replace(held=held)


def _take(arguments: TrainingArguments, run: Run) -> int:
    """Make output_dir this run's; returns its lock.  Raises: OutputNotEmpty."""
    output_dir = Path(arguments.output_dir)
    held = lock(output_dir)
    names = _names(run)
    if run.checkpoint is None or _starts_anew(run, output_dir):
        aside = prepare_output(output_dir, *names, overwrite=_overwrites(arguments, output_dir))
        if aside:
            say(f"moved the earlier run in {output_dir} to {aside}")
    elif later := [path.name for path in checkpoints_in(output_dir) if number_of(path) > step_of(run.checkpoint)]:
        say(f"moved {', '.join(later)}, of the way not taken, to {move_aside(output_dir, *later)}")
    for left in remains(output_dir):
        if left.suffix == ".deleted" or left.name.startswith(".ckpt-"):  # which nobody else writes
            shutil.rmtree(left, ignore_errors=True)
    claim(output_dir, *names)
    write_json(output_dir / "run.json", arguments.resolved() | ({"hub_model_id": run.hub.repo_id} if run.hub else {}))
    return held


def begin_dry(arguments: TrainingArguments, run: Run) -> None:
    """Start tokenising the train split and write nothing else.  Raises: OutputNotEmpty, as `begin` would."""
    output_dir = Path(arguments.output_dir)
    if _starts_anew(run, output_dir):
        check_output(output_dir, *_names(run), overwrite=_overwrites(arguments, output_dir))
    run.supplies["train"].start(_place(run))


def _start_supplies(arguments: TrainingArguments, run: Run) -> None:
    """Start to tokenise what is missing of each split; each process does, for token_cache_dir may be its own."""
    if arguments.overwrite_cache:
        if processes.first_here(Path(arguments.token_cache_dir).expanduser()) == processes.rank():
            for supply in run.supplies.values():
                supply.files.clear()
        processes.barrier("token_cache_dir is clear")
    for split, supply in run.supplies.items():
        supply.start(_place(run) if split == "train" else None)


def _place(run: Run) -> dict[str, Any] | None:
    """What the checkpoint to go on from kept of the train split's token files."""
    return place_of(run.checkpoint) if run.checkpoint else None


def _starts_anew(run: Run, output_dir: Path) -> bool:
    """Whether the run leaves what lies in output_dir behind it: it does not go on from there."""
    return run.checkpoint is None or run.checkpoint.resolve().parent != output_dir.resolve()


def _names(run: Run) -> list[str]:
    """Names that a run makes in its output folder as it begins and as it ends."""
    return [
        "run.json",
        "metrics.jsonl",
        "samples.jsonl",
        EXPORTED,
        *PUBLISHED,
        *(_log_name(split, rank) for split in run.supplies for rank in range(processes.count())),
        *run.files.names,
    ]


def _log_name(split: str, rank: int) -> str:
    return f"tokenize-{split}-{rank}.log" if rank else f"tokenize-{split}.log"


def _model_dir(arguments: TrainingArguments) -> Path | None:
    """The folder of the model to fine-tune, if there is one. A Hub id is fetched here and only here."""
    name = arguments.model_name_or_path
    if not name:
        return None
    weights = not arguments.dry_run or bool(arguments.resume_from_checkpoint)  # a resume compares them
    return resolve(name, arguments.revision, arguments.cache_dir, weights=weights)


def _read_config(arguments: TrainingArguments, model_dir: Path | None, num_tokens: int) -> DecoderConfig:
    """The config of the model to fine-tune, or of a new one: the one named, or its family's with a row for each token.

    Raises: BadArguments where --model_type says another family.
    """
    if model_dir is not None:
        config = read_config(model_dir, cache_dir=arguments.cache_dir)
    elif arguments.config_name:
        config = read_config(arguments.config_name, arguments.revision, arguments.cache_dir)
    else:
        assert arguments.model_type, "arguments without a model are refused"
        return new_config(arguments.model_type, num_tokens)
    found = config.to_hf()["model_type"]
    if arguments.model_type not in (None, found):
        raise BadArguments(f"--model_type is {arguments.model_type}; {arguments.model} is a {found}. Leave it away")
    return config


def _tokenizer_dir(arguments: TrainingArguments, model_dir: Path | None) -> Path:
    name = arguments.tokenizer_name or arguments.model_name_or_path
    if model_dir is not None and name == arguments.model_name_or_path:
        return model_dir  # of the same revision
    return resolve(str(name), cache_dir=arguments.cache_dir, weights=False)


def _model_files(
    arguments: TrainingArguments, config: DecoderConfig, model_dir: Path | None, tokenizer_dir: Path, eos_token_id: int
) -> ModelFiles:
    """What is trained: the model, or adapters of it.  Raises: BadAdapter, BadArguments."""
    if arguments.lora_rank is None or model_dir is None:
        return ModelFiles(config, tokenizer_dir, eos_token_id)
    name = str(arguments.model_name_or_path)
    if is_adapter(model_dir):
        raise BadArguments(
            f"{name} holds adapters already; merge them (python -m modeling merge {name} MODEL) and adapt MODEL"
        )
    targets = tuple(filter(None, (arguments.lora_targets or "").replace(" ", "").split(",")))
    alpha = 2.0 * arguments.lora_rank if arguments.lora_alpha is None else arguments.lora_alpha
    # adapters are used from other folders too
    base, revision = (str(Path(name).resolve()), None) if Path(name).is_dir() else (name, arguments.revision)
    files = ModelFiles(config, tokenizer_dir, eos_token_id, Lora(arguments.lora_rank, alpha, targets), base, revision)
    assert files.table, "adapted_rows refuses targets that are none of the model's"
    return files


def _overwrites(arguments: TrainingArguments, output_dir: Path) -> bool:
    """Whether an earlier run in output_dir may move aside."""
    # A run that was killed before its first checkpoint: the same command starts again, its remains move aside.
    finished = (output_dir / "config.json").exists() or is_adapter(output_dir) or checkpoints_in(output_dir)
    if arguments.resume_from_checkpoint != "auto" or finished or not output_dir.is_dir():
        return arguments.overwrite_output_dir
    ours = {*written(output_dir), "written.json", *(path.name for path in remains(output_dir))}
    found = {path.name for path in output_dir.iterdir() if not path.name.startswith("previous-")}
    return arguments.overwrite_output_dir or found <= ours


def _prompts(arguments: TrainingArguments, rows: RowSource) -> tuple[str, ...]:
    """What the model is to complete at each evaluation, in the form that it is trained on."""
    if arguments.sample_prompts:
        return read_prompts(Path(arguments.sample_prompts))[: arguments.eval_completions]
    return (PROBLEMS if rows.is_pairs else CODE)[: arguments.eval_completions]


def _placement(arguments: TrainingArguments, config: DecoderConfig) -> Placement:
    if arguments.placement == "pmap":
        return DataParallel()
    return MeshPlacement(config, parse_mesh(arguments.mesh or f"fsdp={jax.device_count()}"))


def _global_batch(arguments: TrainingArguments, shards: int, checkpoint: Path | None) -> tuple[int, int]:
    """Blocks an optimizer step, and in how many passes: as the flags say, or what the checkpoint had, cut anew.

    A device has a share of its own, or where it holds a part of the model, has one together with others.
    Raises: ResumeRefused where the devices' passes cannot make the checkpoint's batch.
    """
    a_pass = arguments.per_device_train_batch_size * shards
    asked = a_pass * arguments.gradient_accumulation_steps
    if checkpoint is None:
        return asked, arguments.gradient_accumulation_steps
    saved = run_state_of(checkpoint)["identity"]
    if saved["shards"] == shards or saved["global_batch"] == asked:
        return asked, arguments.gradient_accumulation_steps
    kept: int = saved["global_batch"]
    if kept % a_pass:
        raise ResumeRefused(
            f"{checkpoint} was made with {kept} blocks an optimizer step; {shards} shares of "
            f"--per_device_train_batch_size {arguments.per_device_train_batch_size} make {a_pass} a pass, which does "
            "not divide them. Choose a per-device batch or a number of devices that does"
        )
    say(f"{shards} shares of a batch where there were {saved['shards']}: keeping the global batch of {kept}")
    return kept, kept // a_pass
