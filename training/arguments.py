"""Arguments that both training commands take: the reference's flags, with Hugging Face's names.

Every `*_steps` counts optimizer steps. A repeated flag: the last one wins.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from data_processing.row_flags import RowFlags
from interface.choices import Attention, BenchmarkName, ModelType, Precision, Remat
from interface.errors import UserError
from interface.flags import as_json, flag, required
from training.saves import Due

TRACKERS = {"tensorboard": "tensorboardX", "wandb": "wandb"}  # what each is imported as


class BadArguments(UserError):
    """Flags that contradict each other or make no sense."""


@dataclass(frozen=True, kw_only=True)
class TrainingArguments(RowFlags):
    """What both commands take."""

    output_dir: str = required("folder for checkpoints, metrics and the final model", "run")

    model_name_or_path: str | None = flag(None, "model folder or Hub id to fine-tune", "model")
    config_name: str | None = flag(None, "config.json, its folder or a Hub id: a new model of its sizes", "model")
    model_type: ModelType | None = flag(
        None, "family of a new model: of its default sizes, with a row for each token, where no --config_name is given",
        "model",
    )  # fmt: skip
    tokenizer_name: str | None = flag(None, "folder or Hub id of the tokenizer; default: the model's own", "model")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id (of the model or --config_name)", "model")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache", "model")
    lora_rank: int | None = flag(
        None, "train adapters of this rank beside the model's matrices, which stay as they are (LoRA)", "model"
    )
    lora_alpha: float | None = flag(None, "their sum is scaled by this over the rank; default: twice the rank", "model")
    lora_targets: str | None = flag(
        None, "adapt only the matrices of these names: q_proj,v_proj; default: every matrix of a block", "model"
    )
    dtype: Precision = flag(
        "float32", "precision of matrix operands; sums, norms, softmax, loss and weights are float32", "model"
    )

    block_size: int = flag(1024, "tokens a block", "data")
    max_eval_samples: int | None = flag(None, "evaluate on at most this many samples (here: blocks)", "data")
    segment_ids: bool = flag(False, "a document sees no other one in its block, and its positions start at 0", "data")
    token_cache_dir: str = flag("~/.cache/code_clippy/tokens", "folder of token files, shared by all runs", "data")

    do_train: bool = flag(False, "train", "run")
    do_eval: bool = flag(False, "evaluate on the validation split, at --eval_steps and at every save", "run")
    overwrite_output_dir: bool = flag(
        False, "move an earlier run in output_dir aside, to previous-N/; nothing is deleted", "run"
    )
    resume_from_checkpoint: str | None = flag(
        None, "auto: go on from the newest checkpoint in output_dir; or a checkpoint's folder", "run"
    )
    allow_changes: str | None = flag(
        None, "go on from a checkpoint although these differ from it: a comma list of the names that a refusal gives",
        "run",
    )  # fmt: skip
    seed: int = flag(42, "seed of the order of blocks and of new weights", "run")
    dry_run: bool = flag(
        False, "print the configuration, the memory of a step, where parameters lie and the first block, and stop",
        "run",
    )  # fmt: skip

    per_device_train_batch_size: int = flag(8, "blocks a device in one pass", "optimization")
    per_device_eval_batch_size: int = flag(8, "blocks a device in one evaluation pass", "optimization")
    gradient_accumulation_steps: int = flag(1, "passes an optimizer step", "optimization")
    learning_rate: float = flag(5e-5, "peak learning rate", "optimization")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = flag(
        "cosine", "after warmup: cosine, down to a tenth of the peak; linear, down to 0 at the end; constant",
        "optimization",
    )  # fmt: skip
    warmup_steps: int = flag(0, "optimizer steps of linear warmup from 0", "optimization")
    warmup_ratio: float = flag(0.0, "warmup as a share of the run's steps, where --warmup_steps is 0", "optimization")
    decay_steps: int | None = flag(
        None,
        "optimizer steps of the cosine after warmup, down to a tenth of the peak and flat from there; "
        "default: to the end of the run",
        "optimization",
    )
    optim: Literal["adamw", "adafactor"] = flag(
        "adamw", "adafactor keeps two vectors a matrix where AdamW keeps two matrices", "optimization"
    )
    adafactor: bool = flag(False, "the reference's name of --optim adafactor", "optimization")
    adam_beta1: float = flag(0.9, "AdamW's decay of the first moment", "optimization")
    adam_beta2: float = flag(0.999, "AdamW's decay of the second moment", "optimization")
    adam_epsilon: float = flag(1e-8, "AdamW's epsilon", "optimization")
    weight_decay: float = flag(0.0, "weight decay, times the learning rate; never on biases and norms", "optimization")
    remat: Remat = flag(
        "none",
        "what the backward pass computes again to save memory: nothing, all but matrix products, or whole blocks",
        "optimization",
    )
    attention: Attention = flag(
        "auto", "how attention is computed; auto: the fastest that the devices can", "optimization"
    )
    placement: Literal["pmap", "mesh"] = flag(
        "pmap", "pmap: each device holds the whole model; mesh: model and optimizer state are cut over devices",
        "optimization",
    )  # fmt: skip
    mesh: str | None = flag(
        None, "with --placement mesh: data=N,fsdp=N,tensor=N, whose product is the devices; default: all over fsdp",
        "optimization",
    )  # fmt: skip
    max_grad_norm: float = flag(1.0, "gradients are clipped to this global norm; 0: not at all", "optimization")
    max_skipped_steps: int = flag(
        20, "stop after so many steps in a row that changed nothing (gradients not finite, no weight); 0: never",
        "optimization",
    )  # fmt: skip

    logging_steps: int = flag(100, "optimizer steps between two lines of metrics", "output")
    eval_steps: int | None = flag(None, "optimizer steps between evaluations; default: --save_steps", "output")
    save_steps: int = flag(500, "optimizer steps between checkpoints", "output")
    save_strategy: Literal["steps", "epoch", "no"] = flag(
        "steps", "a checkpoint every --save_steps, at the end of every epoch, or at the end of the run alone", "output"
    )
    save_total_limit: int | None = flag(
        None, "keep this many of the newest checkpoints, and the best by loss on validation; default: all", "output"
    )
    load_best_model_at_end: bool = flag(
        False, "leave the best checkpoint's model in output_dir, by loss on validation, not the last one's", "output"
    )
    checkpoint_store: str | None = flag(
        None, "gs://... or another address that gets a copy of each checkpoint, from which a new machine goes on",
        "output",
    )  # fmt: skip
    save_optimizer: bool = flag(True, "write the optimizer's state too, without which a run cannot go on", "output")
    report_to: str = flag(
        "none", "trackers: none, tensorboard, wandb, a comma list, or all that are installed", "output"
    )
    eval_completions: int = flag(
        3, "prompts that are completed at each evaluation, into samples.jsonl and the trackers; 0: none", "output"
    )
    sample_prompts: str | None = flag(
        None, 'their file: JSON lines of {"prompt"}, or text, an empty line between prompts; default: a few of ours',
        "output",
    )  # fmt: skip
    eval_pass_at_k: BenchmarkName | None = flag(
        None, "have the model write a benchmark's programs and run them in the sandbox, at checkpoints", "output"
    )
    eval_pass_at_k_every: int = flag(1, "at every so many checkpoints, and at the last", "output")
    eval_pass_at_k_samples: int = flag(1, "programs a task", "output")
    eval_pass_at_k_problems: str | None = flag(None, "file or folder of its problems; default: as published", "output")
    run_name: str | None = flag(None, "name of the run in the trackers; default: output_dir's name", "output")
    skip_memory_metrics: bool = flag(True, "false: log peak memory of host and devices with the metrics", "output")
    peak_tflops: float | None = flag(
        None, "a device's dense bfloat16 peak, of which MFU is a share; default: by the device's name", "output"
    )
    profile_steps: str | None = flag(
        None, "A:B traces optimizer steps A to B, both counted, into output_dir/profile", "output"
    )

    push_to_hub: bool = flag(
        False,
        "push the model to the Hub, in the background; the token is HF_TOKEN or that of `hf auth login`",
        "hub",
    )
    hub_model_id: str | None = flag(
        None, "OWNER/NAME or NAME of the repository; default: the run's name, under the token's user", "hub"
    )
    hub_strategy: Literal["end", "every_save", "checkpoint", "all_checkpoints"] = flag(
        "every_save",
        "what is pushed: the model at the end; also after each save; also the newest checkpoint, to last-checkpoint/; "
        "or all checkpoints",
        "hub",
    )
    hub_private_repo: bool = flag(False, "make the repository private, where it is not there yet", "hub")
    hub_push_optimizer: bool = flag(
        False, "push the optimizer's state with the checkpoints, without which no run can go on from them", "hub"
    )

    def __post_init__(self) -> None:
        positive = (
            "block_size", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps",
            "logging_steps", "eval_steps", "save_steps", "save_total_limit", "max_eval_samples",
            "preprocessing_num_workers", "decay_steps", "eval_pass_at_k_every", "lora_rank",
            "eval_pass_at_k_samples",
        )  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadArguments(f"--{name} is {value}; wanted at least 1")
        ranges = {  # name: (wanted, whether it is so); not-a-number fulfils none
            "learning_rate": ("more than 0", 0 < self.learning_rate < math.inf),
            "warmup_steps": ("0 or more", self.warmup_steps >= 0),
            "eval_completions": ("0 (none) or more", self.eval_completions >= 0),
            "seed": ("0 or more, below 2^31", 0 <= self.seed < 2**31),
            "adam_beta1": ("0 or more and less than 1", 0 <= self.adam_beta1 < 1),
            "adam_beta2": ("0 or more and less than 1", 0 <= self.adam_beta2 < 1),
            "adam_epsilon": ("more than 0", 0 < self.adam_epsilon < math.inf),
            "weight_decay": ("0 or more", 0 <= self.weight_decay < math.inf),
            "max_grad_norm": ("0 (no clipping) or more", 0 <= self.max_grad_norm < math.inf),
            "warmup_ratio": ("0 to 1", 0 <= self.warmup_ratio <= 1),
            "max_skipped_steps": ("0 (never) or more", self.max_skipped_steps >= 0),
            "peak_tflops": ("more than 0", self.peak_tflops is None or 0 < self.peak_tflops < math.inf),
        }
        for name, (wanted, fulfilled) in ranges.items():
            if not fulfilled:
                raise BadArguments(f"--{name} is {getattr(self, name)}; wanted {wanted}")
        if self.adafactor:
            object.__setattr__(self, "optim", "adafactor")
        if self.decay_steps is not None and self.lr_scheduler_type != "cosine":
            raise BadArguments(
                f"--decay_steps is the cosine's, and --lr_scheduler_type is {self.lr_scheduler_type}; leave one out"
            )
        self.profiled()
        if self.cache_limit_gb is not None and not self.cache_limit_gb > 0:
            raise BadArguments(f"--cache_limit_gb is {self.cache_limit_gb}; wanted more than 0, or none for no limit")
        named = [name for name in ("model_name_or_path", "config_name") if getattr(self, name)]
        if len(named) > 1 or not (named or self.model_type):
            raise BadArguments(
                "no model, or two: name one to fine-tune with --model_name_or_path, or a new one with --config_name or "
                "--model_type"
            )
        if self.lora_rank is None and (self.lora_alpha is not None or self.lora_targets is not None):
            raise BadArguments("--lora_alpha and --lora_targets are of adapters; give --lora_rank too, 8 say")
        if self.lora_alpha is not None and not 0 < self.lora_alpha < math.inf:
            raise BadArguments(f"--lora_alpha is {self.lora_alpha}; wanted more than 0")
        if self.lora_rank is not None and not self.model_name_or_path:
            raise BadArguments(
                f"--lora_rank {self.lora_rank} adapts a model that is there; name it with --model_name_or_path"
            )
        if self.mesh and self.placement != "mesh":
            raise BadArguments(f"--mesh {self.mesh} is given with --placement {self.placement}; give --placement mesh")
        if not self.model_name_or_path and not self.tokenizer_name:
            raise BadArguments("a new model has no tokenizer of its own; name one with --tokenizer_name")
        if "://" in self.output_dir:
            raise BadArguments(
                f"--output_dir is {self.output_dir}; wanted a folder, on a disk that all processes of the run share. "
                "--checkpoint_store takes such an address, for copies of the checkpoints"
            )
        for name in ("output_dir", "model_name_or_path", "config_name", "tokenizer_name", "dataset_name", "data_dir",
                     "cache_dir", "token_cache_dir", "train_file", "validation_file", "sample_prompts",
                     "eval_pass_at_k_problems"):  # fmt: skip
            value = getattr(self, name)
            if value:  # a shell leaves the ~ of --output_dir=~/out to us
                object.__setattr__(self, name, os.path.expanduser(value))  # noqa: PTH111 (Path drops a leading ./)
        if self.hub_push_optimizer and (
            self.hub_strategy not in ("checkpoint", "all_checkpoints") or not self.save_optimizer
        ):
            raise BadArguments(
                f"--hub_push_optimizer goes with whole checkpoints, and --hub_strategy is {self.hub_strategy}, "
                f"--save_optimizer {self.save_optimizer}; give --hub_strategy checkpoint or all_checkpoints, and "
                "--save_optimizer true"
            )
        self.trackers()

    @property
    def model(self) -> str:
        """What the flags name the model by."""
        return str(self.model_name_or_path or self.config_name or self.model_type)

    def eval_limit(self) -> dict[str, int | None]:
        """What --max_eval_samples bounds, by the name of the limit on token files."""
        return {"max_blocks": self.max_eval_samples}

    def length(self) -> dict[str, float]:
        """How long the run is, by the flag that says it."""
        raise NotImplementedError

    def schedule(self) -> dict[str, Any]:
        """The learning-rate schedule by its numbers, as JSON values; training.schedule makes it.

        The run's length is among them where the schedule depends on it: only other runs may be made longer.
        """
        by_ratio = not self.warmup_steps and self.warmup_ratio > 0
        numbers = {"kind": self.lr_scheduler_type, "peak": self.learning_rate, "warmup_steps": self.warmup_steps}
        numbers |= {"warmup_ratio": self.warmup_ratio} if by_ratio else {}
        numbers |= {"decay_steps": self.decay_steps} if self.decay_steps else {}
        to_the_end = self.lr_scheduler_type != "constant" and not self.decay_steps
        return numbers | (self.length() if by_ratio or to_the_end else {})

    def duration(self, global_batch: int, num_blocks: Callable[[], int]) -> tuple[int, Due]:
        """The run's optimizer steps, and after which of them a checkpoint is due.

        `num_blocks`, the blocks of an epoch, is only known after the whole split is tokenised.
        """
        raise NotImplementedError

    def profiled(self) -> tuple[int, int] | None:
        """The first and the last optimizer step that --profile_steps names, counted from 1."""
        if self.profile_steps is None:
            return None
        found = re.fullmatch(r"(\d+):(\d+)", self.profile_steps)
        first, last = map(int, found.groups()) if found else (0, 0)
        if not 1 <= first <= last:
            raise BadArguments(
                f"--profile_steps is {self.profile_steps!r}; wanted A:B, the first and the last step to trace, from 1"
            )
        return first, last

    def changes_allowed(self) -> list[str]:
        """The names that --allow_changes lists."""
        return (self.allow_changes or "").replace(",", " ").split()

    def trackers(self) -> tuple[str, ...]:
        """The trackers that --report_to names, in TRACKERS' order."""
        words = self.report_to.replace(",", " ").split()
        unknown = [word for word in words if word not in (*TRACKERS, "all", "none")]
        if unknown:
            raise BadArguments(f"--report_to names {unknown[0]!r}; it takes none, all, {', '.join(TRACKERS)}")
        installed = [name for name, module in TRACKERS.items() if find_spec(module)]
        missing = [name for name in TRACKERS if name in words and name not in installed]
        if missing:
            raise BadArguments(
                f"--report_to names {missing[0]}, which is not installed; pip install {TRACKERS[missing[0]]}, or "
                "leave it out"
            )
        return tuple(name for name in installed if "all" in words or name in words)

    def resolved(self) -> dict[str, Any]:
        """The configuration with every default filled in, as JSON values."""
        return as_json(self) | {
            "run_name": self.run_name or Path(self.output_dir).name,
            "eval_steps": self.eval_steps or self.save_steps,
            "report_to": list(self.trackers()),
        }
