"""Sampling beside torch transformers' `generate`, in one run.

python benchmarks/generate.py [--rounds 5]

GPT-Neo 125M's shape with random weights, bfloat16, prompts of 128 tokens, 64 new ones, top-p 0.95, no end of text on
either side. One prompt is decoded with rows=2 (docs/design/0008-sampling.md), sixteen with the default of 16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from peers import GPT_NEO_125M, alternate

PROMPT_TOKENS, NEW_TOKENS, TOP_P = 128, 64, 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prompts = np.random.default_rng(0).integers(0, 50256, (16, PROMPT_TOKENS))
    mine, theirs = ours(prompts), torchs(prompts)
    for batch in (1, 16):
        seconds, peer, ratio = alternate(lambda: mine(batch), lambda: theirs(batch), options.rounds)  # noqa: B023
        print(
            f"sampling, GPT-Neo 125M, batch {batch}, bfloat16: {batch * NEW_TOKENS / seconds:.1f} tokens/s; "
            f"torch generate {batch * NEW_TOKENS / peer:.1f}; ratio {ratio:.2f}",
            flush=True,
        )


def ours(prompts: np.ndarray) -> Callable[[int], None]:
    import modeling
    from generation import Sampler, Settings
    from modeling.decoder import config_from_hf

    class Numbers:
        """A tokenizer whose text is numbers: the benchmark's prompts are random ids. Its end of text cannot occur."""

        size, eos_token_id = GPT_NEO_125M["vocab_size"], GPT_NEO_125M["vocab_size"]

        def encode(self, text: str) -> list[int]:
            return [int(word) for word in text.split()]

        def decode(self, ids: list[int]) -> str:
            return " ".join(map(str, ids))

    config = config_from_hf(GPT_NEO_125M)
    sampler = Sampler(config, modeling.init_params(config, 0), Numbers(), dtype="bfloat16")  # type: ignore[arg-type]

    def generate(batch: int) -> None:
        wish = Settings(NEW_TOKENS, temperature=1.0, top_p=TOP_P, rows=2 if batch == 1 else None)
        made = sampler.complete([" ".join(map(str, row)) for row in prompts[:batch]], wish)
        assert all(len(samples[0].tokens) == NEW_TOKENS for samples in made)

    return generate


def torchs(prompts: np.ndarray) -> Callable[[int], None]:
    import torch
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    model = GPTNeoForCausalLM(GPTNeoConfig(**GPT_NEO_125M)).to(torch.bfloat16).eval()

    def generate(batch: int) -> None:
        ids = torch.tensor(prompts[:batch])
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_p=TOP_P, top_k=0,
                min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, pad_token_id=0,
            )  # fmt: skip
        assert made.shape[1] == PROMPT_TOKENS + NEW_TOKENS

    return generate


if __name__ == "__main__":
    main()
