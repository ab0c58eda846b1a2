"""From 0 to working code: a small GPT-Neo learns to put operations together that it never saw side by side.

python benchmarks/from_zero.py [--seeds 0 1 2 --epochs 2 --tasks 300 --samples 10 --output_dir DIR]

Tasks: docstring to function, chains of 2 and 3 of 79 operations (data_processing/practice.py). 15 % of all pairs of
operations that fit are in no training task; every scored task holds one of them. Beside the trained model: the model
before training, and the solution of the training task whose docstring is nearest. All are run in the sandbox.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from toolkit import APPS, command, flags

CONFIG = {
    "model_type": "gpt_neo", "vocab_size": 1024, "max_position_embeddings": 256, "hidden_size": 256, "num_layers": 6,
    "num_heads": 4, "attention_types": [[["global"], 6]], "intermediate_size": 1024, "bos_token_id": 0,
    "resid_dropout": 0.0, "embed_dropout": 0.0, "attention_dropout": 0.0, "eos_token_id": 0,
}  # fmt: skip
LENGTHS = (2, 3, 4, 5)  # operations a task; training has 1 to 3
TEMPERATURES = (0.2, 0.8)  # Codex: for pass@1, and for pass@k of more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--train_tasks", type=int, default=30_000)
    parser.add_argument("--tasks", type=int, default=300, help="scored tasks of 2 and 3 operations")
    parser.add_argument("--longer_tasks", type=int, default=100, help="scored tasks of each greater length")
    parser.add_argument("--samples", type=int, default=10, help="a task: at least 2")
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--output_dir", type=Path)
    options = parser.parse_args()
    folder = options.output_dir or Path(tempfile.mkdtemp(prefix="from-zero-"))
    found = []
    for seed in options.seeds:
        scores = run_seed(folder / f"seed-{seed}", seed, options)
        found.append(scores)
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.1%}" for name, value in scores.items()), flush=True)
    print(
        f"\n| {options.tasks} held-out tasks, {options.epochs:g} epochs | "
        + " | ".join(f"seed {s}" for s in options.seeds)
        + " | mean |"
    )
    print("|---" * (len(found) + 2) + "|")
    for name in found[0]:
        values = [scores[name] for scores in found]
        print(f"| {name} | " + " | ".join(f"{value:.1%}" for value in [*values, float(np.mean(values))]) + " |")
    print(f"\nwrote models, samples and verdicts to {folder}")


def run_seed(folder: Path, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train one model and score it; the names of its scores are the rows of the table."""
    log, tasks = folder / "log.txt", folder / "tasks"
    if not (folder / "trained" / "config.json").exists():
        command(
            log, "-m", "data_processing", "practice",
            *flags(output_dir=tasks, num_train=options.train_tasks, num_test=options.tasks, seed=seed),
        )  # fmt: skip
        write_longer(tasks / "longer.jsonl", options.longer_tasks, seed)
        command(
            log, "-m", "tokenizer_patch", "train",
            *flags(data_dir=tasks, output_dir=folder / "tokenizer", vocab_size=CONFIG["vocab_size"]),
        )  # fmt: skip
        write_untrained(folder / "untrained", folder / "tokenizer", seed)
        command(
            log, APPS,
            *flags(
                model_name_or_path=folder / "untrained", dataset_name="data_processing/pairs.py",
                dataset_config_name="codex_s", data_dir=tasks, output_dir=folder / "trained", do_train=True,
                do_eval=True, segment_ids=True, block_size=256, dtype="bfloat16", num_train_epochs=options.epochs,
                per_device_train_batch_size=16, per_device_eval_batch_size=16, learning_rate=options.learning_rate,
                warmup_steps=100, adam_beta2=0.98, weight_decay=0.1, logging_steps=100, eval_steps=500,
                save_steps=500, save_total_limit=1, eval_completions=0, seed=seed,
                token_cache_dir=folder / "tokens", resume_from_checkpoint="auto",
            ),
        )  # fmt: skip
    problems, longer = tasks / "problems.jsonl", tasks / "longer.jsonl"
    before = evaluate(folder, "untrained", problems, 0.2, 1)
    cold, warm = (evaluate(folder, "trained", problems, t, options.samples) for t in TEMPERATURES)
    beyond = evaluate(folder, "trained", longer, TEMPERATURES[0], 1)
    write_nearest(folder / "nearest.jsonl", tasks, problems)
    command(
        log, "-m", "evaluation", "score",
        *flags(benchmark="humaneval", problems=problems, samples=folder / "nearest.jsonl", bleu="false",
               output_dir=folder / "nearest-scored"),
    )  # fmt: skip
    nearest = json.loads((folder / "nearest-scored" / "results.json").read_text())
    lengths = by_length(problems, cold) | by_length(longer, beyond)
    return {
        "before training, pass@1": before["metrics"]["pass@1"],
        "nearest docstring's solution, pass@1": nearest["metrics"]["pass@1"],
        "trained, pass@1 (T 0.2)": cold["metrics"]["pass@1"],
        "pass@1 (T 0.8)": warm["metrics"]["pass@1"],
        f"the likeliest of {options.samples} (T 0.8)": warm["reranking"]["best_mean_log_probability"],
        f"pass@{options.samples} (T 0.8)": warm["reranking"]["oracle"],
        **{f"chains of {length}, pass@1 (T 0.2)": lengths[length] for length in LENGTHS if length in lengths},
    }


def write_longer(path: Path, each: int, seed: int) -> None:
    """Problems of more operations than any training task has."""
    from data_processing.practice import unseen_tasks

    with path.open("w") as file:
        for length in LENGTHS[2:]:
            for number, task in enumerate(unseen_tasks(each, seed, (length,))):
                file.write(json.dumps(task.problem(1000 * length + number)) + "\n")


def write_untrained(folder: Path, tokenizer: Path, seed: int) -> None:
    from modeling.checkpoint import Model, save
    from modeling.decoder import config_from_hf, init_params

    config = config_from_hf(CONFIG)
    save(folder, Model(config, init_params(config, seed)), tokenizer_dir=tokenizer, eos_token_id=0)


def evaluate(folder: Path, model: str, problems: Path, temperature: float, samples: int) -> dict[str, Any]:
    """The results of sampling and judging."""
    output = folder / f"{model}-{problems.stem}-{temperature}"
    command(
        folder / "log.txt", "-m", "evaluation", "run",
        *flags(benchmark="humaneval", problems=problems, model=folder / model, num_samples=samples,
               temperature=temperature, max_new_tokens=128, bleu="false", output_dir=output),
    )  # fmt: skip
    found: dict[str, Any] = json.loads((output / "results.json").read_text())
    return found


def by_length(problems: Path, results: dict[str, Any]) -> dict[int, float]:
    """pass@1 of the tasks of each number of operations."""
    shares: dict[int, list[float]] = {}
    for row in read_lines(problems):
        task = results["tasks"][row["task_id"]]
        shares.setdefault(row["num_operations"], []).append(task["passed"] / task["samples"])
    return {length: float(np.mean(values)) for length, values in shares.items()}


def write_nearest(path: Path, tasks: Path, problems: Path) -> None:
    """Answer each problem with the solution of the training task whose docstring is nearest."""
    from data_processing.functions import solution_example
    from data_processing.prompt_answer import Example
    from data_processing.shards import read_texts, shards_of

    known = [e for e in map(solution_example, read_texts(shards_of(tasks, "train"))) if isinstance(e, Example)]
    asked = read_lines(problems)
    chosen = nearest([row["prompt"] for row in asked], [example.prompt for example in known])
    with path.open("w") as file:
        for row, place in zip(asked, chosen, strict=True):
            file.write(json.dumps({"task_id": row["task_id"], "completion": known[place].answer}) + "\n")


def nearest(asked: Sequence[str], known: Sequence[str]) -> list[int]:
    """The place in `known` nearest to each of `asked`: by cosine of words and pairs of words, weighted by rarity."""
    from scipy.sparse import csr_matrix

    vocabulary: dict[str, int] = {}

    def counts(texts: Sequence[str], grow: bool) -> csr_matrix:
        rows, columns = [], []
        for number, text in enumerate(texts):
            words = text.lower().replace('"""', " ").replace(",", " ,").split()
            for term in words + [" ".join(pair) for pair in pairwise(words)]:
                place = vocabulary.setdefault(term, len(vocabulary)) if grow else vocabulary.get(term)
                if place is not None:
                    rows.append(number)
                    columns.append(place)
        return csr_matrix((np.ones(len(rows)), (rows, columns)), (len(texts), len(vocabulary)))

    documents = counts(known, grow=True)
    questions = counts(asked, grow=False)
    rarity = np.log(len(known) / (1 + np.bincount(documents.indices, minlength=len(vocabulary))))
    documents, questions = documents.multiply(rarity).tocsr(), questions.multiply(rarity).tocsr()
    lengths = np.sqrt(documents.multiply(documents).sum(axis=1)).A1
    return [int(np.argmax((documents @ question.T).toarray()[:, 0] / lengths)) for question in questions]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
