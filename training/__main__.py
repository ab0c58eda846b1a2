"""Report on a training run, push it to the Hub, or say what a training command would make of its flags.

python -m training report --run_dir OUT [--scores bits_per_byte.json] [--samples samples.jsonl]
python -m training push --run_dir OUT [--checkpoint ckpt-500] [--hub_model_id OWNER/NAME]
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
from training.apps_arguments import AppsArguments
from training.streaming_arguments import StreamingArguments


@dataclass(frozen=True)
class MakeReport:
    run_dir: str = required("output_dir of a training run")
    scores: str | None = flag(None, "JSON file of `python -m evaluation bits_per_byte --output`")
    samples: str | None = flag(None, "JSON lines of `python -m generation --output`, shown before those of the run")
    patch: str | None = flag(None, "tokenizer_patch.json of the model that was fine-tuned")
    title: str | None = flag(None, "title of the page; default: the run's name")
    output: str | None = flag(None, "file to write; default: report.html in run_dir")


def _read(path: str | Path, wanted: str) -> Any:
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); wanted {wanted}") from error


def report(command: MakeReport) -> None:
    from interface.files import claim
    from interface.report import write_report
    from training.report import report_of
    from training.summary import summarize

    run_dir = Path(command.run_dir)
    summary = summarize(run_dir)
    samples = []
    if command.samples:
        try:
            samples = [json.loads(text) for text in Path(command.samples).read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise UserError(f"{command.samples} cannot be read ({error}); wanted JSON lines of samples") from error
    scores = _read(command.scores, "the output of python -m evaluation bits_per_byte") if command.scores else None
    patch = _read(command.patch, "a tokenizer_patch.json") if command.patch else None
    path = Path(command.output) if command.output else run_dir / "report.html"
    if path.parent == run_dir:
        claim(run_dir, path.name)
    page = report_of(summary, output_dir=run_dir, title=command.title, scores=scores, samples=samples, patch=patch)
    write_report(path, page)
    print(f"wrote the report to {path}")


@dataclass(frozen=True)
class PushRun:
    run_dir: str = required("output_dir of a training run")
    checkpoint: str | None = flag(None, "ckpt-N to push; default: the model in run_dir itself")
    hub_model_id: str | None = flag(None, "OWNER/NAME or NAME of the repository; default: what the run was given")


def push(command: PushRun) -> None:
    from training.hub_push import HubPush

    configuration = _read(Path(command.run_dir) / "run.json", "the output_dir of a training run")
    configuration |= {"output_dir": command.run_dir}  # it may have been moved since
    configuration |= {"hub_model_id": command.hub_model_id} if command.hub_model_id else {}
    print(f"pushed to {HubPush.of(configuration).now(command.checkpoint)}")


def main() -> None:
    _, command = choose(
        {
            "report": (MakeReport, "Write report.html for a training run."),
            "push": (PushRun, "Push a run's model to the Hub, as its --hub_strategy says."),
            "resolve": (StreamingArguments, "Print the resolved flags of run_clm_streaming_flax.py as JSON."),
            "resolve_apps": (AppsArguments, "Print the resolved flags of run_clm_apps.py as JSON."),
        },
        prog="python -m training",
    )
    if isinstance(command, MakeReport):
        report(command)
    elif isinstance(command, PushRun):
        push(command)
    else:
        print(json.dumps(command.resolved(), indent=2))


if __name__ == "__main__":
    run(main)
