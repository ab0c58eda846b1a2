"""A whole training run beside its bare step: what data, logging, evaluation, saving and starting cost.

python benchmarks/whole_run.py [--steps 12 --rows 2 --length 512]

GPT-Neo 125M's shape from scratch on code of this machine, by the command itself. Four intervals of `--steps`: one in
which the process takes its memory, a plain one, one that begins while a checkpoint is written, a plain one. Then the
bare step, in this process. Costs are given for 500 steps, the reference's interval between evaluations and checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from code_shards import write_shards, write_tokenizer
from peers import GPT_NEO_125M, seconds
from train_step import our_step

ROOT = Path(__file__).resolve().parent.parent
EVAL_BLOCKS = 16
REFERENCE = {"rows": 1024, "eval_rows": 2000, "every": 500}  # blocks a step, blocks an evaluation, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    options = parser.parse_args()
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"  # as run.sh sets it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
        command = prepare(folder, options)
        cold, _ = run(folder / "cold", [*command, "--max_steps=1", "--logging_steps=1"])
        warm, _ = run(folder / "warm", [*command, "--max_steps=1", "--logging_steps=1"])
        n = options.steps
        words = [
            f"--max_steps={4 * n}",
            f"--logging_steps={n}",
            f"--save_steps={2 * n}",
            "--do_eval",
            "--save_optimizer",
        ]
        _, rows = run(folder / "whole", [*command, *words, f"--max_eval_samples={EVAL_BLOCKS}"])
    bare = our_step("125M", options.rows, options.length)
    bare()
    step = statistics.median(seconds(bare) for _ in range(max(n, 5)))
    report(options, cold, warm, rows, step)


def prepare(folder: Path, options: argparse.Namespace) -> list[str]:
    """Corpus, tokenizer and config; the command's words so far."""
    from tokenizer_patch.tokenizer import Tokenizer

    (folder / "tokenizer").mkdir()
    write_tokenizer(folder / "tokenizer")
    shards = write_shards(folder / "corpus", 4)
    shutil.copytree(shards[0].parent, folder / "corpus" / "validation")
    size = max(Tokenizer.load(folder / "tokenizer").size, GPT_NEO_125M["vocab_size"])
    (folder / "config.json").write_text(json.dumps(GPT_NEO_125M | {"vocab_size": size}))
    return [
        sys.executable, str(ROOT / "training" / "run_clm_streaming_flax.py"), "--config_name", f"{folder}/config.json",
        "--tokenizer_name", f"{folder}/tokenizer", "--data_dir", f"{folder}/corpus", "--do_train", "--dtype=bfloat16",
        f"--token_cache_dir={folder}/tokens", f"--block_size={options.length}", "--warmup_steps=5",
        f"--per_device_train_batch_size={options.rows}", f"--per_device_eval_batch_size={2 * options.rows}",
    ]  # fmt: skip


def run(output_dir: Path, words: list[str]) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the command to its first line of a step, and the rows of its metrics."""
    started = time.perf_counter()
    process = subprocess.Popen([*words, "--output_dir", str(output_dir)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    first = 0.0
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step ") and not first:
            first = time.perf_counter() - started
    if process.wait():
        raise SystemExit(f"{' '.join(words[:2])} ended with status {process.returncode}")
    metrics = [json.loads(line) for line in (output_dir / "metrics.jsonl").read_text().splitlines()]
    return first, metrics


def report(options: argparse.Namespace, cold: float, warm: float, rows: list[dict[str, Any]], step: float) -> None:
    tokens = options.rows * options.length
    train = [row for row in rows if row["kind"] == "train"]
    evals = [row for row in rows if row["kind"] == "eval"]
    took = [options.steps * tokens / row["tokens_per_second"] for row in train]
    plain, saving = statistics.mean([took[1], took[3]]), took[2]
    pace = tokens * options.steps / plain
    print(f"whole run, GPT-Neo 125M, {options.rows} x {options.length}, bfloat16")
    print(f"  first step after {warm:.1f} s with a warm compilation cache, {cold:.1f} s with a cold one (wanted: 25)")
    print(
        f"  {pace:,.0f} tokens/s; bare step {tokens / step:,.0f}; ratio {pace * step / tokens:.3f} (wanted: 0.95), "
        f"waiting for data {max(row['data_wait'] for row in train):.2%} (wanted: under 1 %)"
    )
    every, blocks = REFERENCE["every"], REFERENCE["eval_rows"]
    evaluating = max(row["eval_tokens"] / row["eval_seconds"] for row in evals)  # the first one compiles
    share = blocks / evaluating / (every * REFERENCE["rows"] / pace)
    print(
        f"  evaluation {evaluating:,.0f} tokens/s: {share:.2%} of the reference's run ({blocks} blocks a {every} steps)"
    )
    print(
        f"  a checkpoint with optimizer state costs {saving - plain:.1f} s: {(saving - plain) / (every * step):.2%} "
        f"of {every} such steps"
    )


if __name__ == "__main__":
    main()
