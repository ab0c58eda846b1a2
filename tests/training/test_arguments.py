"""The reference's command lines, as printed, and what they resolve to."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from interface.flags import parse
from tests.conftest import ROOT, command
from training.arguments import AppsArguments, BadArguments, StreamingArguments

# recipes of gpt-code-clippy's README, word for word
STREAMING = """./run_clm_streaming_flax.py \
    --output_dir $HOME/gpt-neo-125M-code-clippy \
    --model_name_or_path="flax-community/gpt-neo-125M-code-clippy" \
    --dataset_name $HOME/gpt-code-clippy/data_processing/code_clippy.py \
    --data_dir /home/shared/code_clippy_data \
    --text_column_name="text" \
    --do_train --do_eval \
    --block_size="2048" \
    --per_device_train_batch_size="8" \
    --per_device_eval_batch_size="16" \
    --preprocessing_num_workers="8" \
    --learning_rate="1e-4" \
    --max_steps 100000 \
    --warmup_steps 2500 \
    --decay_steps 25000 \
    --adam_beta1="0.9" \
    --adam_beta2="0.95" \
    --weight_decay="0.1" \
    --overwrite_output_dir \
    --logging_steps="100" \
    --eval_steps="500" \
    --push_to_hub="False" \
    --report_to="all" \
    --dtype="bfloat16" \
    --skip_memory_metrics="True" \
    --save_steps="500" \
    --save_total_limit 10 \
    --gradient_accumulation_steps 16 \
    --report_to="wandb" \
    --run_name="125m_1e-4lr_1024bs" \
    --max_eval_samples 2000 \
    --save_optimizer true"""

APPS = """python run_clm_apps.py \
    --output_dir $HOME/gpt-neo-125M-apps \
    --model_name_or_path EleutherAI/gpt-neo-125M \
    --dataset_name $HOME/gpt-code-clippy/data_processing/apps.py \
    --dataset_config_name formatted \
    --do_train --do_eval \
    --block_size="1024" \
    --per_device_train_batch_size="16" \
    --per_device_eval_batch_size="16" \
    --preprocessing_num_workers="16" \
    --learning_rate="8e-5" \
    --warmup_steps="800" \
    --adam_beta1="0.9" \
    --adam_beta2="0.98" \
    --weight_decay="0.1" \
    --overwrite_output_dir \
    --num_train_epochs="5" \
    --logging_steps="50" \
    --eval_steps="2000" \
    --report_to="wandb" \
    --dtype="bfloat16" \
    --save_strategy epoch \
    --gradient_accumulation_steps 2"""


@pytest.mark.parametrize(("name", "line"), [("streaming", STREAMING), ("apps", APPS)])
def test_the_reference_command_resolves_to_its_golden_file(name, line):
    """Typed into a shell in training/, as a user would, with --dry_run added."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{line} --dry_run"], cwd=ROOT / "training",
        env={**os.environ, "HOME": "/home/user", "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    golden = json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text())
    assert json.loads(done.stdout) == golden


@pytest.mark.parametrize("line", [STREAMING, APPS])
def test_every_flag_of_the_reference_is_in_the_table_of_flags(line):
    table = (ROOT / "docs" / "flags.md").read_text()
    for flag in re.findall(r"--(\w+)", line):
        assert f"`--{flag}`" in table, flag


def test_the_table_of_flags_names_every_flag_with_its_default():
    table = (ROOT / "docs" / "flags.md").read_text()
    for arguments in (StreamingArguments, AppsArguments):
        for field in dataclasses.fields(arguments):
            default = "required" if field.default is dataclasses.MISSING else field.default
            assert f"| `--{field.name}` | {default} |" in table, field.name


def test_help_is_grouped_and_imports_nothing_slow():
    """It answers in under two seconds because neither jax nor datasets is imported to print it."""
    done = command("-X", "importtime", "training/run_clm_streaming_flax.py", "--help")
    assert "optimization:" in done.stdout and "--gradient_accumulation_steps" in done.stdout
    assert not re.search(r"\| +(jax|flax|datasets|wandb|torch|orbax)$", done.stderr, re.M)
    assert re.search(r"\| +transformers$", done.stderr, re.M)  # the pattern finds what is imported


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"block_size": 0}, "--block_size is 0"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps is 0"),
        ({"learning_rate": 0.0}, "--learning_rate is 0.0"),
        ({"max_steps": -1}, "--max_steps is -1"),
        ({"decay_steps": 0}, "--decay_steps is 0"),
        ({"report_to": "wandb,mlflow"}, "names 'mlflow'"),
        ({"learning_rate": float("nan")}, "--learning_rate is nan"),
        ({"warmup_steps": -5}, "--warmup_steps is -5"),
        ({"seed": -1}, "--seed is -1"),
        ({"adam_beta2": 7.0}, "--adam_beta2 is 7.0"),
        ({"weight_decay": -0.1}, "--weight_decay is -0.1"),
        ({"max_grad_norm": float("inf")}, "--max_grad_norm is inf"),
        ({"warmup_ratio": 1.5}, "--warmup_ratio is 1.5"),
        ({"max_skipped_steps": -1}, "--max_skipped_steps is -1"),
        ({"peak_tflops": 0.0}, "--peak_tflops is 0.0"),
        ({"profile_steps": "7"}, "--profile_steps is '7'; wanted A:B"),
        ({"profile_steps": "0:3"}, "--profile_steps is '0:3'; wanted A:B"),
        ({"decay_steps": 5, "lr_scheduler_type": "linear"}, "--decay_steps is the cosine's"),
        ({"model_name_or_path": None}, "no model, or two"),
        ({"config_name": "c.json", "tokenizer_name": "t"}, "no model, or two"),
        ({"model_name_or_path": None, "config_name": "c.json"}, "name its tokenizer with --tokenizer_name"),
    ],
)
def test_nonsense_is_refused(changes, wanted):
    with pytest.raises(BadArguments, match=wanted):
        StreamingArguments(**{"output_dir": "o", "model_name_or_path": "m"} | changes)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("none", ()),
        ("all", ("tensorboard", "wandb")),
        ("wandb", ("wandb",)),
        ("wandb,tensorboard", ("tensorboard", "wandb")),
    ],
)
def test_report_to_names_trackers(said, meant):
    assert StreamingArguments(output_dir="o", model_name_or_path="m", report_to=said).trackers() == meant


def test_decay_lasts_to_the_end_of_the_run_where_it_is_not_given():
    resolved = StreamingArguments(output_dir="a/b", model_name_or_path="m", max_steps=100, warmup_steps=30).resolved()
    assert resolved["decay_steps"] == 70 and resolved["run_name"] == "b" and resolved["eval_steps"] == 500


def test_warmup_may_be_a_share_of_the_run():
    wish = {"output_dir": "o", "model_name_or_path": "m", "max_steps": 99, "warmup_ratio": 0.1}
    resolved = StreamingArguments(**wish).resolved()
    assert resolved["warmup_steps"] == 10 and resolved["decay_steps"] == 89
    assert StreamingArguments(**wish, warmup_steps=7).resolved()["warmup_steps"] == 7


def test_the_references_bare_flag_names_the_optimizer():
    given = ["--output_dir", "o", "--model_name_or_path", "m", "--adafactor"]
    assert parse(AppsArguments, given, prog="p", description="d").optim == "adafactor"
