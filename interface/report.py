"""Report page: one self-contained HTML file with figures first, then charts, tables and text."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from interface.files import write_text

TEMPLATE = "report.html.j2"
COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7")  # legible on white and on black


@dataclass(frozen=True)
class Chart:
    """Lines over steps, or over what `x_label` says: name -> [(step, value)]."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log_scale: bool = False
    x_label: str = "optimizer step"


@dataclass(frozen=True)
class Bars:
    """Labelled values side by side; the smallest is the best, where one is."""

    title: str
    unit: str
    values: Mapping[str, float]
    has_best: bool = True


@dataclass(frozen=True)
class Report:
    """What a page shows, in this order."""

    title: str
    summary: str
    headlines: Mapping[str, str]  # caption -> figure
    charts: Sequence[Chart | Bars] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    samples: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  # heading -> (prompt, completion)
    command: str = ""
    overview: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)  # of the run, where it has kept them


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on, and the commit of this clone where git tells it."""
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "tokenizers", "datasets", "numpy")
    found = {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or no clone
        return found
    return found | {"commit": commit.stdout.strip()}


def write_report(path: Path, report: Report) -> None:
    """Render a report to `path`: charts are inline SVG, nothing is loaded from elsewhere."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    page = environment.get_template(TEMPLATE).render(
        report=report,
        drawings=[(chart.title, _draw(chart)) for chart in report.charts],
        configuration=json.dumps(report.configuration, indent=2),
        versions=report.versions or versions(),
        machine=f"{platform.system()} {platform.machine()}",
    )
    write_text(path, page)


def _draw(chart: Chart | Bars) -> str:
    """One chart as an SVG element; the same numbers give the same bytes."""
    svg = _plot(chart, "svg").decode()
    return re.sub(r"#000000|\bblack\b", "currentColor", svg[svg.index("<svg") :])


def draw_png(chart: Chart) -> bytes:
    """One chart as a picture on white, for pages that show no SVG."""
    return _plot(chart, "png")


def _plot(chart: Chart | Bars, kind: Literal["svg", "png"]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # text stays text: selectable, small, and in the page's own font and colour
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 10}):
        figure = Figure(figsize=(6.2, 2.9), layout="constrained")
        axes = figure.subplots()
        if kind == "svg":
            figure.patch.set_alpha(0)
            axes.patch.set_alpha(0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        if isinstance(chart, Bars):
            names = list(chart.values)
            best = min(chart.values.values()) if chart.has_best else None
            colours = [COLOURS[2] if chart.values[name] == best else COLOURS[0] for name in names]
            bars = axes.barh(names[::-1], [chart.values[name] for name in names[::-1]], color=colours[::-1], height=0.6)
            axes.bar_label(bars, fmt="%.3f" if chart.has_best else "%d", padding=4)
            axes.margins(x=0.15)
            axes.set_xlabel(chart.unit)
        else:
            for colour, (name, points) in zip(cycle(COLOURS), chart.lines.items()):
                marker = "o" if len(points) < 12 else None
                axes.plot(*zip(*points), label=name, color=colour, marker=marker, markersize=3.5, linewidth=1.6)
            if len(chart.lines) > 1:
                axes.legend(frameon=False)
            if chart.log_scale:
                axes.set_yscale("log")
            axes.set_xlabel(chart.x_label)
            axes.set_ylabel(chart.unit)
            whole = all(float(x).is_integer() for points in chart.lines.values() for x, _ in points)
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=whole))
        drawing = io.BytesIO()
        unstamped = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(drawing, format=kind, metadata=unstamped, dpi=150)
    return drawing.getvalue()
