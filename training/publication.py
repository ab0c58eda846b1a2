"""Publication: what a run leaves for people to look at: report.html, and README.md with its figures."""

from __future__ import annotations

from pathlib import Path

from interface.files import open_atomically
from interface.model_card import NAME, write_card
from interface.progress import say
from interface.report import draw_png, write_report
from training.card import card_of
from training.report import report_of
from training.summary import FACTS, summarize

REPORT = "report.html"
FIGURES = {  # title of the curve -> file beside the card
    "Loss": "figure-loss.png",
    "Learning rate": "figure-learning-rate.png",
    "Gradient norm": "figure-gradient-norm.png",
}
PUBLISHED = (FACTS, REPORT, *FIGURES.values())  # README.md is not among them: a user's own stays


def publish(output_dir: Path) -> None:
    """Describe the model in output_dir; what fails here is said, since the model itself is whole."""
    try:
        summary = summarize(output_dir)
        write_report(output_dir / REPORT, report_of(summary, output_dir=output_dir))
        figures = {}
        for chart in summary.charts():
            if name := FIGURES.get(chart.title):
                with open_atomically(output_dir / name) as file:
                    file.write(draw_png(chart))
                figures[name] = f"{chart.title} over the run"
        if not write_card(output_dir, card_of(summary, figures)):
            say(f"{output_dir / NAME} is your own and stays as it is; no model card was written")
    except Exception as error:  # a full disk, a results.json of somebody else: no reason to lose what comes after
        said = next(iter(str(error).splitlines()), type(error).__name__)
        say(f"warning: the report or the model card was not written ({said}); python -m training report tries again")
