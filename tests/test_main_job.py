"""The main job, shortened: every step that ./run.sh takes, by the launcher itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import modeling
from tests.conftest import ROOT, command

KNOBS = {"BASE_STEPS": "8", "TUNE_STEPS": "8", "SCORE_BYTES": "20000"}


def launch(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    """Run run.sh with the environment that runs these tests."""
    venv = str(Path(sys.executable).parent.parent)
    env = {**os.environ, **KNOBS, "XLA_FLAGS": "", "CODE_CLIPPY_VENV": venv, **environment}
    return subprocess.run(
        ["bash", str(ROOT / "run.sh"), *words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "main"
    done = launch("main", RUN_DIR=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_job_ends_by_saying_where_everything_lies(job):
    folder, said = job
    tail = said[said.index("== done in") :]
    assert str(folder) in tail and "report.html" in tail
    page = (folder / "report.html").read_text()
    for words in ("bits a byte", "Loss", "Learning rate", "Throughput", "tokens saved by the patch", "def add(a, b):"):
        assert words in page, words
    for model in ("base", "patched", "continued", "tuned"):
        assert f"<td>{model}</td>" in page


def test_scores_compare_four_models_on_the_same_held_out_bytes(job):
    scores = json.loads((job[0] / "bits_per_byte.json").read_text())
    values = {Path(name).name: row for name, row in scores["results"].items()}
    assert list(values) == ["base", "patched", "continued", "tuned"] and scores["split"] == "test"
    assert values["tuned"]["bits_per_byte"] < values["patched"]["bits_per_byte"]
    assert values["continued"]["bits_per_byte"] < values["base"]["bits_per_byte"]
    assert values["tuned"]["tokens_per_byte"] < 0.8 * values["base"]["tokens_per_byte"]


def test_base_and_fine_tuning_see_disjoint_halves_of_one_train_split(job):
    from data_processing.shards import read_texts, shards_of

    halves = [list(read_texts(shards_of(job[0] / f"half-{n}", "train"))) for n in (1, 2)]
    assert sorted(halves[0] + halves[1]) == sorted(read_texts(shards_of(job[0] / "corpus", "train")))
    assert all(halves)


def test_the_control_saw_the_same_bytes_in_more_tokens(job):
    before, after = json.loads((job[0] / "patched" / "tokenizer_patch.json").read_text())["tokens_per_byte"]
    steps = json.loads((job[0] / "continued" / "run.json").read_text())["max_steps"]
    assert steps == round(8 * before / after) > 8


def test_the_result_loads_in_torch(job):
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = job[0] / "tuned"
    oracle = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == 4100 == oracle.get_input_embeddings().weight.shape[0]
    ids = tokenizer("class A:\n    def f(self):\n        return 1\n", return_tensors="pt")["input_ids"]
    model = modeling.load(folder)
    found = np.asarray(modeling.logits(model.config, model.params, ids.numpy()))
    with torch.no_grad():
        wanted = oracle(ids).logits.numpy()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_a_job_goes_on_with_the_step_it_was_in_and_a_finished_one_moves_aside(job, tmp_path):
    folder = tmp_path / "main"
    shutil.copytree(job[0], folder, symlinks=True)
    for name in ("report", "samples", "corpus"):  # as if killed between a step's end and its mark
        (folder / ".done" / name).unlink()
    again = launch("main", RUN_DIR=str(folder))
    assert again.returncode == 0 and again.stdout.count("done before:") == 7, again.stdout + again.stderr
    other = launch("main", RUN_DIR=str(folder), BASE_STEPS="0")  # refused, but only after the finished run is safe
    assert other.returncode == 2 and "--eval_steps is 0" in other.stderr
    assert (tmp_path / "main.previous-1" / "report.html").is_file()


@pytest.mark.long
def test_finetune_is_the_same_job_on_ones_own_code(job, source_tree, tmp_path):
    """Paths are the caller's; flags are passed through; the model is the one that is named."""
    (tmp_path / "my code").mkdir()
    shutil.copytree(source_tree, tmp_path / "my code" / "project")
    (tmp_path / "base").symlink_to(job[0] / "base")
    words = ["finetune", "my code/project", "--model_name_or_path", "base", "--max_steps", "3", "--seed=7"]
    done = launch(*words, cwd=tmp_path, RUN_DIR="my job")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "my job"
    resolved = json.loads((folder / "tuned" / "run.json").read_text())
    assert resolved["max_steps"] == 3 and resolved["seed"] == 7
    assert json.loads((folder / "patched" / "tokenizer_patch.json").read_text())["source"] == str(tmp_path / "base")
    scores = json.loads((folder / "bits_per_byte.json").read_text())["results"]
    assert [Path(name).name for name in scores] == ["base", "patched", "tuned"]
    assert (folder / "report.html").is_file()
    dry = launch(*words, "--dry_run", cwd=tmp_path, RUN_DIR="my job")
    assert json.loads(dry.stdout)["max_steps"] == 3
    assert (folder / ".done" / "report").exists()  # nothing was started, moved or marked


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["finetune"], "wants a folder of code first"),
        (["finetune", "--seed=3"], "wants a folder of code first"),
        (["finetune", "/nowhere"], "no folder at /nowhere"),
        (["finetune", ".", "--learning_rat=3"], "did you mean --learning_rate?"),
        (["finetune", ".", "--output_dir=x"], "finetune sets --output_dir itself"),
        (["fine-tune"], "unknown command fine-tune"),
    ],
)
def test_the_launchers_mistakes_end_with_status_2(words, wanted):
    done = launch(*words)
    assert done.returncode == 2 and wanted in done.stderr


def test_help_lists_the_commands():
    said = launch("help").stdout
    assert "./run.sh finetune DIR" in said and "./run.sh test" in said and "set -euo" not in said


def test_bits_per_byte_refuses_a_context_that_the_models_lack(job):

    words = ["--models", job[0] / "base", "--data_dir", job[0] / "corpus", "--block_size", 300]
    done = command("-m", "evaluation", "bits_per_byte", *words)
    assert done.returncode == 2 and "the models have 256 positions" in done.stderr


def test_a_report_wants_a_run(tmp_path):

    done = command("-m", "training", "report", "--run_dir", tmp_path)
    assert done.returncode == 2 and "run.json cannot be read" in done.stderr


def test_the_shared_data_is_no_part_of_the_project():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {Path(line).name.removesuffix(".gz") for line in tracked.splitlines()}  # clippy_mtpb.jsonl is our own
    assert not names & {"HumanEval.jsonl", "mbpp.jsonl", "mtpb.jsonl", "merges.txt"}
