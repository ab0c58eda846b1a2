"""Report of a run: its summary as a page, and what else was measured of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interface.report import Bars, Chart, Report
from training.summary import SCORES, Summary


def report_of(
    summary: Summary,
    *,
    output_dir: Path,
    title: str | None = None,
    scores: dict[str, Any] | None = None,
    samples: Sequence[dict[str, Any]] = (),
    patch: dict[str, Any] | None = None,
) -> Report:
    """The page of a run.

    `scores` is what `python -m evaluation bits_per_byte` writes, `samples` what `python -m generation` does, `patch` a
    tokenizer_patch.json.
    """
    configuration = summary.configuration
    headlines = {f"validation {SCORES[name]}": f"{value:.3f}" for name, value in summary.scores.items()}
    if summary.last["loss"] is not None:
        headlines["train loss, last interval"] = f"{summary.last['loss']:.3f}"
    pace, use = summary.median("tokens_per_second"), summary.median("mfu")
    headlines |= {"tokens trained on": _count(summary.last["tokens"])}
    headlines |= {"tokens a second, median": f"{pace:,.0f}"} if pace is not None else {}
    headlines |= {"MFU, median": f"{100 * use:.1f} %"} if use is not None else {}
    charts: list[Chart | Bars] = [*summary.charts()]
    tables: dict[str, list[dict[str, Any]]] = {
        benchmark.name: [{"metric": name, "value": f"{value:.4g}"} for name, value in benchmark.metrics.items()]
        for benchmark in summary.benchmarks
    }
    if scores:
        short = {name: Path(name).name for name in scores["results"]}
        if len(set(short.values())) < len(short):  # two models of one name: say where each lies
            short = {name: name for name in short}
        values = {short[name]: score for name, score in scores["results"].items()}
        bars = Bars(
            f"Held-out code: bits a byte ({scores['bytes']:,} bytes of {scores['split']})", "lower is better",
            {name: score["bits_per_byte"] for name, score in values.items()},
        )  # fmt: skip
        charts.insert(0, bars)
        tables["Held-out code"] = [
            {"model": name, "bits a byte": f"{score['bits_per_byte']:.4f}",
             "tokens a byte": f"{score['tokens_per_byte']:.4f}"}
            for name, score in values.items()
        ]  # fmt: skip
        mine = [score for name, score in scores["results"].items() if Path(name).resolve() == output_dir.resolve()]
        if mine:
            headlines = {"bits a byte, held out": f"{mine[0]['bits_per_byte']:.3f}"} | headlines
    if patch:
        headlines["tokens saved by the patch"] = f"{100 * patch['tokens_saved']:.1f} %"
    return Report(
        title=title or configuration["run_name"],
        summary=f"{_start_of(configuration)}, {summary.step:,} optimizer steps",
        headlines=headlines,
        charts=charts,
        tables=tables,
        samples=({"of the finished model": [_pair(row) for row in samples]} if samples else {}) | _by_step(summary),
        command=summary.facts.get("command", ""),
        overview=summary.facts.get("overview", {}),
        configuration=configuration,
        versions=summary.facts.get("versions", {}),
    )


def _count(number: int) -> str:
    """Spell a number that may be long.

    >>> _count(45_600), _count(2_097_152), _count(41_943_040_000)
    ('45,600', '2.10 million', '41.94 billion')
    """
    for name, scale in (("billion", 10**9), ("million", 10**6)):
        if number >= scale:
            return f"{number / scale:.2f} {name}"
    return f"{number:,}"


def _start_of(configuration: Any) -> str:
    base = configuration["model_name_or_path"]
    new = configuration["config_name"] or configuration.get("model_type")
    return f"{base}, fine-tuned" if base else f"{new}, trained from scratch"


def _by_step(summary: Summary) -> dict[str, list[tuple[str, str]]]:
    """Completions by the step that they were sampled at, the newest first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in sorted(summary.samples, key=lambda row: -row["step"]):
        found.setdefault(f"at step {row['step']:,}", []).append(_pair(row))
    return found


def _pair(row: dict[str, Any]) -> tuple[str, str]:
    return row["prompt"], row["completion"]
