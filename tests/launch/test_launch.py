"""The launcher's recipes and the scripts of launch/: what they would do, and what they refuse."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.recipes import APPS, STREAMING

GOLDEN = ROOT / "tests" / "golden" / "launch"
SCRIPTS = ["run.sh", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "launch").rglob("*.sh")), ".ci/run"]
SLICE = {"TPU": "pod", "ZONE": "us-central2-b"}
BUCKET = {"CHECKPOINT_STORE": "gs://bucket/out", "DATA_DIR": "gs://bucket/my data"}


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
