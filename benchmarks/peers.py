"""Two peers timed side by side in one run: what a benchmark here is."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

GPT_NEO_125M = {
    "model_type": "gpt_neo", "vocab_size": 50257, "max_position_embeddings": 2048, "hidden_size": 768,
    "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256,
    "resid_dropout": 0.0, "embed_dropout": 0.0, "attention_dropout": 0.0, "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip

# What run.sh sets for its CPU jobs (docs/log.md): glibc keeps freed memory, on huge pages, instead of giving it back
# to the kernel, which would zero it again. Both peers run under it, or neither.
KEEP_SCRATCH_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def keep_scratch_memory() -> None:
    """Start this script again under KEEP_SCRATCH_MEMORY, which glibc reads only at a program's start."""
    if any(os.environ.get(name) != value for name, value in KEEP_SCRATCH_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_SCRATCH_MEMORY})


def alternate(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Call both in turn; return the median seconds of each and the median of their ratio within a round."""
    ours()
    theirs()  # the first call of each compiles and warms up
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, peer = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(peer), statistics.median(b / a for a, b in pairs)


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes, after a rest in which the other peer's threads stop to wait for more work."""
    time.sleep(0.5)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
