"""Metric log: one JSON line an interval in metrics.jsonl; plots, reports and tests read it.

Device values are read one interval late, so that logging never waits for the step that was just dispatched.
"""

from __future__ import annotations

import json
import math
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interface.files import open_atomically
from tokenizer_patch.tokenizer import Tokenizer
from training.processes import is_primary
from training.trackers import Trackers

NAME = "metrics.jsonl"


def read_metrics(output_dir: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics, in order; a last line that a kill cut short is left out."""
    path = Path(output_dir) / NAME
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class MetricLog:
    """Append rows to metrics.jsonl and hand them to the trackers."""

    def __init__(self, output_dir: Path, trackers: Trackers, resumed_at: int) -> None:
        path = output_dir / NAME
        kept = [row for row in read_metrics(output_dir) if row["step"] <= resumed_at]
        self._kept = {(row["step"], row["kind"]) for row in kept}
        if is_primary():
            with open_atomically(path) as file:
                file.write("".join(json.dumps(row) + "\n" for row in kept).encode())
        self._file = (path if is_primary() else Path(os.devnull)).open("a")
        self._trackers = trackers

    def write(self, row: dict[str, Any]) -> None:
        finite = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()
        self._trackers.log(row)

    def has(self, step: int, kind: str) -> bool:
        """Whether an earlier part of the run wrote this row."""
        return (step, kind) in self._kept

    def close(self) -> None:
        self._file.close()
        self._trackers.close()


def loss_metrics(loss_sum: float, weight: float, num_bytes: float) -> dict[str, Any]:
    """Loss, perplexity and bits a byte, of a sum of weight * nll in nats over targets, their weights and their bytes.

    `modeling.bits_per_byte` sums whole documents, each token after all of its document up to a block. This sums the
    targets of the batches as they are: blocks that begin in the middle of a document, and documents that see the end of
    the one before. End of text costs bits and has no bytes in both. On the same tokens the same number.
    """
    loss = loss_sum / weight if weight else math.nan
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),  # beyond that a float overflows
        "bits_per_byte": loss_sum / (math.log(2) * num_bytes) if num_bytes else None,
    }


def bytes_of_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each id stands for, float32 [V]; end of text for none."""
    lengths = np.array([len(spelled) for spelled in tokenizer.token_bytes()], np.float32)
    lengths[tokenizer.eos_token_id] = 0
    return lengths


def target_bytes(batch: Mapping[str, np.ndarray], bytes_V: np.ndarray) -> np.ndarray:
    """The bytes that each row's targets stand for, times their weights: float32 [B], exact below 2^24."""
    weighted: np.ndarray = (bytes_V[batch["targets"]] * batch["loss_weights"]).sum(-1)
    return weighted


def peak_memory(devices: list[Any]) -> dict[str, float]:
    """Peak memory so far in GB: of this process on the host and, where the platform tells, of the fullest device."""
    measured = {"peak_host_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    stats = [device.memory_stats() or {} for device in devices]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return measured | ({"peak_device_gb": max(peaks) / 1e9} if peaks else {})
