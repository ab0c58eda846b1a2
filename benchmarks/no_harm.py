"""What fine-tuning costs elsewhere: bits per byte on general code and on the new domain, before and after.

python benchmarks/no_harm.py [--seeds 0 1 2 --output_dir DIR]

The base is a small GPT-Neo on one half of Python's standard library. It is fine-tuned on more of the same (the other
half), and on a narrow domain, small tasks with loss on their solutions (codex_s): at two learning rates, and by LoRA.
General: held-out packages of the standard library. Own: held-out text of what was trained on.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from small_job import bits_per_byte, make_base, make_corpus, train
from toolkit import APPS, command, flags

NARROW: dict[str, dict[str, Any]] = {
    "tasks, learning rate 1e-3": {"learning_rate": 1e-3},
    "tasks, learning rate 1e-4": {"learning_rate": 1e-4},
    "tasks, LoRA of rank 8, 1e-3": {"learning_rate": 1e-3, "lora_rank": 8},
}
MORE = "more of the same, 1e-3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--base_steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=200, help="on more of the same")
    parser.add_argument("--tasks", type=int, default=8000, help="of the narrow domain, one epoch")
    parser.add_argument("--output_dir", type=Path)
    options = parser.parse_args()
    folder = options.output_dir or Path(tempfile.mkdtemp(prefix="no-harm-"))
    make_corpus(folder)
    tasks = folder / f"tasks-{options.tasks}"
    if not (tasks / "problems.jsonl").exists():  # written last
        shutil.rmtree(tasks, ignore_errors=True)
        words = flags(output_dir=tasks, num_train=options.tasks, num_validation=400, num_test=10)
        command(folder / "log.txt", "-m", "data_processing", "practice", *words)
    seeds = [run_seed(folder, folder / f"seed-{seed}", tasks, seed, options) for seed in options.seeds]
    print("| fine-tuned on | general, before | after | change by seed | own domain, before | after |")
    print("|---|---|---|---|---|---|")
    for name in seeds[0]:
        rows = [found[name] for found in seeds]
        general_before, general, own_before, own = (statistics.mean(column) for column in zip(*rows, strict=True))
        changes = ", ".join(f"{after - before:+.3f}" for before, after, _, _ in rows)
        print(f"| {name} | {general_before:.3f} | {general:.3f} | {changes} | {own_before:.3f} | {own:.3f} |")
    print(f"\nbits a byte, means of seeds {', '.join(map(str, options.seeds))}; wrote models and scores to {folder}")


def run_seed(
    corpus: Path, folder: Path, tasks: Path, seed: int, options: argparse.Namespace
) -> dict[str, tuple[float, ...]]:
    """(general before, general after, own before, own after) of each way to fine-tune."""
    base = make_base(folder, corpus, options.base_steps, seed)
    more = train(
        folder, corpus / "half-2", "more", options.steps, seed,
        model_name_or_path=base, learning_rate=1e-3, warmup_steps=20,
    )  # fmt: skip
    tuned = {}
    for number, (name, chosen) in enumerate(NARROW.items()):
        tuned[name] = folder / f"narrow-{number}"
        command(
            folder / "log.txt", APPS,
            *flags(
                model_name_or_path=base, dataset_name="data_processing/pairs.py", dataset_config_name="codex_s",
                data_dir=tasks, output_dir=tuned[name], do_train=True, do_eval=True, segment_ids=True, block_size=256,
                dtype="bfloat16", per_device_train_batch_size=8, num_train_epochs=1, warmup_steps=20, seed=seed,
                logging_steps=50, eval_steps=1000, save_steps=1000, save_total_limit=1, eval_completions=0,
                token_cache_dir=folder / "tokens", resume_from_checkpoint="auto", **chosen,
            ),
        )  # fmt: skip
    models = [base, more, *tuned.values()]
    log = folder / "log.txt"
    general = bits_per_byte(log, corpus / "corpus", models, folder / "general.json", max_bytes=400_000)
    own = bits_per_byte(log, tasks, [base, *tuned.values()], folder / "own.json", split="validation")
    found = {MORE: (general[base], general[more], general[base], general[more])}
    return found | {name: (general[base], general[run], own[base], own[run]) for name, run in tuned.items()}


if __name__ == "__main__":
    main()
