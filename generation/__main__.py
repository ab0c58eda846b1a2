"""Complete code with a model.

python -m generation --model DIR_OR_ID --prompt "def add(a, b):"
python -m generation --model DIR_OR_ID --prompts_file prompts.jsonl --num_samples 20 --output samples.jsonl
python -m generation --model DIR_OR_ID --interactive
python -m generation --model DIR_OR_ID --format apps --question question.txt
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from interface.errors import UserError, run
from interface.files import write_json, write_text
from interface.flags import as_json, flag, parse, required

if TYPE_CHECKING:
    from generation.complete import Sampler, Settings


@dataclass(frozen=True)
class Generate:
    model: str = required("model folder or Hub id")
    revision: str | None = flag(None, "branch, tag or commit of a Hub id")
    cache_dir: str | None = flag(None, "folder for files from the Hub; default: Hugging Face's own cache")
    prompt: str | None = flag(None, "text to complete")
    prompts_file: str | None = flag(None, 'JSON lines of {"task_id", "prompt"} to complete')
    interactive: bool = flag(False, "read prompts from the terminal, each ended by an empty line; all turns are kept")
    format: Literal["text", "apps"] = flag("text", "apps: ask --question as the APPS training does")
    question: str | None = flag(None, "file of an APPS problem's text")
    starter_code: str | None = flag(None, "file of the code that an APPS solution must begin with")
    output: str | None = flag(None, "write samples as JSON lines to this file; default: print them")
    num_samples: int = flag(1, "completions a prompt")
    max_new_tokens: int = flag(128, "tokens a completion, at most")
    temperature: float = flag(0.2, "0 takes the most probable token")
    top_p: float = flag(0.95, "sample from the smallest set of tokens whose probability reaches this")
    top_k: int = flag(0, "sample from this many most probable tokens, before --top_p; 0 is off")
    stop: list[str] = field(default_factory=list, metadata={"help": "cut a completion before any of these strings"})
    seed: int = flag(0, "seed of the sampling")
    cut_prompts: bool = flag(False, "drop the beginning of a prompt that does not fit, instead of an error")
    rows: int | None = flag(
        None, "sequences a device decodes at once; default: 16 on a CPU, 32 on others, 2 when interactive"
    )
    dtype: Literal["float32", "bfloat16"] = flag("float32", "precision of matrix operands")

    def __post_init__(self) -> None:
        if (self.format == "apps") != (self.question is not None):
            raise UserError("--format apps and --question go together; --question names a file with the problem's text")
        given = [self.prompt is not None, self.prompts_file is not None, self.interactive, self.question is not None]
        if sum(given) != 1:
            raise UserError("give either --prompt or --prompts_file, --interactive, or --format apps --question FILE")
        if self.starter_code and not self.question:
            raise UserError("--starter_code belongs to an APPS problem; give --format apps --question FILE too")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top_p is {self.top_p}; wanted more than 0 and at most 1")
        if self.temperature < 0:
            raise UserError(f"--temperature is {self.temperature}; wanted 0 or more")
        if self.top_k < 0:
            raise UserError(f"--top_k is {self.top_k}; wanted 0 (off) or more")
        if self.num_samples < 1 or self.max_new_tokens < 1 or (self.rows is not None and self.rows < 1):
            raise UserError("--num_samples, --max_new_tokens and --rows want at least 1")
        if self.interactive and (self.output or self.num_samples > 1):
            raise UserError("--interactive prints one answer a turn; leave out --output and --num_samples")


def _text(path: str, name: str) -> str:
    if not Path(path).is_file():
        raise UserError(f"no file at {path}; {name}")
    return Path(path).read_text()


def _tasks(command: Generate) -> list[tuple[str, str]]:
    if command.prompt is not None:
        return [("prompt", command.prompt)]
    if command.question is not None:
        from data_processing.apps_prompt import apps_prompt

        starter = command.starter_code and _text(command.starter_code, "--starter_code wants a file of code")
        return [("question", apps_prompt(_text(command.question, "--question wants the problem's text"), starter))]
    path = Path(str(command.prompts_file))
    tasks = []
    lines = _text(str(path), "--prompts_file wants JSON lines of task_id and prompt").split("\n")
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            row = json.loads(line)
            tasks.append((str(row["task_id"]), str(row["prompt"])))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path} line {number} is not {{"task_id", "prompt"}} in JSON ({error!r})') from error
    return tasks


def _rows(
    command: Generate, sampler: Sampler, settings: Settings, tasks: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Complete all tasks, with a bar where there is a terminal."""
    from interface.progress import Steps

    steps = Steps(len(tasks) * command.num_samples, label="samples")
    completions = sampler.complete(
        [prompt for _, prompt in tasks], settings, num_samples=command.num_samples,
        cut_prompts=command.cut_prompts, on_completion=steps.advance,
    )  # fmt: skip
    steps.close()
    return [
        {
            "task_id": task_id,
            "sample": sample,
            "prompt": prompt,
            "completion": completion.text,
            "ended_by": completion.ended_by,
            "num_tokens": len(completion.tokens),
            "log_probability": completion.log_probability,
            "mean_log_probability": completion.mean_log_probability,
            "prompt_tokens_cut": completion.prompt_tokens_cut,
        }
        for (task_id, prompt), samples in zip(tasks, completions, strict=True)
        for sample, completion in enumerate(samples)
    ]


def main() -> None:
    command = parse(Generate, prog="python -m generation", description="Complete code with a model.")
    tasks = [] if command.interactive else _tasks(command)
    from generation.complete import Sampler, Settings
    from generation.conversation import blocks, converse
    from modeling.checkpoint import load
    from modeling.hub import resolve
    from tokenizer_patch.tokenizer import Tokenizer

    folder = resolve(command.model, command.revision, command.cache_dir)
    model = load(folder, dtype=command.dtype)
    settings = Settings(
        command.max_new_tokens, command.temperature, command.top_p, command.top_k, tuple(command.stop), command.seed,
        command.rows or (2 if command.interactive else None),  # nothing ever shares a turn's batch
    )  # fmt: skip
    tokenizer = Tokenizer.load(folder)
    tokenizer.require_rows(model.config.vocab_size, command.model)
    sampler = Sampler(model.config, model.params, tokenizer, dtype=command.dtype)
    if command.interactive:
        if sys.stdin.isatty():
            print("Type code to complete, then an empty line; Ctrl-D ends.")

        def answer(history: str) -> str:
            return sampler.complete([history], settings, cut_prompts=True)[0][0].text

        for text in converse(blocks(sys.stdin), answer):
            print(text, end="\n\n", flush=True)
        return
    if command.output:
        rows = _rows(command, sampler, settings, tasks)
        write_json(Path(f"{command.output}.settings.json"), as_json(command) | {"rows": sampler.rows(settings)})
        write_text(Path(command.output), "".join(json.dumps(row) + "\n" for row in rows))
        print(f"wrote {len(rows)} samples to {command.output}, their settings to {command.output}.settings.json")
        return
    if len(tasks) == command.num_samples == 1:
        pieces = sampler.stream(tasks[0][1], settings, cut_prompts=command.cut_prompts)
        for piece in itertools.chain([tasks[0][1]], pieces, ["\n"]):
            print(piece, end="", flush=True)
        return
    for row in _rows(command, sampler, settings, tasks):
        print(f"--- {row['task_id']}, sample {row['sample']}")
        print(row["prompt"] + row["completion"])


if __name__ == "__main__":
    run(main)
