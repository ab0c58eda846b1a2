"""The reference's two commands, typed into a shell as they were printed; only a folder and counts of steps differ.

Models and APPS come from the Hub by the names that the commands give them; no token of the environment is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

import modeling
from modeling.decoder import config_from_hf
from tests.conftest import ROOT, TINY
from tests.data_processing.apps_data import lines
from tests.hub_server import Repository, serve
from tests.training.recipes import APPS, STREAMING
from training.checkpoints import checkpoints_in
from training.metrics import read_metrics

SECRETS = {"HF_TOKEN": "hf_aVeryPrivateTokenOfNobody0123456789", "WANDB_API_KEY": "0123456789abcdef" * 2 + "feedbeef"}
SHORTER = {
    "--max_steps 100000": "--max_steps 2",
    "--warmup_steps 2500": "--warmup_steps 1",
    "--decay_steps 25000": "--decay_steps 3",
    '--logging_steps="100"': '--logging_steps="1"',
    '--eval_steps="500"': '--eval_steps="2"',
    '--save_steps="500"': '--save_steps="1"',
}
SHORTER_APPS = {
    '--warmup_steps="800"': '--warmup_steps="2"',
    '--logging_steps="50"': '--logging_steps="1"',
    '--eval_steps="2000"': '--eval_steps="4"',
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, tokenizer_dir):
    """A hub with a GPT-Neo of next to no size, but all 2048 positions, under both names, and some of APPS."""
    folder = tmp_path_factory.mktemp("model")
    sizes = {"num_layers": 1, "attention_types": [[["local"], 1]], "hidden_size": 8, "num_heads": 1, "window_size": 32}
    config = config_from_hf(TINY | sizes | {"max_position_embeddings": 2048, "intermediate_size": 8})
    model = modeling.Model(config, modeling.init_params(config, 3))
    modeling.save(folder, model, tokenizer_dir=tokenizer_dir, eos_token_id=0)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    apps = {"train.jsonl": lines(range(120)), "test.jsonl": lines(range(1000, 1007))}
    repositories = {
        "flax-community/gpt-neo-125M-code-clippy": Repository({"main": files}),
        "EleutherAI/gpt-neo-125M": Repository({"main": files}),
        "datasets/codeparrot/apps": Repository({"main": apps}),
    }
    with serve(repositories) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's home with a clone of the project under the reference's name."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "gpt-code-clippy").symlink_to(ROOT)
    return folder


@pytest.fixture(scope="module")
def code_clippy_data(tmp_path_factory, source_tree):
    """Shards of Code Clippy Data: their names, and the keys of their meta."""
    folder = tmp_path_factory.mktemp("shared") / "code_clippy_data"
    paths = sorted(source_tree.rglob("*.py"))
    for split, chosen in {"train": paths[:24], "validation": paths[24:27], "test": paths[27:30]}.items():
        for part in range(3):
            rows = [
                orjson.dumps({
                    "text": path.read_text(),
                    "meta": {"repo_name": f"someone/{path.parent.name}", "stars": "11", "repo_language": "Python",
                             "file_name": path.name, "mime_type": "text/x-python"},
                }) + b"\n"
                for path in chosen[part::3]
            ]  # fmt: skip
            shard = folder / split / f"data_{part}_time1626281870_default.jsonl.zst"
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.write_bytes(zstandard.compress(b"".join(rows)))
    return folder


def shell(line: str, home: Path, hub) -> str:
    """Type a command line into a shell in training/; return what it printed."""
    environment = {
        **os.environ, **hub.environment(home), **SECRETS, "HOME": str(home), "XLA_FLAGS": "", "WANDB_MODE": "offline",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT / "training", env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    return done.stdout


def shortened(line: str, changes: dict[str, str]) -> str:
    for printed, shorter in changes.items():
        assert line.count(printed) == 1
        line = line.replace(printed, shorter)
    return line


@pytest.fixture(scope="module")
def clippy(hub, home, code_clippy_data):
    line = shortened(STREAMING, SHORTER | {"/home/shared/code_clippy_data": str(code_clippy_data)})
    shell(line, home, hub)
    return home / "gpt-neo-125M-code-clippy"


@pytest.fixture(scope="module")
def apps(hub, home):
    shell(shortened(APPS, SHORTER_APPS), home, hub)
    return home / "gpt-neo-125M-apps"


def golden(name: str, home: Path) -> dict:
    """What the command resolves to as printed, in this home."""
    return json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text().replace("/home/user", str(home)))


def assert_usable_in_torch(folder: Path) -> None:
    """By the model cards' own lines."""
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("def add(a, b):\n", return_tensors="pt")["input_ids"]
    ours = modeling.load(folder)
    with torch.no_grad():
        wanted = model.float()(ids).logits.numpy()
    found = np.asarray(modeling.logits(ours.config, ours.params, ids.numpy()))
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    text = model.generate(
        ids, do_sample=True, max_length=50, num_beams=2, early_stopping=True, eos_token_id=tokenizer.eos_token_id
    )
    assert text.shape[1] <= 50


def test_the_streaming_command_runs_as_printed(clippy, home, code_clippy_data):
    resolved = json.loads((clippy / "run.json").read_text())
    counts = {"max_steps": 2, "warmup_steps": 1, "decay_steps": 3, "logging_steps": 1, "eval_steps": 2, "save_steps": 1}
    assert resolved == golden("streaming", home) | counts | {"data_dir": str(code_clippy_data)}
    assert [path.name for path in checkpoints_in(clippy)] == ["ckpt-1", "ckpt-2"]
    assert all((path / "train_state").is_dir() for path in checkpoints_in(clippy))
    rows = read_metrics(clippy)
    assert [row["tokens"] for row in rows if row["kind"] == "train"] == [128 * 2048, 2 * 128 * 2048]
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [1, 2]
    assert len(list((clippy / "wandb").glob("offline-run-*/*.wandb"))) == 1
    assert_usable_in_torch(clippy)


def test_the_apps_command_runs_as_printed_on_problems_from_the_hub(apps, home, hub):
    resolved = json.loads((apps / "run.json").read_text())
    assert resolved == golden("apps", home) | {"warmup_steps": 2, "logging_steps": 1, "eval_steps": 4}
    assert "train.jsonl" in hub.fetched() and "test.jsonl" not in hub.fetched()
    identities = (home / ".cache" / "code_clippy" / "tokens").glob("train-*/identity.json")
    (tokens,) = [path for path in identities if json.loads(path.read_text())["block_size"] == 1024]
    blocks = json.loads(tokens.with_name("complete.json").read_text())["blocks"]
    ends = [-(-epoch * blocks // 32) for epoch in range(1, 6)]
    assert [path.name for path in checkpoints_in(apps)] == [f"ckpt-{step}" for step in ends]
    rows = read_metrics(apps)
    assert [row["step"] for row in rows if row["kind"] == "eval"] == sorted({*ends, *range(4, ends[-1] + 1, 4)})
    assert len(list((apps / "wandb").glob("offline-run-*/*.wandb"))) == 1
    assert_usable_in_torch(apps)


def test_no_token_is_in_any_file_that_a_run_writes(clippy, apps, home):
    searched = [path for path in home.rglob("*") if path.is_file()]  # no link is followed
    assert len(searched) > 50
    assert any(b"125m_1e-4lr_1024bs" in path.read_bytes() for path in searched if path.suffix == ".wandb")
    for name, secret in SECRETS.items():
        found = [path for path in searched if secret.encode() in path.read_bytes()]
        assert not found, (name, found)
    state = json.loads((clippy / "ckpt-2" / "run_state.json").read_text())
    assert state["configuration"] == json.loads((clippy / "run.json").read_text())
