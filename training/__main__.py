"""Report on a training run, or say what a training command would make of its flags.

python -m training report --run_dir OUT [--scores bits_per_byte.json] [--samples samples.jsonl]
python -m training resolve FLAGS        of run_clm_streaming_flax.py, as JSON; needs neither model nor data
python -m training resolve_apps FLAGS   of run_clm_apps.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interface.errors import UserError, run
from interface.flags import choose, flag, required
from training.arguments import AppsArguments, StreamingArguments


@dataclass(frozen=True)
class MakeReport:
    run_dir: str = required("output_dir of a training run")
    scores: str | None = flag(None, "JSON file of `python -m evaluation bits_per_byte --output`")
    samples: str | None = flag(None, "JSON lines of `python -m generation --output`")
    patch: str | None = flag(None, "tokenizer_patch.json of the model that was fine-tuned")
    title: str | None = flag(None, "title of the page; default: the run's name")
    output: str | None = flag(None, "file to write; default: report.html in run_dir")


def _read(path: str | Path, wanted: str) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); wanted {wanted}") from error


def _model_named(configuration: dict[str, Any]) -> str:
    names = ("model_name_or_path", "config_name", "model_type")
    return next(configuration[name] for name in names if configuration.get(name))


def report(command: MakeReport) -> None:
    from interface.files import claim
    from interface.report import Bars, Chart, Report, write_report
    from training.metrics import read_metrics

    run_dir = Path(command.run_dir)
    configuration = _read(run_dir / "run.json", "the output_dir of a training run")
    rows = read_metrics(run_dir)
    train = [row for row in rows if row["kind"] == "train"]
    held_out = [row for row in rows if row["kind"] == "eval"]
    if not train:
        raise UserError(f"{run_dir}/metrics.jsonl has no training rows yet; wait for the first --logging_steps")

    def line(name: str, source: list[dict[str, Any]]) -> list[tuple[float, float]]:
        return [(row["step"], row[name]) for row in source if row[name] is not None]

    pace = sorted(row["tokens_per_second"] for row in train)[len(train) // 2]
    headlines = {"loss, last interval": f"{train[-1]['loss']:.3f}"} if train[-1]["loss"] is not None else {}
    if held_out and held_out[-1]["loss"] is not None:
        headlines["loss on validation, last"] = f"{held_out[-1]['loss']:.3f}"
    headlines |= {"tokens a second, median": f"{pace:,.0f}", "tokens trained on": f"{train[-1]['tokens']:,}"}
    losses = {"train": line("loss", train)} | ({"validation": line("loss", held_out)} if held_out else {})
    charts: list[Chart | Bars] = [
        Chart("Loss", "nats a token", losses),
        Chart("Learning rate", "", {"learning rate": line("learning_rate", train)}),
        Chart("Throughput", "tokens a second", {"tokens/s": line("tokens_per_second", train)}),
        Chart("Gradient norm", "", {"gradient norm": line("gradient_norm", train)}, log_scale=True),
    ]
    tables: dict[str, list[dict[str, Any]]] = {}
    if command.scores:
        scores = _read(command.scores, "the output of python -m evaluation bits_per_byte")
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
        mine = [score for name, score in scores["results"].items() if Path(name).resolve() == run_dir.resolve()]
        if mine:
            headlines = {"bits a byte, held out": f"{mine[0]['bits_per_byte']:.3f}"} | headlines
    if command.patch:
        patched = _read(command.patch, "a tokenizer_patch.json")
        headlines["tokens saved by the patch"] = f"{100 * patched['tokens_saved']:.1f} %"
    samples = []
    if command.samples:
        try:
            samples = [json.loads(text) for text in Path(command.samples).read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"{command.samples} cannot be read ({error}); wanted JSON lines of samples") from error
    path = Path(command.output) if command.output else run_dir / "report.html"
    if path.parent == run_dir:
        claim(run_dir, path.name)
    write_report(
        path,
        Report(
            title=command.title or configuration["run_name"],
            summary=f"{_model_named(configuration)}, trained for {train[-1]['step']:,} optimizer steps",
            headlines=headlines,
            charts=charts,
            tables=tables,
            samples=[(row["prompt"], row["completion"]) for row in samples],
            configuration=configuration,
        ),
    )
    print(f"wrote the report to {path}")


def main() -> None:
    _, command = choose(
        {
            "report": (MakeReport, "Write report.html for a training run."),
            "resolve": (StreamingArguments, "Print the resolved flags of run_clm_streaming_flax.py as JSON."),
            "resolve_apps": (AppsArguments, "Print the resolved flags of run_clm_apps.py as JSON."),
        },
        prog="python -m training",
    )
    if isinstance(command, MakeReport):
        report(command)
    else:
        print(json.dumps(command.resolved(), indent=2))


if __name__ == "__main__":
    run(main)
