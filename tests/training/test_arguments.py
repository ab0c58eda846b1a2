"""The reference's command lines, as printed, and what they resolve to."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from typing import get_args

import pytest

from interface.choices import ModelType
from interface.flags import parse
from modeling.decoder import FAMILIES
from tests.conftest import ROOT, succeed
from tests.training.recipes import APPS, STREAMING
from training.apps_arguments import AppsArguments
from training.arguments import BadArguments
from training.streaming_arguments import StreamingArguments


@pytest.fixture
def at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/user")


def typed(line: str) -> list[str]:
    """The words of a command line, as a shell reads it."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize(("name", "line"), [("streaming", STREAMING), ("apps", APPS)])
def test_the_reference_command_resolves_to_its_golden_file(at_home, name, line):
    kind, words = {"streaming": (StreamingArguments, typed(line)[1:]), "apps": (AppsArguments, typed(line)[2:])}[name]
    golden = json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text())
    assert parse(kind, words, prog="x", description="").resolved() == golden


@pytest.mark.parametrize(
    "words",
    [
        typed(STREAMING)[1:], ["--output_dir=o", "--model_name_or_path=m", "--report_to=all", "--warmup_ratio=0.1"],
        ["--output_dir=o", "--model_type=gpt2", "--tokenizer_name=t", "--lr_scheduler_type=linear", "--adafactor"],
    ],
)  # fmt: skip
def test_a_runs_own_configuration_is_a_file_of_flags(words, tmp_path):
    """run.json, given as the one argument, is the same command again, also to a resume; flags after it win."""
    arguments = parse(StreamingArguments, words, prog="x", description="")
    file = tmp_path / "run.json"
    file.write_text(json.dumps(arguments.resolved()))
    again = parse(StreamingArguments, [str(file)], prog="x", description="")
    assert again.resolved() == arguments.resolved() and again.schedule() == arguments.schedule()
    other = parse(StreamingArguments, [str(file), "--seed=7"], prog="x", description="")
    assert other.resolved() == arguments.resolved() | {"seed": 7}


def test_what_is_resolved_is_every_flag_and_nothing_else():
    """Not one that holds a secret."""
    for kind in (StreamingArguments, AppsArguments):
        fields = {field.name for field in dataclasses.fields(kind) if not field.metadata.get("secret")}
        assert kind(output_dir="o", model_name_or_path="m").resolved().keys() == fields


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


COMMANDS = """
import re, runpy, sys
for words in ("training/run_clm_streaming_flax.py --help", "training/run_clm_apps.py --help", "training report --help",
              "modeling describe --help", "modeling convert --help", "tokenizer_patch --help", "generation --help",
              "tokenizer_patch train --help", "data_processing tokenize --help", "data_processing corpus --help",
              "evaluation bits_per_byte --help"):
    name, *sys.argv[1:] = words.split()
    sys.argv[0] = name
    try:
        if name.endswith(".py"):
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert end.code == 0, words
    slow = {"jax", "flax", "datasets", "wandb", "torch", "orbax", "optax"} & sys.modules.keys()
    assert not slow, (words, slow)
assert "transformers" in sys.modules
"""


def test_help_of_every_command_imports_nothing_slow():
    """It answers in under two seconds because neither jax nor datasets is imported to print it."""
    said = succeed("-c", COMMANDS)
    streaming = said[: said.index("run_clm_apps.py")]
    groups = re.findall(r"^(\w+):$", streaming, re.M)
    assert sorted(groups) == sorted({"run", "model", "data", "optimization", "output", "hub", "options"})
    assert "--gradient_accumulation_steps" in streaming[streaming.index("optimization:") :]


def test_choices_are_those_of_the_rooms_below():
    assert set(get_args(ModelType)) == set(FAMILIES)


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
        ({"mesh": "fsdp=2"}, "--mesh fsdp=2 is given with --placement pmap; give --placement mesh"),
        ({"model_name_or_path": None}, "no model, or two"),
        ({"config_name": "c.json", "tokenizer_name": "t"}, "no model, or two"),
        ({"model_name_or_path": None, "config_name": "c.json"}, "name one with --tokenizer_name"),
        ({"model_name_or_path": None, "model_type": "gpt2"}, "name one with --tokenizer_name"),
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
