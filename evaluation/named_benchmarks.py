"""Named benchmarks: every one by its name, and which variants it has.

benchmark = named_benchmarks.load("mbpp", split="full", prompt="incoder")
benchmark = named_benchmarks.load("clippy")      # our own, which come with the code
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from evaluation import apps_benchmark, humaneval_benchmark, mbpp_benchmark, mtpb_benchmark
from evaluation.benchmark import Benchmark, UnknownVariant, choose

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "humaneval": humaneval_benchmark.load,
    "mbpp": mbpp_benchmark.load,
    "apps": apps_benchmark.load,
    "mtpb": mtpb_benchmark.load,
    "clippy": humaneval_benchmark.load_clippy,
    "clippy-apps": apps_benchmark.load_clippy,
}


def variants(name: str) -> dict[str, str]:
    """What may be chosen of a benchmark, with what it is by default."""
    parameters = inspect.signature(BENCHMARKS[choose("benchmark", name, list(BENCHMARKS))]).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def load(name: str, problems: str | None = None, cache_dir: str | None = None, **chosen: str) -> Benchmark:
    """A benchmark with its problems, the published ones or those at `problems`; a variant left out is the default.

    Raises: UnknownVariant; and what reading the problems raises.
    """
    known = variants(name)
    for kind in chosen:
        if kind not in known:
            raise UnknownVariant(f"{name} has no choice of {kind}; wanted one of {', '.join(known)}")
    places: dict[str, Any] = {"problems": problems, "cache_dir": cache_dir}
    if name.startswith("clippy"):
        if problems is not None:
            raise UnknownVariant(
                f"{name} comes with the code and takes no --problems; name the benchmark whose form {problems} has"
            )
        places = {}
    return BENCHMARKS[name](**places, **chosen)
