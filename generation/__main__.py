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

from interface.choices import Precision
from interface.errors import UserError, run
from interface.files import write_json, write_text
from interface.flags import as_json, flag, parse, required

if TYPE_CHECKING:
    from generation.sampler import Sampler, Settings


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
    dtype: Precision = flag("float32", "precision of matrix operands")

    def __post_init__(self) -> None:
        if (self.format == "apps") != (self.question is not None):
            raise UserError("--format apps and --question go together; --question names a file with the problem's text")
        given = [self.prompt is not None, self.prompts_file is not None, self.interactive, self.question is not None]
        if sum(given) != 1:
            raise UserError("give either --prompt or --prompts_file, --interactive, or --format apps --question FILE")
        if self.starter_code and not self.question:
            raise UserError("--starter_code belongs to an APPS problem; give --format apps --question FILE too")
        if self.num_samples < 1:
            raise UserError(f"--num_samples is {self.num_samples}; wanted 1 or more")
        if self.output and Path(self.output).is_dir():
            raise UserError(f"--output {self.output} is a folder; wanted the name of a file")
        if self.interactive and (self.output or self.num_samples > 1):
            raise UserError("--interactive prints one answer a turn; leave out --output and --num_samples")


def _text(path: str, name: str) -> str:
    if not Path(path).is_file():
        raise UserError(f"no file at {path}; {name}")
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); {name}") from error


def _tasks(command: Generate) -> list[tuple[str, str]]:
    if command.prompt is not None:
        return [("0", command.prompt)]
    if command.question is not None:
        from data_processing.apps_prompt import apps_prompt

        starter = command.starter_code and _text(command.starter_code, "--starter_code wants a file of code")
        return [("0", apps_prompt(_text(command.question, "--question wants the problem's text"), starter))]
    path, wanted = str(command.prompts_file), 'JSON lines of {"task_id", "prompt"}, the prompt a string'
    tasks = []
    for number, line in enumerate(_text(path, f"--prompts_file wants {wanted}").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            task_id, prompt = row["task_id"], row["prompt"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} line {number} is none of the wanted {wanted} ({error!r})") from error
        if not isinstance(prompt, str) or not isinstance(task_id, str | int):
            raise UserError(f"{path} line {number} has a prompt of type {type(prompt).__name__}; wanted {wanted}")
        tasks.append((str(task_id), prompt))
    if not tasks:
        raise UserError(f"{path} holds no prompt; wanted {wanted}")
    return tasks


def _rows(
    command: Generate, sampler: Sampler, settings: Settings, tasks: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Complete all tasks, with a bar where there is a terminal."""
    from interface.progress import Steps

    steps = Steps(len(tasks) * command.num_samples, label="samples")
    completions = sampler.complete(
        [prompt for _, prompt in tasks], settings, names=[task_id for task_id, _ in tasks],
        num_samples=command.num_samples, cut_prompts=command.cut_prompts, on_completion=steps.advance,
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
    from generation.conversation import blocks, converse
    from generation.sampler import Sampler, Settings
    from modeling.checkpoint import load
    from modeling.hub import resolve
    from tokenizer_patch.tokenizer import Tokenizer

    settings = Settings(
        command.max_new_tokens, command.temperature, command.top_p, command.top_k, tuple(command.stop), command.seed,
        # nothing ever shares the batch of a turn
        2 if command.interactive and command.rows is None else command.rows,
    )  # fmt: skip
    folder = resolve(command.model, command.revision, command.cache_dir)
    model = load(folder, cache_dir=command.cache_dir, dtype=command.dtype)
    tokenizer = Tokenizer.load(folder)
    tokenizer.require_rows(model.config.vocab_size, command.model)
    sampler = Sampler(*model, tokenizer, dtype=command.dtype)
    del model  # the sampler holds its own copy, layer by layer
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
        pieces = sampler.stream(tasks[0][1], settings, name=tasks[0][0], cut_prompts=command.cut_prompts)
        for piece in itertools.chain([tasks[0][1]], pieces, ["\n"]):
            print(piece, end="", flush=True)
        return
    for row in _rows(command, sampler, settings, tasks):
        print(f"--- {row['task_id']}, sample {row['sample']}")
        print(row["prompt"] + row["completion"])


if __name__ == "__main__":
    run(main)
