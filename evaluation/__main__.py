"""Score models by the code that they write, and by the bits that they need for ours.

python -m evaluation run --benchmark humaneval --model DIR_OR_ID --num_samples 20 --temperature 0.2 --output_dir OUT
python -m evaluation score --benchmark humaneval --samples samples.jsonl
python -m evaluation report OUT OTHER_OUT
python -m evaluation retell --benchmark humaneval --model CODEX_D --writer CODEX_S --output_dir OUT
python -m evaluation functions --data_dir CORPUS --output_dir PAIRS
python -m evaluation bits_per_byte --models BASE TUNED --data_dir CORPUS
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.commands import Functions, MakeReport, Retell, Run, Score
from interface.choices import Precision
from interface.errors import run
from interface.files import resolve, write_json
from interface.flags import choose, flag, required, want_at_least


@dataclass(frozen=True)
class BitsPerByte:
    models: list[str] = required("model folders or Hub ids, scored on the same documents")
    data_dir: str = required("corpus folder")
    split: str = flag("test", "split to score on")
    max_bytes: int = flag(1_000_000, "score at most this much text, whole documents from the split's start")
    block_size: int | None = flag(None, "tokens of context; default: the fewest positions that any of the models has")
    dtype: Precision = flag("float32", "precision of matrix operands")
    revision: str | None = flag(None, "branch, tag or commit of the Hub ids among --models; local folders have none")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    output: str | None = flag(None, "write the scores to this JSON file")

    def __post_init__(self) -> None:
        want_at_least(1, self, "max_bytes")


def count_bits(command: BitsPerByte) -> None:
    from data_processing.shards import read_texts, shards_of
    from data_processing.splits import EmptySplit
    from modeling import execution
    from modeling.bits_per_byte import bits_per_byte
    from modeling.checkpoint import load, read_config
    from modeling.config import UnsupportedConfig
    from modeling.hub import resolve
    from modeling.scratch_memory import keep_scratch_memory
    from tokenizer_patch.tokenizer import Tokenizer

    keep_scratch_memory()
    texts: list[str] = []
    num_bytes = 0
    for text in read_texts(shards_of(Path(command.data_dir), command.split)):
        size = len(text.encode())
        if texts and num_bytes + size > command.max_bytes:
            continue  # a long document that no longer fits leaves room for shorter ones
        texts.append(text)
        num_bytes += size
    if not num_bytes:
        raise EmptySplit(f"the {command.split} split of {command.data_dir} holds no text; wanted some to score on")
    # with a revision and no Hub id at all, resolve says what is wrong
    remote = [name for name in command.models if not Path(name).expanduser().is_dir()] or command.models
    folders = {
        name: resolve(name, command.revision if name in remote else None, command.cache_dir) for name in command.models
    }
    positions = min(
        read_config(folder, cache_dir=command.cache_dir).max_position_embeddings for folder in folders.values()
    )
    block_size = command.block_size or positions
    if block_size > positions:
        raise UnsupportedConfig(f"--block_size is {block_size}; the models have {positions} positions")
    print(f"{len(texts)} documents, {num_bytes:,} bytes of {command.split}; context of {block_size} tokens")
    results = {}
    for name, folder in folders.items():
        model, tokenizer = load(folder, cache_dir=command.cache_dir), Tokenizer.load(folder)
        tokenizer.require_rows(model.config.vocab_size, name)
        encoded = tokenizer.encode_batch(texts)
        value = bits_per_byte(
            model.config,
            model.params,
            [(ids, len(text.encode())) for ids, text in zip(encoded, texts, strict=True)],
            eos_token_id=tokenizer.eos_token_id,
            block_size=block_size,
            how=execution.choose(model.config, command.dtype),
        )
        results[name] = {"bits_per_byte": value, "tokens_per_byte": sum(map(len, encoded)) / num_bytes}
        print(f"  {value:.4f} bits a byte, {results[name]['tokens_per_byte']:.4f} tokens a byte  {name}")
        del model  # before the next one is read: two large ones need not fit
    if command.output:
        write_json(
            Path(command.output),
            {"split": command.split, "documents": len(texts), "bytes": num_bytes, "block_size": block_size,
             "dtype": command.dtype, "results": results},
        )  # fmt: skip
        print(f"wrote {command.output}")


def run_benchmark(command: Run) -> None:
    from evaluation.backends import Sampling, open_backend
    from evaluation.sampling import sample
    from evaluation.score import benchmark_of, score_samples
    from interface.files import lock
    from interface.progress import Steps

    output_dir = resolve(command.output_dir)
    benchmark = benchmark_of(command)
    benchmark.task_ids = benchmark.task_ids[: command.num_tasks]
    sampling = Sampling(command.temperature, command.top_p, command.top_k, command.seed, tuple(benchmark.stops))
    backend = open_backend(
        command.backend, command.model,
        base_url=command.base_url, revision=command.revision, cache_dir=command.cache_dir, dtype=command.dtype,
    )  # fmt: skip
    about = {
        **backend.facts, "num_samples": command.num_samples, "max_new_tokens": command.max_new_tokens,
        "sampling": asdict(sampling), "benchmark": benchmark.name, "variant": dict(benchmark.variant),
        "problems": benchmark.source.get("sha256"),
    }  # fmt: skip
    lock(output_dir)  # until the command ends
    steps = Steps(len(benchmark.task_ids) * command.num_samples, label="samples")
    samples = sample(
        benchmark, backend, sampling, output_dir,
        task_ids=benchmark.task_ids, num_samples=command.num_samples, max_new_tokens=command.max_new_tokens,
        settings=about, on_sample=steps.advance,
    )  # fmt: skip
    steps.close()
    score_samples(command, benchmark, samples, output_dir, partial=False, about=about)
    write_page([output_dir], output_dir / "report.html")


def score(command: Score) -> None:
    from evaluation.score import benchmark_of, score_samples
    from interface.files import lock

    samples = resolve(command.samples)
    output_dir = resolve(command.output_dir) if command.output_dir else samples.with_name(f"{samples.name}.scored")
    benchmark = benchmark_of(command)
    lock(output_dir)  # until the command ends
    about = {"samples": str(samples)}
    score_samples(command, benchmark, samples, output_dir, partial=command.partial, about=about)
    write_page([output_dir], output_dir / "report.html")


def retell(command: Retell) -> None:
    from evaluation.retelling import grade

    output_dir = resolve(command.output_dir)
    scores = grade(command, output_dir)
    for name, value in scores.items():
        print(f"  {name:10} {value:8.4f}")
    print(f"wrote the docstrings, the code and the scores to {output_dir}")


def functions(command: Functions) -> None:
    from evaluation.function_set import PROBLEMS, YIELD, build_isolated, table
    from evaluation.function_tests import Demands
    from interface.files import lock

    output_dir = resolve(command.output_dir)
    lock(output_dir)  # until the command ends
    demands = Demands(command.min_examples, command.mutants, command.timeout, command.seed)
    print(table(build_isolated(resolve(command.data_dir), output_dir, demands, command.workers)))
    print(f"wrote the functions to {output_dir}, {PROBLEMS} of the test split and {YIELD} beside them")


def report(command: MakeReport) -> None:
    write_page([resolve(folder) for folder in command.results], resolve(command.output))


def write_page(folders: list[Path], path: Path) -> None:
    from evaluation.report import report
    from evaluation.results import read_result

    report([read_result(folder) for folder in folders], path)
    print(f"wrote the report to {path}")


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["report"] and len(words) > 1 and not words[1].startswith("-"):
        words.insert(1, "--results")
    name, command = choose(
        {
            "run": (Run, "Sample a benchmark's tasks, judge what the model wrote, report."),
            "score": (Score, "Judge a sample file, anybody's."),
            "retell": (Retell, "Grade docstrings by the code that a model writes from them (Codex-D)."),
            "functions": (Functions, "The documented functions of a corpus that can be tested (Codex-S, Codex-D)."),
            "report": (MakeReport, "Write a page over one or several scored sample files."),
            "bits_per_byte": (BitsPerByte, "Bits per byte of models on a held-out split."),
        },
        words,
        prog="python -m evaluation",
    )
    commands: dict[str, Callable[[Any], None]] = {
        "run": run_benchmark, "score": score, "retell": retell, "functions": functions, "report": report,
        "bits_per_byte": count_bits,
    }  # fmt: skip
    commands[name](command)


if __name__ == "__main__":
    run(main)
