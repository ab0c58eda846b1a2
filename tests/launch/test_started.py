"""What the launcher starts, here and on a TPU VM: its signals, its log, and where a recipe goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.launch.conftest import STOPPING, make_venv

SLICE = {"TPU": "pod", "ZONE": "us-central2-b"}


def test_what_is_started_gets_the_signal_and_its_last_words_and_status_come_through(tmp_path):
    """The launcher becomes the command, and the log outlives a signal to the whole group."""
    venv = make_venv(tmp_path / "venv", ROOT, STOPPING)
    environment = {**os.environ, "CODE_CLIPPY_VENV": str(venv), "LOG_DIR": str(tmp_path / "log"), "ACCELERATOR": "cpu"}
    process = subprocess.Popen(
        ["./run.sh", "apps"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 75
    (log,) = (tmp_path / "log").iterdir()
    assert log.name.startswith("log-") and log.read_text() == first + rest == first + "saved\n"
    assert first.startswith("started training/run_clm_apps.py --output_dir ")


STEP = """
import os, pathlib, sys
words = sys.argv[1:]
if words[:2] == ["-m", "training"] and "--wrong" in words:
    sys.exit(2)
if words[0] == "-u":  # a training, which ends as FAIL says
    words = words[1:]
    if os.environ.get("FAIL"):
        sys.exit(int(os.environ["FAIL"]))
if "practice" in words and not os.environ.get("EMPTY"):
    folder = pathlib.Path(words[words.index("--output_dir") + 1])
    folder.mkdir()
    (folder / "problems.jsonl").write_text("{}\\n")
print("ran", " ".join(words[:3]).replace(os.environ["FOLDER"] + "/", ""))
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe whose every command only says that it ran; its steps are the launcher's own."""
    venv = make_venv(tmp_path / "venv", ROOT, STEP)

    def run(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
        clean = {key: value for key, value in os.environ.items() if key not in ("MODEL", "SIZE")}
        env = clean | {
            "CODE_CLIPPY_VENV": str(venv), "LOG_DIR": str(tmp_path / "log"), "OUTPUT_DIR": str(tmp_path / name),
            "ACCELERATOR": "cpu", "FOLDER": str(tmp_path), **environment,
        }  # fmt: skip
        return subprocess.run(
            ["./run.sh", name, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def steps_of(said: str) -> list[str]:
    return [line.removeprefix("ran ") for line in said.splitlines() if line.startswith("ran ")]


def test_a_recipe_goes_on_with_the_step_that_it_was_in(recipe, tmp_path):
    first = recipe("codeparrot", FAIL="75")
    assert first.returncode == 75
    assert steps_of(first.stdout) == ["-m data_processing corpus", "-m tokenizer_patch train"]
    second = recipe("codeparrot")
    assert second.returncode == 0, second.stderr
    assert steps_of(second.stdout) == [
        "training/run_clm_streaming_flax.py --output_dir codeparrot/model",
        "-m evaluation bits_per_byte", "-m evaluation run", "-m training report",
    ]  # fmt: skip
    assert f"Everything lies in {tmp_path}/codeparrot" in second.stdout
    (log,) = (tmp_path / "log").iterdir()
    assert log.read_text() == first.stdout + second.stdout
    third = recipe("codeparrot")
    assert not steps_of(third.stdout) and third.stdout.count("done before: ") == 6


def test_a_dry_run_of_the_training_ends_the_recipe_there_and_the_recipe_itself_still_goes_on(recipe):
    dry = recipe("codeparrot", "--seed=3", "--dry_run")
    (last,) = steps_of(dry.stdout)[2:]
    assert dry.returncode == 0 and last == "training/run_clm_streaming_flax.py --output_dir codeparrot/model"
    assert len(steps_of(recipe("codeparrot", "--seed=3").stdout)) == 4


def test_a_recipe_does_not_go_on_with_what_others_values_made_and_starts_with_no_wrong_flag(recipe, tmp_path):
    refused = recipe("codex-s", "--wrong", "3")
    assert refused.returncode == 2 and not (tmp_path / "codex-s").exists()
    assert recipe("codex-s", FAIL="1").returncode == 1
    for environment in ({"EPOCHS": "7"}, {"PAIRS": "/pairs"}):
        other = recipe("codex-s", **environment)
        assert other.returncode == 2 and "wanted the same, or another OUTPUT_DIR" in other.stderr + other.stdout
    assert recipe("codex-s", BATCH="3").returncode == 0  # the same training on another machine


def test_scores_are_not_passed_off_as_those_of_other_knobs(recipe, tmp_path):
    assert recipe("codex-s").returncode == 0
    other = recipe("codex-s", SAMPLES="7")
    assert other.returncode == 2 and "SAMPLES=1 " in other.stdout and "SAMPLES=7 " in other.stdout
    (tmp_path / "codex-s" / ".done" / "scores").unlink()
    assert steps_of(recipe("codex-s", SAMPLES="7").stdout) == ["-m evaluation run"]


def test_a_training_that_nothing_could_score_is_not_begun(recipe):
    refused = recipe("codex-s", EMPTY="1")
    assert refused.returncode == 2 and "no problems in" in refused.stdout
    assert not any("run_clm_apps.py" in step for step in steps_of(refused.stdout))


GCLOUD = """
import os, pathlib, shutil, subprocess, sys
words = sys.argv[4:]
home = pathlib.Path(os.environ["REMOTE"])
if words[0] == "scp":
    shutil.copy(words[1], home / words[2].split(":")[1])
else:
    sys.exit(subprocess.run(["bash", "-c", words[words.index("--command") + 1]], cwd=home).returncode)
"""


def test_a_tpu_vm_gets_the_clone_starts_the_recipe_and_stops_it(tmp_path):
    """With a gcloud whose one host is a folder here: what is sent there is what runs."""
    remote, clone = tmp_path / "remote", tmp_path / "remote" / "code_clippy"
    clone.mkdir(parents=True)
    (clone / "setup.cfg").write_bytes((ROOT / "setup.cfg").read_bytes())
    venv = make_venv(tmp_path / "venv", clone, STOPPING.replace("sys.argv[2:5]", "sys.argv[2:], os.environ['KEY']"
        ).replace("import signal", "import os, signal"))  # fmt: skip
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(f"#!{sys.executable}\n{GCLOUD}")
    gcloud.chmod(0o755)
    secrets = tmp_path / "secrets"
    secrets.write_text("KEY='not to be seen'\n")
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "REMOTE": str(remote), "CODE_CLIPPY_VENV": str(venv),
        "ACCELERATOR": "tpu", "JAX_NUM_PROCESSES": "1", "OUTPUT_DIR": "/an output", "SECRETS": str(secrets), **SLICE,
    }  # fmt: skip

    def launch(*words: str) -> str:
        done = subprocess.run(
            ["launch/tpu_vm.sh", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def wait_for(words: str) -> str:
        for _ in range(600):
            said = (clone / "run.log").read_text() if (clone / "run.log").exists() else ""
            if words in said:
                return said
            time.sleep(0.05)
        raise AssertionError(said)

    said = launch("apps", "--run_name", "a 'quoted' name")
    assert "not to be seen" not in said and "launch/tpu_vm.sh log" in said
    started = wait_for("not to be seen\n")  # the end of its line
    assert "--output_dir /an output" in started and "--run_name a 'quoted' name not to be seen" in started
    launch("stop")
    wait_for("saved")
    assert (clone / ".secrets").stat().st_mode & 0o777 == 0o600
    assert (clone / "logs" / "apps").is_dir()


def test_a_tpu_vm_without_a_name_is_refused(shell):
    done = shell("launch/tpu_vm.sh", "apps", ZONE="z")
    assert done.returncode == 2 and "no TPU or ZONE" in done.stderr
