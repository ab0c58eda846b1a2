"""Two peers timed side by side in one run: what a benchmark here is."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

GPT_NEO_125M = {
    "model_type": "gpt_neo", "vocab_size": 50257, "max_position_embeddings": 2048, "hidden_size": 768,
    "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256,
    "resid_dropout": 0.0, "embed_dropout": 0.0, "attention_dropout": 0.0, "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip

GPT_NEO_1_3B = GPT_NEO_125M | {"hidden_size": 2048, "num_layers": 24, "num_heads": 16,
                               "attention_types": [[["global", "local"], 12]]}  # fmt: skip

# A peer of torch's whose name ends so keeps freed memory in its process, as our commands do (modeling.scratch_memory).
# It helps torch too; as it comes torch does not.
KEPT = "-kept"


def keep_as_named(peer: str) -> None:
    """Keep freed memory where the peer's name says so.  Raises: SystemExit where it cannot be kept."""
    from modeling.scratch_memory import keep_scratch_memory

    if peer.endswith(KEPT) and not keep_scratch_memory():
        raise SystemExit(f"{peer} cannot keep freed memory here: MALLOC_* or GLIBC_TUNABLES are set, or no glibc")


def alternate(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Call both in turn; return the median seconds of each and the median of their ratio within a round."""
    ours()
    theirs()  # the first call of each compiles and warms up
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, peer = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(peer), statistics.median(b / a for a, b in pairs)


class PeerProcess:
    """A peer in a process of its own, so that its memory is its own: this script again, with --peer NAME.

    It says a line of JSON when it is ready and after each step that it is told to take (`serve`).
    """

    def __init__(self, name: str, words: list[str], **environment: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, *sys.argv, "--peer", name, *words],
            env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.about = self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                heard: dict[str, Any] = json.loads(line)
                return heard
        raise SystemExit(f"{self.name} ended with status {self._process.wait()}")

    def step(self) -> dict[str, Any]:
        """Let it take a step after a rest; its seconds, its loss and its peak memory so far."""
        assert self._process.stdin is not None
        time.sleep(0.5)
        print("step", file=self._process.stdin, flush=True)
        return self._hear()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Turns(NamedTuple):
    """What a peer told: of itself when it was ready, and of each of its steps."""

    about: dict[str, Any]
    steps: list[dict[str, Any]]

    @property
    def seconds(self) -> list[float]:
        return [step["seconds"] for step in self.steps]

    def ratio_to(self, other: Turns) -> float:
        """How many times as long it takes as the other: the median of what it was in each round."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


def take_turns(names: Iterable[str], words: list[str], rounds: int, **environment: str) -> dict[str, Turns]:
    """Start each peer, and let one after the other take a step, `rounds` times."""
    peers = [PeerProcess(name, words, **environment) for name in names]
    steps = [[peer.step() for peer in peers] for _ in range(rounds)]
    for peer in peers:
        peer.close()
    return {peer.name: Turns(peer.about, list(own)) for peer, own in zip(peers, zip(*steps, strict=True), strict=True)}


def serve(step: Callable[[], float], peak_bytes: Callable[[], float], **about: Any) -> None:
    """The other end of a PeerProcess: `step` takes a step to its end and returns its loss; `about` is told first."""
    started = time.perf_counter()
    for _ in range(2):  # compile, and settle
        step()
    print(json.dumps({"ready": time.perf_counter() - started, **about}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        loss = step()
        told = {"seconds": time.perf_counter() - started, "loss": loss, "gigabytes": peak_bytes() / 1e9}
        print(json.dumps(told), flush=True)


def peak_host_bytes() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes, after a rest in which the other peer's threads stop to wait for more work."""
    time.sleep(0.5)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
