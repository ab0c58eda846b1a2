"""Pushes of a run to the Hub, through the real client and a server that speaks its protocol."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from interface.errors import STOPPED, UNPUSHED, NotPushed
from interface.push import PushRefused
from tests.conftest import ROOT, command, succeed
from tests.hub_server import READ_TOKEN, TOKEN, Fault, Repository, serve
from training.arguments import BadArguments
from training.checkpoints import checkpoints_in
from training.hub_push import HubPush
from training.preparation import prepare
from training.streaming_arguments import StreamingArguments

SCRIPT = "training/run_clm_streaming_flax.py"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serve({}) as hub:
        hub.adopt(monkeypatch, tmp_path, TOKEN)
        yield hub


@pytest.fixture
def run_dir(tmp_path):
    """A run's folder after its end, with three checkpoints."""
    folder = tmp_path / "out"
    for step in (5, 10, 15):
        state = folder / f"ckpt-{step}" / "train_state" / "d"
        state.mkdir(parents=True)
        (state / f"{step}").write_bytes(b"moments" * step)
        for name in ("config.json", "model.safetensors", "tokenizer.json", "run_state.json"):
            (folder / f"ckpt-{step}" / name).write_bytes(f"{name} of {step}".encode())
    for name in ("config.json", "model.safetensors", "README.md", "metrics.jsonl", "run.json", "thesis.tex"):
        (folder / name).write_bytes(f"{name} at the end".encode())
    return folder


def opened(run_dir: Path, strategy: str = "every_save", with_optimizer: bool = False) -> HubPush:
    return HubPush(run_dir, "run", strategy, with_optimizer, False)


def tree(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


MODEL = ("config.json", "model.safetensors")
WHOLE = (*MODEL, "tokenizer.json", "run_state.json")


@pytest.mark.parametrize(
    ("strategy", "with_optimizer", "folders"),
    [
        ("end", False, {}),
        ("every_save", False, {}),
        ("checkpoint", False, {"last-checkpoint": 15}),
        ("checkpoint", True, {"last-checkpoint": 15}),
        ("all_checkpoints", True, {"ckpt-5": 5, "ckpt-10": 10, "ckpt-15": 15}),
    ],
)
def test_each_strategy_pushes_what_it_says_and_nothing_else(hub, run_dir, strategy, with_optimizer, folders):
    with opened(run_dir, strategy, with_optimizer) as pushes:
        for checkpoint in checkpoints_in(run_dir)[1:]:
            pushes.saved(checkpoint)
            if pushes._thread:
                pushes._thread.join()
        pushes.finish()
    wanted = tree(run_dir, *MODEL, "README.md", "metrics.jsonl")
    if strategy != "end":
        wanted |= {"tokenizer.json": b"tokenizer.json of 15"}  # the fake model at the end has none of its own
    for folder, step in folders.items():
        names = (*WHOLE, f"train_state/d/{step}") if with_optimizer else WHOLE
        wanted |= {f"{folder}/{name}": data for name, data in tree(run_dir / f"ckpt-{step}", *names).items()}
    assert hub.repositories["me/run"].refs["main"] == wanted
    messages = [message for _, _, message in hub.commits]
    assert messages == (["the model"] if strategy == "end" else ["ckpt-10", "ckpt-15", "the model"])
    assert not list(run_dir.glob(".push*"))


def test_the_newest_wins_and_rotation_may_delete_what_is_being_pushed(hub, run_dir, monkeypatch, capsys):
    """Also where the file system has no hard links."""

    def no_links(*_: object) -> None:
        raise OSError("links are not known here")

    monkeypatch.setattr(os, "link", no_links)
    hub.faults = [Fault("PUT /large", seconds=2)]
    weights = (run_dir / "ckpt-5" / "model.safetensors").read_bytes()
    with opened(run_dir) as pushes:
        for checkpoint in checkpoints_in(run_dir):
            pushes.saved(checkpoint)
            shutil.rmtree(checkpoint)
        pushes.finish()
    assert [message for _, _, message in hub.commits] == ["ckpt-5", "the model"]
    assert weights in hub.large.values()
    said = capsys.readouterr().out
    assert "ckpt-10 is not pushed: ckpt-15 is newer" in said and "ckpt-15 is not pushed: the model is newer" in said


def test_a_push_that_fails_costs_the_run_nothing_and_the_next_makes_up_for_it(hub, run_dir, capsys):
    hub.faults = [Fault("POST .*/commit/", status=403)]
    with opened(run_dir, "all_checkpoints") as pushes:
        pushes.saved(run_dir / "ckpt-5")
        pushes._thread.join()
        with pytest.MonkeyPatch.context() as full:
            full.setattr("training.hub_push.mkdtemp", Mock(side_effect=OSError("no space left")))
            pushes.saved(run_dir / "ckpt-10")
        pushes.finish()
    said = capsys.readouterr().out
    assert "ckpt-5 was not pushed to" in said and "403" in said
    assert "ckpt-10 is not pushed to" in said and "no space left" in said
    assert "ckpt-5/model.safetensors" in hub.repositories["me/run"].refs["main"]


def test_a_push_for_which_there_is_no_process_is_one_that_failed(hub, run_dir, monkeypatch):
    monkeypatch.setattr("training.hub_push.start_process", Mock(side_effect=OSError("no more processes")))
    with opened(run_dir, "end") as pushes, pytest.raises(NotPushed, match="no more processes"):
        pushes.finish()


def test_a_run_that_ends_waits_for_no_push_and_names_the_command_that_makes_up_for_it(
    hub, run_dir, capsys, monkeypatch
):
    monkeypatch.setattr("training.hub_push.GRACE_SECONDS", 3.0)
    hub.faults = [Fault("POST .*/preupload/", seconds=60)]
    with opened(run_dir) as pushes:
        pushes.saved(run_dir / "ckpt-5")
        pushes.saved(run_dir / "ckpt-10")
        assert (run_dir / "ckpt-10" / "model.safetensors").stat().st_nlink == 2  # it takes no room
        assert (run_dir / "metrics.jsonl").stat().st_nlink == 1  # rows are appended to it meanwhile
    said = capsys.readouterr().out
    assert not pushes._process.is_alive() and not pushes._thread.is_alive()
    for name in ("ckpt-5", "ckpt-10"):
        assert f"{name} was not pushed to {hub.url}/me/run; this does it: " in said
        assert f"-m training push --run_dir {run_dir} --checkpoint {name}\n" in said
    assert not hub.commits and not list(run_dir.glob(".push*"))


def test_a_checkpoint_that_is_not_there_is_refused_by_name(hub, run_dir):
    with pytest.raises(PushRefused, match=r"holds no model; wanted one .*\(ckpt-5, ckpt-10, ckpt-15\)"):
        opened(run_dir).now("ckpt-7")


# --- whole runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flags(model_dir, corpus, tmp_path_factory):
    return [
        "--model_name_or_path", model_dir, "--data_dir", corpus, "--do_train", "--block_size=32",
        "--per_device_train_batch_size=3", "--preprocessing_num_workers=1", "--warmup_steps=3", "--decay_steps=40",
        "--save_steps=4", "--save_total_limit=1", "--logging_steps=2", "--run_name=tuned",
        "--token_cache_dir", tmp_path_factory.mktemp("cache"), "--push_to_hub=true", "--hub_strategy=checkpoint",
        "--hub_push_optimizer", "--hub_private_repo",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pushed(flags, tmp_path_factory):
    """A run whose every push meets trouble; the server goes on for those who read from it."""
    folder = tmp_path_factory.mktemp("pushed")
    with serve({}) as hub:
        hub.faults = [
            Fault("POST /api/repos/create", status=503),
            Fault("PUT /large/", times=2, drop="upload"),
            Fault("POST .*/commit/", times=2, status=503),
            Fault("POST .*/commit/", status=429, retry_after=1),
            Fault("POST .*/preupload/", seconds=1),
        ]
        said = succeed(
            SCRIPT, *flags, "--output_dir", folder / "out", "--max_steps=8", **hub.environment(folder, TOKEN)
        )
        assert not any(fault.times for fault in hub.faults)
        yield hub, folder / "out", said


def test_a_run_pushes_its_checkpoint_and_its_model_through_all_trouble(pushed):
    hub, out, said = pushed
    repository = hub.repositories["me/tuned"]
    assert repository.private and f"pushed the model to {hub.url}/me/tuned/commit/" in said
    assert "trying again in" in said
    last = {
        f"last-checkpoint/{path.relative_to(out / 'ckpt-8')}": path.read_bytes()
        for path in (out / "ckpt-8").rglob("*") if path.is_file()
    }  # fmt: skip
    assert any("train_state/" in name for name in last)
    there = repository.refs["main"]
    assert {name: data for name, data in there.items() if name.startswith("last-checkpoint/")} == last
    root = {name: data for name, data in there.items() if "/" not in name}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= root.keys()
    assert {"README.md", "report.html", "figure-loss.png", "metrics.jsonl"} <= root.keys()
    assert root == {name: (out / name).read_bytes() for name in root}
    assert not root.keys() & {"run.json", "written.json", "tokenize-train.log"}
    held = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert TOKEN.encode() not in held + b"".join(there.values()) + said.encode()


def test_what_was_pushed_loads_in_torch_from_the_repositorys_id(pushed, tmp_path):
    pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    hub, out, _ = pushed
    script = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
ids = [AutoTokenizer.from_pretrained(name)("def f(x):", return_tensors="pt")["input_ids"] for name in sys.argv[1:]]
logits = [AutoModelForCausalLM.from_pretrained(name)(ids[0]).logits for name in sys.argv[1:]]
print(torch.equal(ids[0], ids[1]) and torch.equal(logits[0], logits[1]))
"""
    assert succeed("-c", script, "me/tuned", out, **hub.environment(tmp_path, READ_TOKEN)).strip() == "True"


def test_a_run_goes_on_from_the_hub_to_the_same_repository_and_a_last_push_that_fails_is_told(pushed, flags, tmp_path):
    """Status 69, where the model is, and a command that makes up for it as it is printed."""
    hub, _, _ = pushed
    environment = hub.environment(tmp_path, TOKEN)
    for name, data in hub.repositories["me/tuned"].refs["main"].items():
        (tmp_path / "fetched" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fetched" / name).write_bytes(data)
    out = tmp_path / "out"
    hub.faults = [Fault("POST .*/commit/", times=10**9, status=403)]
    done = command(
        SCRIPT, *flags, "--output_dir", out, "--max_steps=10", "--hub_strategy=end", "--hub_push_optimizer=false",
        "--resume_from_checkpoint", tmp_path / "fetched" / "last-checkpoint", **environment,
    )  # fmt: skip
    assert done.returncode == UNPUSHED, done.stdout + done.stderr
    assert "resume at step 8" in done.stdout and "Traceback" not in done.stderr
    told = re.fullmatch(
        r"error: the run is done and its model is whole in (.*), but it was not pushed to (\S+): .*403.*\n"
        r"This does it: (.*)",
        done.stderr.strip()[done.stderr.index("error: ") :],
    )
    assert told and told[1] == str(out) and told[2] == f"{hub.url}/me/tuned"
    hub.faults = []
    again = subprocess.run(
        told[3], shell=True, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0 and f"pushed to {hub.url}/me/tuned/commit/" in again.stdout, again.stderr
    weights = hub.repositories["me/tuned"].refs["main"]["model.safetensors"]
    assert weights == (out / "model.safetensors").read_bytes()


@pytest.mark.long
def test_a_stopped_run_does_not_wait_for_the_hub(flags, tmp_path):
    """SIGTERM while a push hangs: the checkpoint is saved, the run ends, and what it says to do works."""
    with serve({}) as hub:
        hub.faults = [Fault("PUT /large/", times=10**9, seconds=300)]
        words = [sys.executable, SCRIPT, *map(str, flags), "--output_dir", str(tmp_path / "out"), "--max_steps=100000"]
        environment = {**os.environ, "XLA_FLAGS": "", **hub.environment(tmp_path, TOKEN)}
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if line.startswith("step ") and any(path.startswith("/large/") for _, path in hub.requests):
                process.send_signal(signal.SIGTERM)
                break
        said, wrong = process.communicate(timeout=60)
        assert process.returncode == STOPPED and "Traceback" not in wrong, wrong
        (saved,) = checkpoints_in(tmp_path / "out")
        told = re.search(rf"{saved.name} was not pushed to {hub.url}/me/tuned; this does it: (.*)", said)
        assert told and not hub.commits
        hub.faults = []
        done = subprocess.run(shlex.split(told[1]), cwd=ROOT, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        pushed = hub.repositories["me/tuned"].refs["main"]
        assert pushed["last-checkpoint/model.safetensors"] == (saved / "model.safetensors").read_bytes()


@pytest.mark.long
def test_of_several_processes_one_pushes_and_the_others_end_as_it_does(flags, start_ranks, tmp_path):
    with serve({}) as hub:
        words = [SCRIPT, *flags, "--output_dir", tmp_path / "out", "--max_steps=8"]
        environment = hub.environment(tmp_path, TOKEN)
        refused = start_ranks(tmp_path / "refused", 2, *words, devices=2, **environment | {"HF_TOKEN": "hf_wrong"})
        assert refused.ends() == [2, 2] and not (tmp_path / "out" / "run.json").exists()
        hub.faults = [Fault("POST .*/commit/", times=10**9, status=403)]
        failing = start_ranks(tmp_path / "failing", 2, *words, devices=2, **environment)
        assert failing.ends() == [UNPUSHED, UNPUSHED] and "its model is whole in" in failing.told(0)
        hub.faults, hub.requests[:] = [], []
        again = start_ranks(tmp_path / "again", 2, *words, "--resume_from_checkpoint=auto", devices=2, **environment)
        again.succeed()
        assert hub.requests.count(("POST", "/api/repos/create")) == 1
        there = {path.relative_to(tmp_path / "out" / "ckpt-8") for path in (tmp_path / "out" / "ckpt-8").rglob("*.*")}
        pushed = {name.removeprefix("last-checkpoint/") for name in hub.repositories["me/tuned"].refs["main"]}
        assert {str(path) for path in there if (tmp_path / "out" / "ckpt-8" / path).is_file()} <= pushed


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "name", "wanted"),
    [
        ("hf_wrong", None, r"did not take out: .*Set HF_TOKEN or run `hf auth login`"),
        (READ_TOKEN, None, r"did not take me/out"),
        (TOKEN, "somebody-else/taken", r"did not take somebody-else/taken"),
        (TOKEN, "somebody-else/new", r"did not take somebody-else/new"),
        (TOKEN, "not an id", r"did not take me/not an id"),
    ],
)
def test_a_token_that_may_not_write_is_found_before_the_model_is_fetched(
    hub, corpus, tmp_path, monkeypatch, token, name, wanted
):
    hub.repositories["somebody-else/taken"] = Repository({"main": {}})
    hub.repositories["org/model"] = Repository({"main": {"config.json": b"{}"}})
    monkeypatch.setenv("HF_TOKEN", token)
    arguments = StreamingArguments(
        output_dir=str(tmp_path / "out"), model_name_or_path="org/model", data_dir=str(corpus), do_train=True,
        push_to_hub=True, hub_model_id=name,
    )  # fmt: skip
    with pytest.raises(PushRefused, match=wanted):
        prepare(arguments, {})
    assert not any("org/model" in path for _, path in hub.requests)
    assert not (tmp_path / "out").exists() and len(hub.repositories) == 2


@pytest.mark.parametrize("changes", [{"hub_strategy": "end"}, {"hub_strategy": "checkpoint", "save_optimizer": False}])
def test_an_optimizer_that_would_go_nowhere_is_refused(changes):
    with pytest.raises(BadArguments, match=r"--hub_push_optimizer goes with whole checkpoints"):
        StreamingArguments(output_dir="o", model_name_or_path="m", hub_push_optimizer=True, **changes)


def test_no_flag_takes_a_token():
    done = command(SCRIPT, "--output_dir=o", "--model_name_or_path=m", "--hub_token=hf_x")
    assert done.returncode == 2 and "unknown flag --hub_token" in done.stderr and "hf_x" not in done.stderr


def test_a_last_push_that_fails_is_raised(hub, run_dir):
    hub.faults = [Fault("POST .*/commit/", status=401)]
    with opened(run_dir, "end") as pushes, pytest.raises(NotPushed, match=r"its model is whole in .*401"):
        pushes.finish()
