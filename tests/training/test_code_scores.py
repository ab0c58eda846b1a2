"""Scores of code in the middle of a run: logged, kept by step, published with the model that they are of."""

from __future__ import annotations

import json

import jax
import pytest

import modeling
from evaluation.in_training import PassAtK
from evaluation.sampling import SAMPLES
from tests.conftest import succeed
from training.code_scores import FOLDER, CodeScores
from training.metrics import MetricLog, read_metrics
from training.trackers import Trackers


class Arguments:
    eval_pass_at_k_every = 2

    def __init__(self, output_dir):
        self.output_dir = str(output_dir)


class Judge:
    name = "toy"

    def __init__(self, fault=None):
        self.steps, self.fault = [], fault

    def __call__(self, config, params, tokenizer_dir, folder, check):
        check()
        if self.fault:
            raise self.fault
        self.steps.append(int(folder.name.split("-")[1]))
        folder.mkdir(parents=True)
        metrics = {"pass@1": self.steps[-1] / 100}
        (folder / "results.json").write_text(json.dumps({"benchmark": "toy", "metrics": metrics}))
        return metrics


def take(folder, judge, steps, stopping=lambda: False):
    log = MetricLog(folder, Trackers([]), 0)
    scores = CodeScores(Arguments(folder), judge, None, folder)
    params = {"a": jax.numpy.ones(3)}
    for number, step in enumerate(steps, 1):
        scores.take(step, number, params, log, stopping, last=step == steps[-1])
    log.close()
    return scores


def test_every_nth_checkpoint_and_the_last_is_scored_and_the_exported_ones_are_published(tmp_path):
    judge = Judge()
    scores = take(tmp_path, judge, [10, 20, 30, 40, 50])
    assert judge.steps == [20, 40, 50]
    rows = [(row["step"], row["benchmark"], row["pass@1"]) for row in read_metrics(tmp_path) if row["kind"] == "code"]
    assert rows == [(20, "toy", 0.2), (40, "toy", 0.4), (50, "toy", 0.5)]
    scores.publish(40)
    assert json.loads((tmp_path / "results.json").read_text())["metrics"] == {"pass@1": 0.4}
    scores.publish(30)  # of which there are none, and those of another step are not its
    assert not (tmp_path / "results.json").exists()
    (tmp_path / "results.json").write_text("a user's own")
    scores.publish(30)
    assert (tmp_path / "results.json").read_text() == "a user's own"


def test_a_fault_ends_the_scoring_and_a_signal_only_this_one(tmp_path, capsys):
    judge = Judge(RuntimeError("no memory\nmore"))
    take(tmp_path, judge, [10, 20, 30, 40])
    assert capsys.readouterr().out.count("no scores of code from here on (no memory)") == 1
    asked = Judge()
    take(tmp_path / "asked", asked, [10, 20, 30, 40], stopping=lambda: not asked.steps)
    assert asked.steps == [] and read_metrics(tmp_path / "asked") == []


@pytest.fixture(autouse=True)
def folders(tmp_path):
    (tmp_path / "asked").mkdir()


def test_a_real_benchmark_scores_the_params_of_a_run_by_the_samples_that_the_command_draws(model_dir, tmp_path):
    """So that a number of the loop and one of `python -m evaluation run` may stand in one table."""
    model = modeling.load(model_dir)
    judge = PassAtK("clippy", None, 1, "float32")
    calls = []
    metrics = judge(model.config, model.params, model_dir, tmp_path / FOLDER / "step-7", lambda: calls.append(1))
    assert metrics == {"pass@1": 0.0, "oracle": 0.0} and calls
    found = json.loads((tmp_path / FOLDER / "step-7" / "results.json").read_text())
    assert found["num_tasks"] == 28 and found["settings"]["sampling"] == {"temperature": 0.2}

    succeed(
        "-m", "evaluation", "run", "--benchmark", "clippy", "--model", model_dir, "--dtype", "float32",
        "--output_dir", tmp_path / "command",
    )  # fmt: skip
    folders = (tmp_path / FOLDER / "step-7", tmp_path / "command")
    drawn = [sorted((folder / SAMPLES).read_text().splitlines()) for folder in folders]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 28
