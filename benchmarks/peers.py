"""Two peers timed side by side in one run: what a benchmark here is."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

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
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
