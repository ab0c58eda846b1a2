"""Sampling speed beside torch transformers' `generate`, in one run.

python benchmarks/generate.py [--repeats 5]

GPT-Neo 125M's shape with random weights, bfloat16, prompts of 128 tokens, 64 new ones, top-p 0.95, no end of text on
either side. The peers alternate and the medians are compared; the first call of each (compiling) is not counted.
One prompt is decoded with --rows 2 (docs/design/0008-sampling.md), sixteen prompts with the default of 16.

The script starts itself anew with the environment that run.sh sets for the CPU (glibc keeps and reuses freed memory),
for both peers alike.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
SHAPE = {
    "model_type": "gpt_neo", "vocab_size": 50257, "max_position_embeddings": 2048, "hidden_size": 768,
    "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256,
    "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip
PROMPT_TOKENS, NEW_TOKENS, TOP_P = 128, 64, 0.95


def main() -> None:
    import numpy as np

    repeats = int(sys.argv[sys.argv.index("--repeats") + 1]) if "--repeats" in sys.argv else 5
    prompts = np.random.default_rng(0).integers(0, 50256, (16, PROMPT_TOKENS))
    peers = {"ours": ours(prompts), "torch": torchs(prompts)}
    for batch in (1, 16):
        seconds: dict[str, list[float]] = {name: [] for name in peers}
        for turn in range(repeats + 1):
            for name, generate in peers.items():
                start = time.perf_counter()
                generate(batch, turn)
                if turn:
                    seconds[name].append(time.perf_counter() - start)
        speed = {name: batch * NEW_TOKENS / statistics.median(times) for name, times in seconds.items()}
        print(
            f"batch {batch:2}: {speed['ours']:6.1f} tokens/s, torch transformers {speed['torch']:6.1f}; "
            f"{speed['ours'] / speed['torch']:.2f} times",
            flush=True,
        )


def ours(prompts: np.ndarray) -> Callable[[int, int], None]:  # type: ignore[name-defined]  # noqa: F821
    import modeling
    from generation import Sampler, Settings
    from modeling.decoder import config_from_hf

    class Numbers:
        """A tokenizer whose text is numbers: the benchmark's prompts are random ids. Its end of text cannot occur."""

        size, eos_token_id = SHAPE["vocab_size"], SHAPE["vocab_size"]

        def encode(self, text: str) -> list[int]:
            return [int(word) for word in text.split()]

        def decode(self, ids: list[int]) -> str:
            return " ".join(map(str, ids))

    config = config_from_hf(SHAPE)
    sampler = Sampler(config, modeling.init_params(config, 0), Numbers(), dtype="bfloat16")  # type: ignore[arg-type]

    def generate(batch: int, turn: int) -> None:
        wish = Settings(NEW_TOKENS, temperature=1.0, top_p=TOP_P, seed=turn, rows=2 if batch == 1 else None)
        made = sampler.complete([" ".join(map(str, row)) for row in prompts[:batch]], wish)
        assert all(len(samples[0].tokens) == NEW_TOKENS for samples in made)

    return generate


def torchs(prompts: np.ndarray) -> Callable[[int, int], None]:  # type: ignore[name-defined]  # noqa: F821
    import torch
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    model = GPTNeoForCausalLM(GPTNeoConfig(**SHAPE)).to(torch.bfloat16).eval()

    def generate(batch: int, turn: int) -> None:
        ids = torch.tensor(prompts[:batch])
        torch.manual_seed(turn)
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_p=TOP_P, top_k=0,
                min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, pad_token_id=0,
            )  # fmt: skip
        assert made.shape[1] == PROMPT_TOKENS + NEW_TOKENS

    return generate


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
