"""Summary of a run: what its folder says of it. The report and the model card take every figure from here.

run.json        the configuration        facts.json     command, machine, versions, the step of the model
metrics.jsonl   the curves               samples.jsonl  completions along the way
results.json    scores, where an evaluation has left some: {"benchmark": NAME, "metrics": {NAME: NUMBER}}, or a list
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interface.errors import UserError
from interface.files import write_json
from interface.report import Chart, versions
from training.completions import read_samples
from training.export import NAME as EXPORTED
from training.metrics import read_metrics

FACTS, RESULTS = "facts.json", "results.json"
SCORES = {"loss": "loss", "perplexity": "perplexity", "bits_per_byte": "bits per byte"}  # of an evaluation, as spelt


class NoRun(UserError):
    """A folder does not hold what a training run leaves."""


def write_facts(output_dir: Path, command: str, overview: Mapping[str, str]) -> None:
    """Keep what a run knows of itself besides its flags."""
    write_json(output_dir / FACTS, {"command": command, "overview": dict(overview), "versions": versions()})


@dataclass(frozen=True)
class Benchmark:
    """Scores of the model on one benchmark."""

    name: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """What is known of a run. `step` is that of the model in output_dir, while it trains the last one logged."""

    configuration: Mapping[str, Any]
    facts: Mapping[str, Any]
    exported: Mapping[str, Any]
    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    benchmarks: list[Benchmark]

    @property
    def step(self) -> int:
        return int(self.exported.get("step") or self.train[-1]["step"])

    @property
    def scores(self) -> dict[str, float]:
        """The model's scores on the validation split, by the names of metrics.jsonl; none without an evaluation."""
        rows = [row for row in self.held_out if row["step"] == self.step]
        return {name: rows[-1][name] for name in SCORES if rows and rows[-1].get(name) is not None}

    @property
    def last(self) -> dict[str, Any]:
        """The last logged interval up to the model's step."""
        return next((row for row in reversed(self.train) if row["step"] <= self.step), self.train[0])

    def median(self, name: str) -> float | None:
        """The middle value of a metric over the run."""
        values = sorted(value for _, value in _points(self.train, name))
        return values[len(values) // 2] if values else None

    def charts(self) -> list[Chart]:
        """The curves that there are."""
        both = {"train": self.train, "validation": self.held_out}
        train = {"train": self.train}
        charts = [
            _chart("Loss", "nats a token", "loss", both),
            _chart("Bits per byte", "bits", "bits_per_byte", both),
            _chart("Learning rate", "", "learning_rate", train),
            _chart("Throughput", "tokens a second", "tokens_per_second", train),
            _chart("Model FLOPs utilisation", "%", "mfu", train, scale=100),
            _chart("Waiting for data", "% of the time", "data_wait", train, scale=100),
            _chart("Gradient norm", "", "gradient_norm", train, log_scale=True),
            _chart("Parameter norm", "", "parameter_norm", train),
        ]
        return [chart for chart in charts if chart.lines]


def summarize(output_dir: Path) -> Summary:
    """Read what a run has left in its folder.  Raises: NoRun."""
    rows = read_metrics(output_dir)
    train = [row for row in rows if row["kind"] == "train"]
    configuration = _read(output_dir / "run.json", required=True)
    if not train:
        raise NoRun(f"{output_dir}/metrics.jsonl has no training rows yet; wait for the first --logging_steps")
    return Summary(
        configuration,
        _read(output_dir / FACTS),
        _read(output_dir / EXPORTED),
        train,
        [row for row in rows if row["kind"] == "eval"],
        read_samples(output_dir),
        _benchmarks(output_dir / RESULTS),
    )


def _read(path: Path, *, required: bool = False) -> Any:
    if not path.is_file() and not required:
        return {}
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NoRun(f"{path} cannot be read ({error}); wanted the output_dir of a training run") from error


def _benchmarks(path: Path) -> list[Benchmark]:
    found = _read(path)
    try:
        return [
            Benchmark(str(one["benchmark"]), {name: float(value) for name, value in one["metrics"].items()})
            for one in (found if isinstance(found, list) else [found] if found else [])
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoRun(
            f'{path} is no result of an evaluation ({error!r}); wanted {{"benchmark": NAME, "metrics": {{NAME: '
            "NUMBER}}, or a list of such; mend it or move it away"
        ) from error


def _points(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def _chart(
    title: str,
    unit: str,
    name: str,
    sources: Mapping[str, list[dict[str, Any]]],
    *,
    scale: float = 1,
    log_scale: bool = False,
) -> Chart:
    lines = {label: [(step, scale * value) for step, value in _points(rows, name)] for label, rows in sources.items()}
    return Chart(title, unit, {label: points for label, points in lines.items() if points}, log_scale)
