"""Push to the Hub, through the real client and a server that speaks its protocol."""

from __future__ import annotations

import dataclasses
import json

import pytest

from interface.push import PushRefused, full_id, open_repository, push
from tests.conftest import command, succeed
from tests.hub_server import READ_TOKEN, TOKEN, Fault, Repository, serve


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serve({"org/there": Repository({"main": {"README.md": b"kept", "config.json": b"old"}})}) as hub:
        hub.adopt(monkeypatch, tmp_path, TOKEN)
        yield hub


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "logs").mkdir(parents=True)
    (made / "previous-1").mkdir()
    (made / "config.json").write_bytes(b"new")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (made / "logs" / "a.txt").write_bytes(b"in a folder")
    (made / "previous-1" / "config.json").write_bytes(b"not asked for")
    return made


NAMES = ["config.json", "model.safetensors", "logs", "tokenizer.json"]


def test_what_was_named_arrives_byte_for_byte_and_nothing_else(hub, folder):
    assert open_repository("org/new", private=True) == f"{hub.url}/org/new"
    url = push(folder, "org/new", NAMES, message="step 7")
    repository = hub.repositories["org/new"]
    assert repository.private and url == f"{hub.url}/org/new/commit/{repository.commit('main')}"
    wanted = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors", "logs/a.txt")}
    assert repository.refs["main"] == wanted
    assert hub.commits == [("org/new", "main", "step 7")]


def test_a_repository_that_is_there_keeps_its_other_files_and_its_visibility(hub, folder):
    open_repository("org/there", private=True)
    push(folder, "org/there", ["config.json"], message="m")
    assert not hub.repositories["org/there"].private
    assert hub.repositories["org/there"].refs["main"] == {"README.md": b"kept", "config.json": b"new"}


def test_a_branch_is_made_and_main_stays(hub, folder):
    for _ in range(2):  # a branch that is there is no obstacle
        open_repository("org/there", revision="step-7")
    push(folder, "org/there", ["config.json"], message="m", revision="step-7")
    refs = hub.repositories["org/there"].refs
    assert refs["main"]["config.json"] == b"old"
    assert refs["step-7"] == {"README.md": b"kept", "config.json": b"new"}


def test_pushing_again_sends_nothing_and_commits_nothing(hub, folder):
    open_repository("org/new")
    first = push(folder, "org/new", NAMES, message="one")
    sent = len([path for method, path in hub.requests if method == "PUT"])
    assert push(folder, "org/new", NAMES, message="two") == first
    assert len(hub.commits) == 1 and len([path for method, path in hub.requests if method == "PUT"]) == sent == 1


def test_a_push_that_broke_off_goes_on(hub, folder):
    """The weights arrived, the commit did not: they are not sent again."""
    import hashlib

    data = (folder / "model.safetensors").read_bytes()
    hub.large[hashlib.sha256(data).hexdigest()] = data
    open_repository("org/new")
    push(folder, "org/new", NAMES, message="m")
    assert hub.repositories["org/new"].refs["main"]["model.safetensors"] == data
    assert not [path for method, path in hub.requests if method == "PUT"]


def test_no_right_no_token_and_nothing_to_push_are_refused(hub, folder, monkeypatch):
    with pytest.raises(PushRefused, match=r"did not take somebody-else/x: .*wanted an id OWNER/NAME and a token"):
        open_repository("somebody-else/x")
    with pytest.raises(PushRefused, match="did not take a/b/c"):
        open_repository("a/b/c")
    with pytest.raises(PushRefused, match=r"holds none of weights\.npz; wanted something to push to org/there"):
        push(folder, "org/there", ["weights.npz"], message="m")
    with pytest.raises(PushRefused, match="did not take org/nowhere"):
        push(folder, "org/nowhere", ["config.json"], message="m")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PushRefused, match=r"Set HF_TOKEN or run `hf auth login`"):
        open_repository("org/new")
    with pytest.raises(PushRefused, match=r"Set HF_TOKEN or run `hf auth login`"):
        full_id("new")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PushRefused, match="Token is required"):
        full_id("new")
    assert hub.commits == [] and not hub.waited  # nothing that waiting could mend


def test_a_repository_that_may_only_be_read_is_refused_when_it_is_opened(hub, monkeypatch):
    """The client alone takes it for open: it is there, and creating it was refused."""
    hub.repositories["somebody-else/x"] = Repository({"main": {}})
    with pytest.raises(PushRefused, match=r"did not take somebody-else/x"):
        open_repository("somebody-else/x")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(PushRefused, match="did not take org/there"):
        open_repository("org/there")


def test_a_name_alone_is_one_of_the_tokens_user(hub):
    assert full_id("new") == "me/new" and full_id("org/new") == "org/new"


PASSING = [
    Fault("POST .*/commit/", times=3, status=500),
    Fault("POST .*/commit/", status=429, retry_after=40),
    Fault("PUT /large/", times=2, drop="upload"),
    Fault("POST .*/commit/", drop="upload"),
    Fault("POST .*/commit/", drop="download"),  # it was done, and the answer got lost
    Fault("POST .*/preupload/", times=8, status=503),  # more often than the client itself tries
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.where} {fault.status or fault.drop}")
def test_what_passes_is_tried_again_until_it_works(hub, folder, fault):
    open_repository("org/new")
    hub.faults = [dataclasses.replace(fault)]
    told = []
    push(folder, "org/new", NAMES, message="m", tell=told.append)
    assert hub.faults[0].times == 0
    assert hub.repositories["org/new"].refs["main"]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert len(hub.commits) == 1 and all(text.startswith("org/new: ") and "trying again in" in text for text in told)
    assert fault.retry_after is None or max(hub.waited) >= fault.retry_after
    assert hub.waited and sum(hub.waited) < 600


def test_what_does_not_pass_is_given_up_in_time(hub, folder):
    open_repository("org/new")
    hub.faults = [Fault("POST .*/commit/", times=10**9, status=502)]
    with pytest.raises(PushRefused, match=r"did not take org/new in \d+ s of trying: .*502"):
        push(folder, "org/new", NAMES, message="m", tell=lambda _: None)
    assert 400 < sum(hub.waited) <= 600 and sorted(hub.waited) == hub.waited  # pauses grow
    hub.faults = [Fault("POST .*/commit/", status=429, retry_after=4000)]
    hub.waited.clear()
    with pytest.raises(PushRefused, match="429"):
        push(folder, "org/new", NAMES, message="m", tell=lambda _: None)
    assert not hub.waited  # the Hub asks for more than we would wait


def test_the_files_of_a_replaced_folder_that_are_no_more_are_deleted(hub, folder):
    push(folder, "org/there", ["logs"], message="one")
    (folder / "logs" / "a.txt").rename(folder / "logs" / "b.txt")
    push(folder, "org/there", ["logs"], message="two", replaced=["logs"])
    assert hub.repositories["org/there"].refs["main"].keys() == {"README.md", "config.json", "logs/b.txt"}


def test_the_patch_is_pushed_and_loads_from_there(model_dir, corpus, tmp_path):
    """The command, its own process and environment; then any command reads the pushed model by its id."""
    with serve({}) as hub:
        environment = hub.environment(tmp_path, TOKEN)
        said = succeed(
            "-m", "tokenizer_patch", "--model_name_or_path", model_dir, "--output_dir", tmp_path / "out",
            "--data_dir", corpus, "--score_bytes", 0, "--push_to_hub", "org/patched", "--hub_private_repo",
            **environment,
        )  # fmt: skip
        assert "pushed it to" in said and hub.repositories["org/patched"].private
        pushed = hub.repositories["org/patched"].refs["main"]
        assert json.loads(pushed["tokenizer_patch.json"])["preset"] == "clippy"
        assert {name: (tmp_path / "out" / name).read_bytes() for name in pushed} == pushed
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= pushed.keys()
        assert "written.json" not in pushed
        succeed("-m", "modeling", "convert", "org/patched", tmp_path / "again", **environment)
        assert (tmp_path / "again" / "model.safetensors").read_bytes() == pushed["model.safetensors"]
        refused = command(
            "-m", "tokenizer_patch", "--model_name_or_path", model_dir, "--output_dir", tmp_path / "no",
            "--push_to_hub", "somebody-else/x", **environment,
        )  # fmt: skip
        assert refused.returncode == 2 and "Traceback" not in refused.stderr and not (tmp_path / "no").exists()
