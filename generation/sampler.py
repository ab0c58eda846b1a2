"""Completions of prompts: prefill, then compiled chunks of decoding until every row has stopped.

A completion depends on its prompt, its settings, its seed and its own numbers (prompt, sample), never on what shares
its batch or on how many devices there are (generation.decoding says how).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from generation.decoding import CHUNK, Choice, State, decode, empty, place, prefill, spread
from generation.ending import Completion, cut, pieces
from generation.schedule import Job, groups, spans
from interface.choices import Precision
from interface.errors import UserError
from modeling.config import DecoderConfig
from modeling.table import Params
from tokenizer_patch.tokenizer import Tokenizer

PREFILL_ROWS = 4  # prompts prefilled at once: four take a CPU 37 ms each, one alone 93 (GPT-Neo 125M, 128 tokens)
CPU_ROWS, ACCELERATOR_ROWS = 16, 32  # sequences a device decodes at once: docs/design/0008-sampling.md


class PromptTooLong(UserError):
    """A prompt and what may follow it do not fit the model's positions."""


class BadSettings(UserError):
    """Sampling settings out of their range."""


@dataclass(frozen=True)
class Settings:
    """How to sample. `temperature` 0 is greedy, `top_k` 0 is off; `top_p` 0.95 is Codex's (arXiv:2107.03374).

    `rows` is how many sequences a device decodes at once, by default what suits the platform. A product of one more
    row may round differently, so it is fixed here: fewer rows answer one prompt sooner, with the same probabilities.
    """

    max_new_tokens: int = 128
    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0
    rows: int | None = None

    def __post_init__(self) -> None:
        wanted = {  # not-a-number fulfils none
            "max_new_tokens": ("1 or more", self.max_new_tokens >= 1),
            "temperature": ("0, or 1e-6 up to 1e6", self.temperature == 0 or 1e-6 <= self.temperature <= 1e6),
            "top_p": ("more than 0 and at most 1", 0 < self.top_p <= 1),
            "top_k": ("0 (off) or more, below 2^31", 0 <= self.top_k < 2**31),
            "seed": ("0 or more, below 2^31", 0 <= self.seed < 2**31),
            "rows": ("1 or more", self.rows is None or self.rows >= 1),
            "stop": ("strings that are not empty", all(self.stop)),
        }
        for name, (range_, fulfilled) in wanted.items():
            if not fulfilled:
                raise BadSettings(f"--{name} is {getattr(self, name)}; wanted {range_}")


class Sampler:
    """A model and its tokenizer on devices (default: all local ones), ready to complete prompts.

    Matrices are held as `dtype`, once a device; `num_prefills` counts the prompts that were run.
    """

    def __init__(
        self,
        config: DecoderConfig,
        params: Params,
        tokenizer: Tokenizer,
        *,
        dtype: Precision = "float32",
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.devices = list(devices or jax.local_devices())
        self.shape, self.params = place(config, params, dtype, self.devices)
        self.num_prefills = 0

    def complete(
        self,
        prompts: Sequence[str],
        settings: Settings,
        *,
        names: Sequence[str] | None = None,
        num_samples: int = 1,
        cut_prompts: bool = False,
        on_completion: Callable[[], None] = lambda: None,
    ) -> list[list[Completion]]:
        """Sample `num_samples` completions of each prompt; `cut_prompts` cuts long ones from the left.

        A sample is drawn from the seed, its prompt's name (default: its place among the prompts) and its own number.
        Raises: PromptTooLong.
        """
        encoded = [self._encode(prompt, settings, cut_prompts) for prompt in prompts]
        jobs = [
            Job(*encoded[task], task, str(task) if names is None else names[task], sample)
            for task in range(len(prompts))
            for sample in range(num_samples)
        ]
        results: dict[tuple[int, int], Completion] = {}
        for bucket in sorted({job.bucket for job in jobs}):
            for _, found in self._decode([job for job in jobs if job.bucket == bucket], settings):
                for job, completion in found:
                    results[job.task, job.sample] = completion
                    on_completion()
        return [[results[task, sample] for sample in range(num_samples)] for task in range(len(prompts))]

    def stream(self, prompt: str, settings: Settings, *, name: str = "0", cut_prompts: bool = False) -> Iterator[str]:
        """Yield the first completion of a prompt in pieces as they become certain; they add up to its text."""
        job = Job(*self._encode(prompt, settings, cut_prompts), task=0, name=name, sample=0)

        def texts() -> Iterator[tuple[str, bool]]:
            for made_NT, found in self._decode([job], settings):
                yield (found[0][1].text, True) if found else (self.tokenizer.decode(made_NT[0].tolist()), False)

        return pieces(texts(), settings.stop)

    def _encode(self, prompt: str, settings: Settings, cut_prompts: bool) -> tuple[list[int], int]:
        """The tokens of a prompt that the model will see, and how many before them were cut."""
        ids = self.tokenizer.encode(prompt) or [self.tokenizer.eos_token_id]
        room = self.config.max_position_embeddings - settings.max_new_tokens
        if len(ids) <= room:
            return ids, 0
        if cut_prompts and room > 0:
            return ids[-room:], len(ids) - room
        raise PromptTooLong(
            f"the prompt {prompt[:40]!r}... has {len(ids)} tokens and may grow by {settings.max_new_tokens}; the model "
            f"has {self.config.max_position_embeddings} positions. "
            + (
                "Shorten it, lower --max_new_tokens, or let --cut_prompts drop its beginning"
                if room > 0
                else "Lower --max_new_tokens"
            )
        )

    def _decode(
        self, jobs: Sequence[Job], settings: Settings
    ) -> Iterator[tuple[np.ndarray, list[tuple[Job, Completion]]]]:
        """Run the jobs of one bucket, batch by batch; after each chunk, the tokens made and the jobs that ended.

        The devices share the jobs evenly, in order, so that the samples of one prompt follow each other on a device,
        which prefills it once.
        """
        bucket, rows = jobs[0].bucket, self.rows(settings)
        chunks = -(-settings.max_new_tokens // CHUNK)
        share = -(-len(jobs) // len(self.devices))
        queues = [jobs[first : first + share] for first in range(0, share * len(self.devices), share)]
        width = min(PREFILL_ROWS, max(rows // 2, 1))
        prompts = [groups(queue, width) for queue in queues]
        batch = empty(self.shape, rows, bucket + chunks * CHUNK)
        prefilled: State | None = None
        held: list[int | None] = [None] * len(queues)  # the group of prompts that each device has prefilled last
        for first in range(0, share, rows):
            mine = [queue[first : first + rows] for queue in queues]
            needed = [
                [number for number, group in enumerate(own) if any(last for _, last in spans(jobs, group))]
                for jobs, own in zip(mine, prompts, strict=True)
            ]
            for turn in range(max(map(len, needed))):
                now = [own[turn] if turn < len(own) else None for own in needed]
                if any(number not in (None, has) for number, has in zip(now, held, strict=True)):
                    wanted = [[] if number is None else prompts[device][number] for device, number in enumerate(now)]
                    prefilled = self._prefill(wanted, bucket, width)
                    held = now
                edges = np.zeros((len(queues), width, 2), np.int32)
                for device, number in enumerate(now):
                    if number is not None:
                        found = spans(mine[device], prompts[device][number])
                        edges[device, : len(found)] = found
                batch = spread(self.shape, batch, prefilled, edges.reshape(-1, 2))
            slots: list[Job | None] = [job for own in mine for job in [*own, *[None] * (rows - len(own))]]
            batch = yield from self._run(batch, slots, bucket, chunks, settings)

    def rows(self, settings: Settings) -> int:
        """How many sequences a device decodes at once."""
        return settings.rows or (CPU_ROWS if self.devices[0].platform == "cpu" else ACCELERATOR_ROWS)

    def _prefill(self, groups: Sequence[Sequence[Job]], bucket: int, width: int) -> State:
        """Run a group of at most `width` prompts on each device; a row without one runs an end-of-text token."""
        tokens_DWT = np.full((len(groups), width, bucket), self.tokenizer.eos_token_id, np.int32)
        first_slot_DW = np.full((len(groups), width), bucket - 1, np.int32)
        for device, group in enumerate(groups):
            for row, job in enumerate(group):
                first_slot_DW[device, row] = bucket - len(job.ids)
                tokens_DWT[device, row, bucket - len(job.ids) :] = job.ids
                self.num_prefills += 1
        return prefill(self.shape, self.params, tokens_DWT.reshape(-1, bucket), first_slot_DW.reshape(-1))

    def _run(
        self, batch: State, slots: Sequence[Job | None], bucket: int, chunks: int, settings: Settings
    ) -> Generator[tuple[np.ndarray, list[tuple[Job, Completion]]], None, State]:
        """Decode one batch until every job in it has ended; return its memory for the next."""
        first_slot_N = np.array([bucket - (len(job.ids) if job else 1) for job in slots], np.int32)
        numbers_N = np.array([job.numbers if job else (0, 0) for job in slots], np.uint32)
        choice = Choice(settings.seed, settings.temperature, settings.top_k, settings.top_p)
        made_NT, chances_NT = np.zeros((len(slots), 0), np.int32), np.zeros((len(slots), 0), np.float32)
        going = {row: job for row, job in enumerate(slots) if job is not None}
        for chunk in range(chunks):
            new_NT, new_chances_NT, batch = decode(
                self.shape, self.tokenizer.size, self.params, batch, first_slot_N, numbers_N,
                bucket + chunk * CHUNK, chunk * CHUNK, choice,
            )  # fmt: skip
            made_NT = np.concatenate([made_NT, np.asarray(new_NT)], axis=1)[:, : settings.max_new_tokens]
            chances_NT = np.concatenate([chances_NT, np.asarray(new_chances_NT)], axis=1)
            found = []
            for row, job in list(going.items()):
                completion = cut(
                    made_NT[row].tolist(), chances_NT[row].tolist(), self.tokenizer, settings.stop, job.tokens_cut
                )
                if completion.ended_by != "length" or made_NT.shape[1] == settings.max_new_tokens:
                    found.append((going.pop(row), completion))
            yield made_NT, found
            if not going:
                break
        return batch


def complete(
    config: DecoderConfig,
    params: Params,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    settings: Settings,
    *,
    num_samples: int = 1,
    dtype: Precision = "float32",
    cut_prompts: bool = False,
) -> list[list[Completion]]:
    """Sample `num_samples` completions of each prompt, on all local devices; Sampler says the rest."""
    sampler = Sampler(config, params, tokenizer, dtype=dtype)
    return sampler.complete(prompts, settings, num_samples=num_samples, cut_prompts=cut_prompts)
