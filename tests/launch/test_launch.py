"""The launcher's recipes and the scripts of launch/: what they would do, and what becomes of what they start."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.recipes import APPS, STREAMING

GOLDEN = ROOT / "tests" / "golden" / "launch"
SCRIPTS = ["run.sh", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "launch").rglob("*.sh")), ".ci/run"]
HOST = "worker-0"
SLICE = {"TPU": "pod", "ZONE": "us-central2-b"}
BUCKET = {"CHECKPOINT_STORE": "gs://bucket/out", "DATA_DIR": "gs://bucket/my data"}


@pytest.fixture
def shell(tmp_path):
    """A shell command in the clone's folder, on a machine of a fixed name and home."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "hostname").write_text(f"#!/bin/sh\necho {HOST}\n")
    (bin_dir / "hostname").chmod(0o755)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess:
        clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        env = clean | {"PATH": f"{bin_dir}:{clean['PATH']}", "HOME": "/home/user", **environment}
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_takes_every_script(script):
    done = subprocess.run(["bash", "-n", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_shellcheck_finds_nothing():
    tool = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([tool, *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words", "environment"),
    [
        ("code_clippy_tpu", ["./run.sh", "code-clippy"], {"ACCELERATOR": "tpu", "JAX_NUM_PROCESSES": "4"} | BUCKET),
        ("apps_cpu", ["./run.sh", "apps", "--run_name", "a b", "--seed=7"], {"ACCELERATOR": "cpu"}),
        ("apps_knobs", ["./run.sh", "apps"],
         {"ACCELERATOR": "cuda", "DATA_DIR": "data", "SAVE_STEPS": "50", "SAVE_LIMIT": "3", "EPOCHS": "1", "BATCH": "4",
          "CHECKPOINT_STORE": "copies",
          "RUN_NAME": "mine", "EVAL_SAMPLES": "99", "MODEL": "launch", "LOG_DIR": "/var/log", "XLA_FLAGS": ""}),
        ("local_gpus", ["launch/local_gpus.sh"], {"GPUS": "0,1", "PUSH_TO_HUB": "true"}),
        ("slurm", ["bash", "launch/slurm.sh", "apps", "--seed", "7"], {"SLURM_LOCALID": "3"}),
        ("tpu_vm", ["launch/tpu_vm.sh", "code-clippy", "--run_name", "a b"],
         SLICE | BUCKET | {"PROJECT": "mine", "TPU_TYPE": "v5litepod-32", "SPOT": "1", "SECRETS": "secrets.env"}),
        ("tpu_vm_stop", ["launch/tpu_vm.sh", "stop"], SLICE),
        ("tpu_vm_codegen", ["launch/tpu_vm.sh", "codegen"],
         SLICE | {"SIZE": "350M", "STAGES": "mono", "DATA_NL": "/nl", "DATA_MULTI": "/multi", "DATA_MONO": "/mono"}),
        ("code_clippy_tiny", ["./run.sh", "code-clippy"], {"ACCELERATOR": "cpu", "SIZE": "tiny"}),
        ("apps_tiny", ["./run.sh", "apps"], {"ACCELERATOR": "cpu", "SIZE": "tiny"}),
        ("codeparrot_tiny", ["./run.sh", "codeparrot", "--seed=7"], {"ACCELERATOR": "cpu"}),
        ("codeparrot_small", ["./run.sh", "codeparrot"], {"ACCELERATOR": "cuda", "SIZE": "small"}),
        ("codeparrot_large", ["./run.sh", "codeparrot"],
         {"ACCELERATOR": "cuda", "SIZE": "large", "DATA_DIR": "/data", "REMAT": "dots", "CHECKPOINT_STORE": "gs://b/c"}),
        ("codegen_tiny", ["./run.sh", "codegen"], {"ACCELERATOR": "cpu"}),
        ("codegen_6B_continued", ["./run.sh", "codegen"],
         {"ACCELERATOR": "tpu", "SIZE": "6B", "STAGES": "mono", "MODEL": "Salesforce/codegen-6B-multi",
          "DATA_NL": "/d/nl", "DATA_MULTI": "/d/multi", "DATA_MONO": "/d/mono", "JAX_NUM_PROCESSES": "1"}),
        ("codex_s_tiny", ["./run.sh", "codex-s"], {"ACCELERATOR": "cpu"}),
        ("codex_s_125M", ["./run.sh", "codex-s", "--lora_rank", "8"],
         {"ACCELERATOR": "cuda", "SIZE": "125M", "DATA_DIR": "/data"}),
        ("codex_d_tiny", ["./run.sh", "codex-d"], {"ACCELERATOR": "cpu"}),
        ("codex_d_125M", ["./run.sh", "codex-d"],
         {"ACCELERATOR": "cuda", "SIZE": "125M", "PAIRS": "/pairs", "WRITER": "me/codex-s", "OUTPUT_DIR": "/out"}),
        ("gpt_j_tiny", ["./run.sh", "gpt-j"], {"ACCELERATOR": "cpu", "MESH": "fsdp=2,tensor=2"}),
        ("gpt_j_6B", ["bash", "launch/slurm.sh", "gpt-j"],
         {"SIZE": "6B", "DATA_DIR": "/data", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}),
    ],
)  # fmt: skip
def test_a_dry_run_prints_the_exact_commands(name, words, environment, shell):
    """What differs from the golden file is shown; a wanted difference is written there by hand."""
    done = shell(*words, DRY_RUN="1", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.replace(str(ROOT), "ROOT") == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize(("name", "reference", "more"), [
    ("code-clippy", STREAMING, {"--resume_from_checkpoint": "auto", "--remat": "none"}),
    ("apps", APPS, {"--resume_from_checkpoint": "auto", "--remat": "none", "--push_to_hub": "False"}),
])  # fmt: skip
def test_a_recipe_has_every_flag_of_the_reference_with_its_value(name, reference, more, shell):
    """The knobs' defaults: nothing but paths differs, and what resuming and pushing add."""

    def flags(command: str) -> dict[str, str]:
        found, last = {}, ""
        for word in shlex.split(command.replace("\\\n", " ")):
            if word.startswith("--"):
                last, _, value = word.partition("=")
                found[last] = value
            elif last:
                found[last] = word
        return found

    done = shell("./run.sh", name, DRY_RUN="1", ACCELERATOR="cpu")
    command = done.stdout[done.stdout.index("training/") :].split("\n# log")[0]
    mine, theirs = flags(command), flags(reference)
    assert mine.pop("--dataset_name") == theirs.pop("--dataset_name").replace("$HOME/gpt-code-clippy", str(ROOT))
    assert mine == {key: value.replace("$HOME", "/home/user") for key, value in theirs.items()} | more


def test_every_knob_of_the_recipes_goes_along_to_other_machines():
    import re

    paths = [ROOT / "launch" / "recipes.sh", *(ROOT / "launch" / "recipes").glob("*.sh")]
    recipes = "".join(path.read_text() for path in paths)
    listed = set(re.search(r"KNOBS=\((.*?)\)", recipes, re.S)[1].split())
    used = set(re.findall(r"\$\{([A-Z_]+):-", recipes)) | set(re.findall(r" ([A-Z_]+)=[\w./-]+(?= |$)", recipes, re.M))
    loops = " ".join(re.findall(r"for knob in ([A-Z_ \\\n]+);", recipes))
    used |= set(loops.replace("\\", "").split())
    assert listed == used - {"DRY_RUN", "RUN_DIR", "JAX_NUM_PROCESSES"}
    page = (ROOT / "docs" / "recipes.md").read_text()
    assert all(f"`{knob}`" in page for knob in listed)


RECIPES = ("code-clippy", "apps", "codeparrot", "codegen", "codex-s", "codex-d", "gpt-j")


@pytest.mark.parametrize("name", RECIPES)
def test_an_unknown_size_is_refused_with_the_sizes_that_there_are(name, shell):
    done = shell("./run.sh", name, DRY_RUN="1", SIZE="huge", ACCELERATOR="cpu")
    assert done.returncode == 2 and f"SIZE is huge; wanted of {name}: " in done.stderr and "tiny" in done.stderr


@pytest.mark.parametrize(("words", "environment", "wanted"), [
    (["gpt-j"], {"SIZE": "6B"}, "SIZE=6B without DATA_DIR"),
    (["codegen"], {"SIZE": "2B", "DATA_NL": "/d"}, "SIZE=2B without DATA_MULTI"),
    (["codegen"], {"STAGES": "nl java"}, "STAGES holds java"),
    (["codex-s"], {"SIZE": "125M"}, "SIZE=125M without DATA_DIR"),
    (["codeparrot"], {"OUTPUT_DIR": "gs://bucket/out"}, "OUTPUT_DIR is gs://bucket/out; wanted a folder"),
    (["codeparrot"], {"DATA_DIR": "hf://datasets/x"}, "DATA_DIR is hf://datasets/x; wanted a folder"),
    (["code-clippy"], {"SIZE": "tiny", "DATA_DIR": "/mine"}, "DATA_DIR is /mine, and SIZE=tiny makes its own"),
    (["apps"], {"SIZE": "tiny", "MODEL": "gpt2"}, "MODEL is gpt2, and SIZE=tiny makes its own"),
    (["codeparrot"], {"TOKENIZER": "gpt2"}, "TOKENIZER is gpt2, and codeparrot makes its own"),
    (["codegen"], {"DATA_MONO": "/mine"}, "DATA_MONO is /mine, and SIZE=tiny makes its own"),
    (["codegen", "--output_dir=/x"], {}, "codegen says --output_dir itself; OUTPUT_DIR=... is where it writes"),
    (["codex-s", "--data_dir", "/x"], {}, "DATA_DIR=... is what it reads"),
    (["codex-s", "--model-name-or-path", "x"], {}, "MODEL=... is what it starts from"),
    (["gpt-j", "--dry_run=True"], {}, "--dry_run=True: give --dry_run alone"),
    (["gpt-j", "--dry_run", "False"], {}, "--dry_run False: give --dry_run alone"),
])  # fmt: skip
def test_what_a_recipe_cannot_begin_with_is_refused(words, environment, wanted, shell):
    done = shell("./run.sh", *words, DRY_RUN="1", ACCELERATOR="cpu", **environment)
    assert done.returncode == 2 and wanted in done.stderr


def test_a_folder_of_the_main_job_is_none_of_a_recipes(shell):
    """RUN_DIR, which may still be exported from there, changes nothing."""
    said = [
        shell("./run.sh", "apps", DRY_RUN="1", ACCELERATOR="cpu", **more).stdout for more in ({}, {"RUN_DIR": "/x"})
    ]
    assert said[0] == said[1] and "--output_dir /home/user/gpt-neo-125M-apps" in said[0]


def test_what_a_user_names_is_looked_for_where_he_stands(tmp_path):
    (tmp_path / "my.json").write_text("{}")
    (tmp_path / "my_tokenizer").mkdir()
    environment = {**os.environ, "DRY_RUN": "1", "ACCELERATOR": "cpu", "CONFIG": "my.json", "TOKENIZER": "my_tokenizer"}
    done = subprocess.run(
        [ROOT / "run.sh", "gpt-j", "--lora_rank=4"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    words = shlex.split(done.stdout.replace("\\\n", " "), comments=True)
    assert words[words.index("--config_name") + 1] == words[words.index("describe") + 1] == str(tmp_path / "my.json")
    assert words[words.index("--tokenizer_name") + 1] == str(tmp_path / "my_tokenizer")
    assert words[words.index("--lora_rank") + 1] == "4", "the plan is of what is trained"


# The jobs of launch/jobs.sh with what run.sh gives them.
JOB = """set -euo pipefail
say() { echo "== $*"; }
die() { echo "error: $*" >&2; exit 2; }
. launch/platform.sh; . launch/jobs.sh
RUN_DIR=$1 RANK=$2
trap '[ $? = 0 ] || [ "$RANK" != 0 ] || touch "$RUN_DIR/.failed$ATTEMPT"' EXIT
mkdir -p "$RUN_DIR"; touch "$RUN_DIR/.started-$RANK"
"""


def test_a_step_is_taken_once_and_one_that_failed_again(shell, tmp_path):
    steps = JOB + 'alone a "first" touch "$RUN_DIR/a"\nalone b "second" cat "$RUN_DIR/needed"\nalone c "third" echo end'
    failed = shell("bash", "-c", steps, "-", str(tmp_path), "0")
    assert failed.returncode == 1 and "== first\n== second\n" in failed.stdout and "third" not in failed.stdout
    (tmp_path / "needed").write_text("there\n")
    assert shell("bash", "-c", steps, "-", str(tmp_path), "0").stdout == (
        "done before: first\n== second\nthere\n== third\nend\n"
    )


def test_others_wait_for_what_the_first_does_alone_and_train_beside_it(tmp_path):
    """And end where the first ends, which they would wait for in vain."""
    meet = 'meet() { touch "$RUN_DIR/$RANK"; until [ -e "$RUN_DIR/$((1 - RANK))" ]; do sleep 0.1; done; echo met; }\n'
    steps = JOB + meet + 'alone a "first" sleep 0.5\ntogether b "train" meet\nalone c "end" cat "$RUN_DIR/needed"'
    ranks = [
        subprocess.Popen(
            ["bash", "-c", steps, "-", str(tmp_path), rank], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "10"
    ]  # fmt: skip
    said = [process.communicate(timeout=30) for process in ranks]
    assert said[0] == ("met\n", "error: end: the first process failed; its output says how\n")
    assert said[1][0] == "== first\n== train\nmet\n== end\n"
    assert [process.returncode for process in ranks] == [2, 1]


def test_under_slurm_a_first_process_that_failed_before_the_others_began_ends_them(shell, tmp_path):
    """At this attempt, which has a number: one that failed at an earlier attempt is none of theirs."""
    steps = JOB + 'alone a "first" cat "$RUN_DIR/needed"'
    attempt = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
    assert shell("bash", "-c", steps, "-", str(tmp_path), "0", **attempt).returncode == 1
    time.sleep(0.01)
    other = shell("bash", "-c", steps, "-", str(tmp_path), "1", **attempt)
    assert other.returncode == 2 and "first: the first process failed" in other.stderr
    waits = steps.replace("alone a", "sleep() { echo waits; exit; }; alone a")
    assert (
        shell("bash", "-c", waits, "-", str(tmp_path), "1", **attempt | {"SLURM_RESTART_COUNT": "2"}).stdout
        == "waits\n"
    )


def test_a_step_gets_the_signal_that_the_launcher_alone_gets(tmp_path):
    """As a TPU VM's stop sends it: to the one process whose number is known."""
    (tmp_path / "step.py").write_text(STOPPING)
    steps = JOB + f'together train "train" {sys.executable} {tmp_path / "step.py"}\necho "not reached"'
    process = subprocess.Popen(
        ["bash", "-c", steps, "-", str(tmp_path / "run"), "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert [process.stdout.readline() for _ in range(2)] == ["== train\n", "started\n"]
    process.terminate()
    assert process.communicate(timeout=30)[0] == "saved\n" and process.returncode == 75
    assert not (tmp_path / "run" / ".done").exists()


def test_a_signal_ends_who_works_alone_and_who_waits_with_the_status_of_a_stopped_training(tmp_path):
    """So that Slurm queues the job again, whatever it was at."""
    steps = JOB + """sleep() { echo waits; command sleep "$1"; }; alone a "first" sh -c 'echo works; exec sleep 60'"""
    for rank, said in (("0", "works\n"), ("1", "waits\n")):
        process = subprocess.Popen(
            ["bash", "-c", steps, "-", str(tmp_path), rank], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while process.stdout.readline() != said:
            assert process.poll() is None
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 75
        (tmp_path / ".failed").unlink(missing_ok=True)


@pytest.mark.parametrize(("vendor", "device", "wanted"), [
    ("0x1ae0", "0x0063", "tpu"), ("0x1ae0", "0x0042", "cpu"), ("0x10de", "0x0063", "cpu"),
])  # fmt: skip
def test_a_tpu_is_known_by_its_chip_and_not_by_googles_network_card(vendor, device, wanted, shell, tmp_path):
    card = tmp_path / "pci" / "0000:00:04.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "device").write_text(f"{device}\n")
    look = f". launch/platform.sh; nvidia-smi() {{ return 1; }}; accelerator {tmp_path / 'pci'}"
    assert shell("bash", "-c", look).stdout.strip() == wanted


def test_a_gpu_is_known_by_its_driver_and_an_unknown_accelerator_is_refused(shell):
    look = ". launch/platform.sh; nvidia-smi() { true; }; accelerator /nowhere"
    assert shell("bash", "-c", look).stdout.strip() == "cuda"
    done = shell("./run.sh", "apps", DRY_RUN="1", ACCELERATOR="abacus")
    assert done.returncode == 2 and "ACCELERATOR is abacus; wanted tpu, cuda or cpu" in done.stderr


def test_a_slices_hosts_are_counted_by_its_metadata(shell, tmp_path):
    """Four hosts that did not know of each other would be four runs."""
    count = ". launch/platform.sh; curl() { echo a:0:10.0.0.1,b:1:10.0.0.2,c:2:10.0.0.3; }; platform tpu; env"
    assert "JAX_NUM_PROCESSES=3\n" in shell("bash", "-c", count).stdout
    alone = count.replace(",b:1:10.0.0.2,c:2:10.0.0.3", "")
    assert "JAX_NUM_PROCESSES" not in shell("bash", "-c", alone).stdout
    absent = ". launch/platform.sh; curl() { return 6; }; set -euo pipefail; platform tpu; env"
    assert "JAX_NUM_PROCESSES" not in shell("bash", "-c", absent).stdout


def test_a_slice_of_several_hosts_trains_and_one_host_scores(shell):
    """A scoring command on one host of a slice would wait for the others' chips for ever."""
    score = ". launch/platform.sh; . launch/recipes.sh; say() { echo $*; }; want_one_host; echo scores"
    assert "scores" not in shell("bash", "-c", score, ACCELERATOR="tpu", JAX_NUM_PROCESSES="4").stdout
    for environment in ({"ACCELERATOR": "tpu"}, {"ACCELERATOR": "cuda", "JAX_NUM_PROCESSES": "4"}):
        assert shell("bash", "-c", score, **environment).stdout == "scores\n"


def test_a_processs_number_comes_from_its_variables_slurm_or_the_slice(shell):
    number = ". launch/platform.sh; die() { echo $*; exit 2; }; curl() { echo 5; }; rank"
    assert shell("bash", "-c", number).stdout == "0\n"
    assert shell("bash", "-c", number, SLURM_PROCID="3").stdout == "3\n"
    assert shell("bash", "-c", number, JAX_NUM_PROCESSES="8").stdout == "5\n"
    lost = shell("bash", "-c", number.replace("echo 5", "return 6"), JAX_NUM_PROCESSES="8")
    assert lost.returncode == 2 and "set JAX_PROCESS_ID" in lost.stdout


def make_venv(folder: Path, clone: Path, program: str) -> Path:
    """An environment that run.sh takes for made, whose Python is `program`."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f"#!{sys.executable}\n{program}")
    (folder / "bin" / "python").chmod(0o755)
    with (clone / "setup.cfg").open() as file:
        size = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout.strip()
    (folder / "installed").write_text(f"{clone} {size}\ntpu\ncuda\n")
    return folder


STOPPING = """
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("started", *sys.argv[2:5], flush=True)
time.sleep(60)
"""


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
