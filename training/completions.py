"""Completions: what the model makes of a few prompts at each evaluation, in samples.jsonl and in the trackers.

The same seed each time, so that from one evaluation to the next only the model has changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from data_processing.apps_prompt import apps_prompt
from generation.conversation import blocks
from generation.sampler import Sampler, Settings
from interface.errors import UserError
from interface.files import open_atomically
from interface.progress import say
from modeling.config import DecoderConfig
from modeling.execution import Precision
from modeling.lora import merged
from modeling.table import Params
from tokenizer_patch.tokenizer import Tokenizer
from training.trackers import Trackers

NAME = "samples.jsonl"
MAX_NEW_TOKENS = 64

CODE = (
    'def read_lines(path):\n    """Return the lines of a text file without their line ends."""\n',
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
    "import argparse\n\n\ndef main():\n    parser = argparse.ArgumentParser(",
)
PROBLEMS = (
    apps_prompt("Read two integers from one line of the standard input and print their sum."),
    apps_prompt(
        "Return the largest of a list of integers, or None where it is empty.",
        "class Solution:\n    def largest(self, numbers: list[int]) -> int | None:",
    ),
)


class BadPrompts(UserError):
    """The file of --sample_prompts cannot be used."""


class CannotSample(Exception):
    """The placement has the parameters where sampling cannot use them."""


def read_samples(output_dir: Path) -> list[dict[str, Any]]:
    """The rows of a run's samples.jsonl, in order; a last line that a kill cut short is left out."""
    path = output_dir / NAME
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a file: of .jsonl the string or the "prompt" of each line, of any other each block of lines.

    A block ends at an empty line; the prompt then ends with a line break.  Raises: BadPrompts.
    """
    wanted = 'JSON lines of {"prompt"} in a .jsonl file, or text whose prompts are divided by empty lines'
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".jsonl":
            found = [f"{block}\n" for block in blocks(text.splitlines())]
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            found = [row if isinstance(row, str) else row["prompt"] for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadPrompts(f"--sample_prompts {path} cannot be read ({error!r}); wanted {wanted}") from error
    if not found or not all(isinstance(prompt, str) and prompt for prompt in found):
        raise BadPrompts(f"--sample_prompts {path} holds no prompt, or one that is no text; wanted {wanted}")
    return tuple(found)


class Completions:
    """Sampler of a run's completions; the memory that it takes is given back before it returns.

    Whatever goes wrong, a full device say, is said once and ends the sampling, not the run.
    """

    def __init__(
        self,
        output_dir: Path,
        prompts: Sequence[str],
        tokenizer_dir: Path,
        config: DecoderConfig,
        *,
        dtype: Precision,
        seed: int,
        trackers: Trackers,
        resumed_at: int,
    ) -> None:
        self._prompts = tuple(prompts)
        self._config, self._dtype, self._trackers = config, dtype, trackers
        self._path = output_dir / NAME
        if not self._prompts:
            return
        self._tokenizer = Tokenizer.load(tokenizer_dir)
        new = min(MAX_NEW_TOKENS, config.max_position_embeddings // 2)
        self._settings = Settings(max_new_tokens=new, seed=seed, rows=max(2, len(self._prompts)))
        kept = [row for row in read_samples(output_dir) if row["step"] <= resumed_at]
        with open_atomically(self._path) as file:
            file.write("".join(json.dumps(row) + "\n" for row in kept).encode())

    def take(self, step: int, params: Params) -> None:
        """Complete the prompts with the params that `step` steps have made."""
        if not self._prompts:
            return
        try:
            texts = self._complete(params)
            rows = [{"step": step, "prompt": p, "completion": text} for p, text in zip(self._prompts, texts)]
            with self._path.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
        except Exception as error:  # memory of the device, a full disk: a run is worth more than its samples
            said = next(iter(str(error).splitlines()), type(error).__name__)
            say(f"warning: no sample completions from here on ({said}); training goes on")
            self._prompts = ()
            return
        say(f"sample: {self._prompts[0]!r} -> {texts[0]!r}")
        self._trackers.show(rows)

    def _complete(self, params: Params) -> list[str]:
        """A completion a prompt, made on one device."""
        here = on_one_device(params)
        (device,) = jax.tree.leaves(here)[0].devices()
        sampler = Sampler(self._config, here, self._tokenizer, dtype=self._dtype, devices=[device])
        found = sampler.complete(self._prompts, self._settings, cut_prompts=True)
        return [samples[0].text for samples in found]


def on_one_device(params: Params) -> Params:
    """This process's first copy of the params, on its device, adapters merged.  Raises: CannotSample."""
    if not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(params)):
        raise CannotSample("the model is cut over devices, and a sampler wants all of it on one")
    return merged(jax.tree.map(lambda leaf: leaf.addressable_data(0), params))
