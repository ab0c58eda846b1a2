"""Backends: what completes prompts. Our own models by jax, any torch model by transformers, any served one by HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple

from interface.errors import UserError

ATTEMPTS = 5  # at a request that fails for a reason that may pass
CONNECTIONS = 8
AT_ONCE = 8  # samples of one prompt that torch draws together


class NoBackend(UserError):
    """A backend is not installed, not reachable, or answers what cannot be used."""


@dataclass(frozen=True)
class Sampling:
    """How to sample, the same for every backend; `generation.sampler.Settings` says what the numbers mean."""

    temperature: float
    top_p: float
    top_k: int
    seed: int
    stops: tuple[str, ...]


class Asked(NamedTuple):
    """A prompt to complete `num_samples` times. Equal names and seeds give equal completions."""

    name: str
    prompt: str
    num_samples: int


class Answer(NamedTuple):
    """A completion, cut before its stop string; what a backend does not tell is None."""

    text: str
    ended_by: str | None = None
    num_tokens: int | None = None
    mean_log_probability: float | None = None
    prompt_tokens_cut: int = 0


class Backend(ABC):
    """`facts` go into the results; `at_once` is how many completions keep it busy; `positions` what a text has room in,
    where that is known."""

    facts: Mapping[str, Any]
    at_once: int
    positions: int | None = None

    @abstractmethod
    def complete(self, asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling) -> list[list[Answer]]:
        """`num_samples` answers to each prompt."""


class Jax(Backend):
    """A model of our four families on all local devices."""

    def __init__(self, model: str, revision: str | None, cache_dir: str | None, dtype: Any) -> None:
        import jax

        from generation.sampler import Sampler, Settings
        from modeling.checkpoint import load, weights_fingerprint
        from modeling.hub import resolve
        from tokenizer_patch.tokenizer import Tokenizer

        folder = resolve(model, revision, cache_dir)
        config, params = load(folder, cache_dir=cache_dir, dtype=dtype)
        tokenizer = Tokenizer.load(folder)
        tokenizer.require_rows(config.vocab_size, model)
        self._sampler = Sampler(config, params, tokenizer, dtype=dtype)
        self._settings = Settings
        self.positions = config.max_position_embeddings
        self.at_once = 4 * self._sampler.rows(Settings()) * jax.local_device_count()
        self.facts = {"backend": "jax", "model": model, "revision": revision, "dtype": dtype,
                      "weights": weights_fingerprint(folder)}  # fmt: skip

    def complete(self, asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling) -> list[list[Answer]]:
        return sampled(self._sampler, self._settings, asked, max_new_tokens, sampling)


def sampled(
    sampler: Any, settings: Callable[..., Any], asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling
) -> list[list[Answer]]:
    """Answers of one of our samplers."""
    how = settings(max_new_tokens, sampling.temperature, sampling.top_p, sampling.top_k, sampling.stops, sampling.seed)
    (count,) = {one.num_samples for one in asked}
    found = sampler.complete(
        [one.prompt for one in asked], how, names=[one.name for one in asked], num_samples=count, cut_prompts=True
    )
    return [
        [Answer(c.text, c.ended_by, len(c.tokens), c.mean_log_probability, c.prompt_tokens_cut) for c in completions]
        for completions in found
    ]


class Torch(Backend):
    """Any causal model that transformers loads, one prompt at a time."""

    def __init__(self, model: str, revision: str | None, cache_dir: str | None, dtype: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise NoBackend("--backend transformers needs torch: pip install torch") from error
        from transformers import AutoModelForCausalLM, AutoTokenizer

        place = {"revision": revision, "cache_dir": cache_dir}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, **place)
            self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype), **place)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise NoBackend(f"transformers cannot load {model} ({first}); give a folder or a Hub id") from error
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device).eval()
        self.positions = getattr(self._model.config, "max_position_embeddings", None)
        self.at_once = 1
        self.facts = {"backend": "transformers", "model": model, "revision": revision, "dtype": dtype,
                      "torch": torch.__version__}  # fmt: skip

    def complete(self, asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling) -> list[list[Answer]]:
        return [self._one(one, max_new_tokens, sampling) for one in asked]

    def _one(self, asked: Asked, max_new_tokens: int, sampling: Sampling) -> list[Answer]:
        """A few samples at a time, for all their logits are kept; greedy ones are the same one."""
        if not sampling.temperature:
            return self._some(asked._replace(num_samples=1), max_new_tokens, sampling) * asked.num_samples
        answers: list[Answer] = []
        while (left := asked.num_samples - len(answers)) > 0:
            name = f"{asked.name} {len(answers)}" if answers else asked.name
            answers += self._some(Asked(name, asked.prompt, min(left, AT_ONCE)), max_new_tokens, sampling)
        return answers

    def _some(self, asked: Asked, max_new_tokens: int, sampling: Sampling) -> list[Answer]:
        import torch

        ids = self._tokenizer(asked.prompt, return_tensors="pt")["input_ids"]
        positions = self.positions or ids.shape[1] + max_new_tokens
        room = positions - max_new_tokens
        if room < 1:
            raise NoBackend(f"the model has {positions} positions; give a --max_new_tokens below that")
        cut_away = max(ids.shape[1] - room, 0)
        ids = ids[:, cut_away:].to(self._device)
        torch.manual_seed(number_of(sampling.seed, asked.name))
        # transformers' own default cuts to the 50 likeliest tokens, which no published recipe means
        how: dict[str, Any] = (
            {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.temperature
            else {"do_sample": False}
        )
        eos = self._tokenizer.eos_token_id
        with torch.no_grad():
            made = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), num_return_sequences=asked.num_samples,
                max_new_tokens=max_new_tokens, pad_token_id=eos if eos is not None else 0,
                return_dict_in_generate=True, output_logits=True, **how,
            )  # fmt: skip
        new_NT = made.sequences[:, ids.shape[1] :]
        chances_NT = torch.stack(
            [
                torch.log_softmax(logits.float(), -1).gather(1, new_NT[:, place, None])[:, 0]
                for place, logits in enumerate(made.logits)
            ],
            dim=1,
        )
        return [
            self._cut(row, chances, sampling.stops, cut_away)
            for row, chances in zip(new_NT.tolist(), chances_NT.tolist(), strict=True)
        ]

    def _cut(self, ids: list[int], chances: list[float], stops: Sequence[str], cut_away: int) -> Answer:
        from generation.ending import cut

        found = cut(ids, chances, _TextOf(self._tokenizer), stops, cut_away)  # type: ignore[arg-type]
        return Answer(found.text, found.ended_by, len(found.tokens), found.mean_log_probability, cut_away)


class _TextOf:
    """As much of a Tokenizer as cutting needs, around one of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eos_token_id

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


class Served(Backend):
    """A server that speaks OpenAI's completions, `transformers serve` and vLLM among them.

    One request a sample, since not every server heeds `n`; OPENAI_API_KEY is sent where it is set.
    """

    def __init__(
        self, model: str, base_url: str, timeout_seconds: float = 600, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = base_url.rstrip("/") + "/completions"
        self._model, self._timeout_seconds, self._sleep = model, timeout_seconds, sleep
        self.at_once = CONNECTIONS
        self.facts = {"backend": "openai", "model": model, "base_url": base_url}

    def complete(self, asked: Sequence[Asked], max_new_tokens: int, sampling: Sampling) -> list[list[Answer]]:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = [
                [pool.submit(self._one, one, number, max_new_tokens, sampling) for number in range(one.num_samples)]
                for one in asked
            ]
            return [[answer.result() for answer in each] for each in answers]

    def _one(self, asked: Asked, number: int, max_new_tokens: int, sampling: Sampling) -> Answer:
        body = {
            "model": self._model, "prompt": asked.prompt, "max_tokens": max_new_tokens,
            "temperature": sampling.temperature, "top_p": sampling.top_p,
            "seed": number_of(sampling.seed, f"{asked.name} {number}") % 2**31,
        }  # fmt: skip
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if sampling.stops:
            body["stop"] = list(sampling.stops)[:4]  # as many as OpenAI takes; the rest is cut here
        answer = self._post(body)
        try:
            choice = answer["choices"][0]
            text = choice["text"]
            if not isinstance(text, str):
                raise TypeError("a text that is none")
        except (KeyError, IndexError, TypeError) as error:
            raise NoBackend(f"{self._url} answered {str(answer)[:200]}; wanted choices with a text") from error
        places = [place for stop in sampling.stops if (place := text.find(stop)) >= 0]
        return Answer(text[: min(places)] if places else text, "stop" if places else choice.get("finish_reason"))

    def _post(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_seconds) as reply:
                    return json.load(reply)
            except urllib.error.HTTPError as error:
                said, passing = f"status {error.code}: {error.read(300).decode(errors='replace')}", error.code in (
                    408, 409, 429, 500, 502, 503, 504,
                )  # fmt: skip
            except (OSError, ValueError, HTTPException) as error:  # no server, a broken connection, no JSON
                said, passing = str(error), True
            if not passing or attempt == ATTEMPTS:
                raise NoBackend(
                    f"{self._url} did not complete a prompt ({said}); is a server with the model {self._model} there? "
                    "What was sampled is kept: give the command again"
                )
            self._sleep(2.0 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")


def number_of(seed: int, name: str) -> int:
    """A seed of its own for each name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode(), digest_size=7).digest(), "big")


def open_backend(
    kind: str, model: str, *, base_url: str | None, revision: str | None, cache_dir: str | None, dtype: str
) -> Backend:
    """Load or reach the model.  Raises: NoBackend, CheckpointError."""
    if kind == "openai":
        if base_url is None:
            raise NoBackend("--backend openai needs --base_url, e.g. http://localhost:8000/v1")
        return Served(model, base_url)
    return (Jax if kind == "jax" else Torch)(model, revision, cache_dir, dtype)
