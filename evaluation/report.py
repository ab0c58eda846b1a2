"""Report of results: one page over one or several scored sample files of a benchmark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.apps_comparison import COMPARISONS
from evaluation.pass_at_k import Tally, mean_pass_at_k
from evaluation.results import Result
from interface.errors import UserError
from interface.report import Bars, Chart, Report, write_report

MOST_REASONS = 12


class DifferentBenchmarks(UserError):
    """Results that no chart can show side by side."""


def report(results: Sequence[Result], path: Path) -> None:
    """Write the page.  Raises: DifferentBenchmarks."""
    names = sorted({result.content["benchmark"] for result in results})
    if len(names) > 1:
        raise DifferentBenchmarks(f"results of {', '.join(names)}; wanted those of one benchmark, a page each")
    labels = _labels(results)
    charts: list[Chart | Bars] = [
        Chart(
            "pass@k", "share of tasks", {label: _curve(result) for label, result in labels.items()},
            x_label="k",
        )
    ]  # fmt: skip
    for of, by_temperature in _by_temperature(results).items():
        ks = sorted({k for curve in by_temperature.values() for k in curve}, key=lambda k: int(k.split("@")[1]))
        lines = {k: [(t, curve[k]) for t, curve in sorted(by_temperature.items()) if k in curve] for k in ks[:4]}
        charts.append(Chart(f"pass@k by temperature: {of}", "share of tasks", lines, x_label="temperature"))
    for label, result in labels.items():
        reasons = dict(list(result.content["reasons"].items())[:MOST_REASONS])
        charts.append(Bars(f"Verdicts: {label}", "samples", reasons, has_best=False))
        if bleu := result.content.get("bleu"):
            charts.append(
                Chart(f"BLEU of passing and failing samples: {label}", "share of samples", _histograms(bleu),
                      x_label="BLEU")
            )  # fmt: skip
    first = results[0].content
    write_report(
        path,
        Report(
            title=f"{first['benchmark']}: {', '.join(labels)}",
            summary=f"{first['num_tasks']} tasks; variant: {_variant(first)}",
            headlines=_headlines(labels),
            charts=charts,
            tables={"Scores": _scores(labels), **_by_difficulty(labels), "Tasks": _tasks(labels)},
            configuration={label: result.content["settings"] | result.content["source"]
                           for label, result in labels.items()},
            versions=first.get("versions", {}),
        ),
    )  # fmt: skip


def _variant(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{kind} {value}" for kind, value in content["variant"].items())


def _labels(results: Sequence[Result]) -> dict[str, Result]:
    labels: dict[str, Result] = {}
    for result in results:
        label = result.label if result.label not in labels else f"{result.label} ({result.folder})"
        labels[label] = result
    return labels


def _curve(result: Result) -> list[tuple[float, float]]:
    """pass@k at every power of two and every k that is published, up to the fewest samples of a task."""
    tallies = [Tally(task["samples"], task["passed"]) for task in result.content["tasks"].values()]
    fewest = min((tally.num_samples for tally in tallies), default=0)
    ks = sorted({k for k in (*(2**power for power in range(12)), 10, 100, fewest) if k <= fewest})
    return [(float(k), mean_pass_at_k(tallies, (k,))[f"pass@{k}"]) for k in ks]


def _by_temperature(results: Sequence[Result]) -> dict[str, dict[float, dict[str, float]]]:
    """pass@k by temperature, of each model and variant that was sampled at several."""
    found: dict[str, dict[float, dict[str, float]]] = defaultdict(dict)
    for result in results:
        settings, metrics = result.content["settings"], result.content["metrics"]
        if "temperature" in (sampling := settings.get("sampling") or {}):
            model = str(settings.get("model") or result.folder.name)
            group = ", ".join(filter(None, (model, _variant(result.content))))
            found[group][float(sampling["temperature"])] = {k: v for k, v in metrics.items() if k.startswith("pass@")}
    return {group: curves for group, curves in found.items() if len(curves) > 1}


def _headlines(labels: dict[str, Result]) -> dict[str, str]:
    if len(labels) == 1:
        (result,) = labels.values()
        found = {name: f"{value:.1%}" for name, value in result.content["metrics"].items() if value <= 1}
        if ranked := result.content.get("reranking"):
            found["best by likelihood"] = f"{ranked['best_mean_log_probability']:.1%}"
        for comparison, one in result.content["details"].get("ceiling", {}).items():
            found[f"within reach, {comparison}"] = f"{one['reachable']} of {one['of']}"
        if (reached := result.content.get("ceiling")) and reached["tried"]:
            found["own solutions pass"] = f"{reached['solved']} of {reached['tried']}"
        return found
    return {f"pass@1, {label}": f"{result.content['metrics'].get('pass@1', 0):.1%}" for label, result in labels.items()}


def _scores(labels: dict[str, Result]) -> list[dict[str, Any]]:
    rows = []
    for label, result in labels.items():
        row = {"model": label, **{name: f"{value:.4f}" for name, value in result.content["metrics"].items()}}
        if ranked := result.content.get("reranking"):
            row["best by likelihood"] = f"{ranked['best_mean_log_probability']:.4f}"
        rows.append(row)
    columns = {name: "" for row in rows for name in row}
    return [columns | row for row in rows]


def _by_difficulty(labels: dict[str, Result]) -> dict[str, list[dict[str, Any]]]:
    """APPS's scores under either comparison."""
    rows = [
        {"model": label, "comparison": comparison, "difficulty": level,
         **{name: f"{value:.4f}" if isinstance(value, float) else value for name, value in scores.items()}}
        for label, result in labels.items()
        for comparison in COMPARISONS
        for level, scores in result.content["details"].get(comparison, {}).items()
    ]  # fmt: skip
    return {"By difficulty": rows} if rows else {}


def _tasks(labels: dict[str, Result]) -> list[dict[str, Any]]:
    """One row a task, the hardest first."""
    task_ids = {task_id: None for result in labels.values() for task_id in result.content["tasks"]}
    rows = []
    for task_id in task_ids:
        row: dict[str, Any] = {"task": task_id}
        share = 0.0
        for label, result in labels.items():
            task = result.content["tasks"].get(task_id, {"samples": 0, "passed": 0, "mostly": ""})
            share += task["passed"] / max(task["samples"], 1)
            row[f"passed, {label}"] = f"{task['passed']} of {task['samples']}"
            row[f"others mostly, {label}"] = task["mostly"]
        rows.append((share, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _histograms(bleu: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Shares of the passing and of the failing samples by tens of BLEU."""
    lines = {}
    for verdict in ("passed", "failed"):
        if bleu[verdict]:
            shares, edges = np.histogram(bleu[verdict], bins=10, range=(0, 100))
            lines[verdict] = [
                (float(edge + 5), float(count / len(bleu[verdict]))) for edge, count in zip(edges, shares, strict=False)
            ]
    return lines
