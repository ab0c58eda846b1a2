"""The main job's data, tokenizer and base models, for the benchmarks that fine-tune them in several ways.

Python's standard library is split in halves: base models are trained from scratch on one, fine-tuned on the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolkit import STREAMING, command, flags

SPLITS = ("train", "validation", "test")
CONFIG = "training/main_job_model.json"
BATCH, BLOCK = 8, 256


def make_corpus(folder: Path) -> None:
    """corpus/, half-1/, half-2/ and tokenizer/ in `folder`, unless they are there."""
    log = folder / "log.txt"
    if not (folder / "corpus" / "manifest.json").exists():
        command(
            log, "-m", "data_processing", "corpus",
            *flags(output_dir=folder / "corpus", num_train_shards=4, test_split_percentage=8),
        )  # fmt: skip
    for split in SPLITS:
        for number, shard in enumerate(sorted((folder / "corpus" / split).glob("*.jsonl.zst"))):
            for half in (1, 2):
                link = folder / f"half-{half}" / split / shard.name
                if (split != "train" or number % 2 + 1 == half) and not link.exists():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(shard.resolve())
    if not (folder / "tokenizer" / "tokenizer.json").exists():
        command(
            log, "-m", "tokenizer_patch", "train",
            *flags(data_dir=folder / "half-1", output_dir=folder / "tokenizer", vocab_size=4096,
                   collapse_whitespace=True),
        )  # fmt: skip


def train(folder: Path, data: Path, name: str, steps: int, seed: int, **more: object) -> Path:
    """Train on blocks of `data`; goes on with what was begun. The model's folder: `folder`/`name`."""
    output = folder / name
    command(
        folder / "log.txt", STREAMING,
        *flags(
            data_dir=data, output_dir=output, do_train=True, do_eval=True, block_size=BLOCK, dtype="bfloat16",
            per_device_train_batch_size=BATCH, max_steps=steps, seed=seed, adam_beta2=0.95, weight_decay=0.1,
            logging_steps=20, max_eval_samples=64, eval_steps=steps, save_steps=steps, save_total_limit=1,
            eval_completions=0, resume_from_checkpoint="auto", token_cache_dir=folder / "tokens", **more,
        ),
    )  # fmt: skip
    return output


def make_base(folder: Path, corpus: Path, steps: int, seed: int) -> Path:
    """A GPT-Neo from scratch on half-1."""
    return train(
        folder, corpus / "half-1", "base", steps, seed,
        config_name=CONFIG, tokenizer_name=corpus / "tokenizer", learning_rate=2e-3, warmup_steps=30,
    )  # fmt: skip


def bits_per_byte(log: Path, data: Path, models: list[Path], output: Path, **more: object) -> dict[Path, float]:
    """Bits per byte of models on the same held-out documents."""
    words = flags(data_dir=data, dtype="bfloat16", output=output, **more)
    command(log, "-m", "evaluation", "bits_per_byte", "--models", *models, *words)
    found = json.loads(output.read_text())["results"]
    return {model: found[str(model)]["bits_per_byte"] for model in models}


def metrics(run: Path, kind: str = "train") -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]
