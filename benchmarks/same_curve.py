"""One recipe, one curve: a batch cut in three ways, and a run that was killed and resumed.

python benchmarks/same_curve.py [--epochs 2 --output_dir DIR]

A small GPT-Neo learns solutions (loss on them alone, codex_s) with 8 blocks an optimizer step, taken in one, two and
four passes; and once more in one, killed (SIGKILL) after its first checkpoint and given again. Float32, since it is
the arithmetic that is looked at. The curves lie over each other; the table says how closely.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from from_zero import CONFIG, write_untrained
from small_job import metrics
from toolkit import APPS, ROOT, command, flags

CUTS = {"8 x 1": (8, 1), "4 x 2": (4, 2), "2 x 4": (2, 4)}
KILLED = "8 x 1, killed and resumed"
SAVE_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--output_dir", type=Path)
    options = parser.parse_args()
    folder = options.output_dir or Path(tempfile.mkdtemp(prefix="same-curve-"))
    log, tasks = folder / "log.txt", folder / "tasks"
    command(log, "-m", "data_processing", "practice", *flags(output_dir=tasks, num_train=options.tasks, num_test=10))
    words = flags(data_dir=tasks, output_dir=folder / "tokenizer", vocab_size=CONFIG["vocab_size"])
    command(log, "-m", "tokenizer_patch", "train", *words)
    write_untrained(folder / "start", folder / "tokenizer", seed=0)

    def recipe(name: str, rows: int, passes: int) -> list[str]:
        return [APPS, *flags(
            model_name_or_path=folder / "start", dataset_name="data_processing/pairs.py",
            dataset_config_name="codex_s", data_dir=tasks, output_dir=folder / name, do_train=True, do_eval=True,
            segment_ids=True, block_size=256, num_train_epochs=options.epochs, per_device_train_batch_size=rows,
            gradient_accumulation_steps=passes, learning_rate=1e-3, warmup_steps=10, logging_steps=1,
            eval_steps=100000, save_steps=SAVE_STEPS, save_total_limit=1, eval_completions=0, dtype="float32",
            token_cache_dir=folder / "tokens", resume_from_checkpoint="auto",
        )]  # fmt: skip

    for name, (rows, passes) in CUTS.items():
        command(log, *recipe(name, rows, passes))
    kill_after_checkpoint(recipe(KILLED, 8, 1), folder / KILLED)
    command(log, *recipe(KILLED, 8, 1))
    runs = [*CUTS, KILLED]
    curves = {name: [row["loss"] for row in metrics(folder / name)] for name in runs}
    first = curves["8 x 1"]
    print(
        "| blocks a pass x passes | steps | last loss | furthest from the first curve, of its loss | equal to the bit |"
    )
    print("|---|---|---|---|---|")
    for name in runs:
        assert len(curves[name]) == len(first), f"{name} has {len(curves[name])} steps, not {len(first)}"
        apart = max(abs(a - b) / a for a, b in zip(first, curves[name], strict=True))
        same = (folder / name / "model.safetensors").read_bytes() == (
            folder / "8 x 1" / "model.safetensors"
        ).read_bytes()
        print(f"| {name} | {len(first)} | {curves[name][-1]:.6f} | {apart:.1e} | {'yes' if same else 'no'} |")
    draw(curves, folder / "curves.png")
    print(f"\nwrote the runs and curves.png to {folder}")


def kill_after_checkpoint(words: list[str], output_dir: Path) -> None:
    """Start a command and kill it, without a word to it, some steps after its first checkpoint has its name."""
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    while not (output_dir / f"ckpt-{SAVE_STEPS}").is_dir() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.5)
    if process.poll() is not None:
        raise SystemExit("the run ended before it could be killed; give more --tasks")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def draw(curves: dict[str, list[float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for number, (name, losses) in enumerate(curves.items()):
        axes.plot(range(1, len(losses) + 1), losses, label=name, linewidth=6 - 1.6 * number, alpha=0.7)
    axes.set(xlabel="optimizer step", ylabel="loss on solutions, nats a token", title="One recipe, four ways to run it")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
