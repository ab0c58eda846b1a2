"""Complete code with a model.

python -m generation --model DIR_OR_ID --prompt "def add(a, b):"
python -m generation --model DIR_OR_ID --prompts_file prompts.jsonl --output samples.jsonl
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from interface.errors import UserError, run
from interface.files import write_text
from interface.flags import flag, parse, required


@dataclass(frozen=True)
class Generate:
    model: str = required("model folder or Hub id")
    prompt: str | None = flag(None, "text to complete")
    prompts_file: str | None = flag(None, 'JSON lines of {"task_id", "prompt"} to complete')
    output: str | None = flag(None, "write samples as JSON lines to this file; default: print them")
    num_samples: int = flag(1, "completions a prompt")
    max_new_tokens: int = flag(128, "tokens a completion, at most")
    temperature: float = flag(0.2, "0 takes the most probable token")
    top_p: float = flag(0.95, "sample from the smallest set of tokens whose probability reaches this")
    stop: list[str] = field(default_factory=list, metadata={"help": "cut a completion before any of these strings"})
    seed: int = flag(0, "seed of the sampling")
    dtype: Literal["float32", "bfloat16"] = flag("float32", "precision of matrix operands")

    def __post_init__(self) -> None:
        if (self.prompt is None) == (self.prompts_file is None):
            raise UserError("give either --prompt or --prompts_file")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top_p is {self.top_p}; wanted more than 0 and at most 1")
        if self.temperature < 0:
            raise UserError(f"--temperature is {self.temperature}; wanted 0 or more")
        if self.num_samples < 1 or self.max_new_tokens < 1:
            raise UserError("--num_samples and --max_new_tokens want at least 1")


def _tasks(command: Generate) -> list[tuple[str, str]]:
    if command.prompt is not None:
        return [("prompt", command.prompt)]
    path = Path(str(command.prompts_file))
    if not path.is_file():
        raise UserError(f"no file at {path}; --prompts_file wants JSON lines of task_id and prompt")
    tasks = []
    for number, line in enumerate(filter(str.strip, path.read_text().split("\n")), start=1):
        try:
            row = json.loads(line)
            tasks.append((str(row["task_id"]), str(row["prompt"])))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path} line {number} is not {{"task_id", "prompt"}} in JSON ({error!r})') from error
    return tasks


def main() -> None:
    command = parse(Generate, prog="python -m generation", description="Complete code with a model.")
    tasks = _tasks(command)
    from generation.complete import Settings, complete
    from modeling.checkpoint import load, resolve
    from tokenizer_patch.tokenizer import Tokenizer

    folder = resolve(command.model)
    model = load(folder)
    settings = Settings(command.max_new_tokens, command.temperature, command.top_p, tuple(command.stop), command.seed)
    tokenizer = Tokenizer.load(folder)
    tokenizer.require_rows(model.config.vocab_size, command.model)
    completions = complete(
        model.config,
        model.params,
        tokenizer,
        [prompt for _, prompt in tasks],
        settings,
        num_samples=command.num_samples,
        dtype=command.dtype,
    )
    rows: list[dict[str, Any]] = [
        {
            "task_id": task_id,
            "prompt": prompt,
            "completion": completion.text,
            "ended_by": completion.ended_by,
            "num_tokens": len(completion.tokens),
            "log_probability": completion.log_probability,
        }
        for (task_id, prompt), samples in zip(tasks, completions, strict=True)
        for completion in samples
    ]
    if command.output:
        write_text(Path(command.output), "".join(json.dumps(row) + "\n" for row in rows))
        print(f"wrote {len(rows)} samples to {command.output}")
        return
    for number, row in enumerate(rows):
        if len(rows) > 1:
            print(f"--- {row['task_id']}, sample {number % command.num_samples}")
        print(row["prompt"] + row["completion"])


if __name__ == "__main__":
    run(main)
