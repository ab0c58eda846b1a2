"""Store: a checkpoint behind a URL counts from its marker on, and comes back as it was sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fsspec
import pytest

from interface.files import write_json
from training.arguments import BadArguments
from training.checkpoints import RUN_STATE, checkpoints_in, fault_of, note_eval_loss
from training.integrity import fingerprints
from training.store import Store, StoreBehind, StoreUnusable
from training.streaming_arguments import StreamingArguments

URL = "memory://bucket/run"


@pytest.fixture(autouse=True)
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def output_dir(tmp_path) -> Path:
    """Three checkpoints of text: the second is the best."""
    folder = tmp_path / "out"
    for step, loss in ((5, 3.0), (10, 1.0), (15, 2.0)):
        checkpoint = folder / f"ckpt-{step}"
        (checkpoint / "train_state" / "d").mkdir(parents=True)
        (checkpoint / "model.safetensors").write_text(f"weights after {step}")
        (checkpoint / "train_state" / "d" / "one").write_text(f"state after {step}")
        about = {"step": step, "eval_loss": loss, "files": fingerprints(checkpoint)}
        (checkpoint / RUN_STATE).write_text(json.dumps(about))
    (folder / "metrics.jsonl").write_text("rows\n")
    write_json(folder / "written.json", ["metrics.jsonl", *(f"ckpt-{step}" for step in (5, 10, 15))])
    return folder


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_gets_the_newest_and_the_best_as_they_were(output_dir, tmp_path):
    store = Store(URL)
    store.mirror(output_dir)
    assert store.names() == ["ckpt-5", "ckpt-10", "ckpt-15"]
    fresh = tmp_path / "fresh"
    Store(URL).fetch(fresh)
    assert [path.name for path in checkpoints_in(fresh)] == ["ckpt-10", "ckpt-15"]
    for name in ("ckpt-10", "ckpt-15"):
        assert held(fresh / name) == held(output_dir / name)
    assert (fresh / "metrics.jsonl").read_text() == "rows\n"
    before = held(output_dir)
    store.fetch(output_dir)  # nothing is newer than what is here
    assert held(output_dir) == before


def test_an_evaluation_that_was_made_up_for_reaches_the_store(output_dir, tmp_path):
    """A signal cut it off before the checkpoint was sent; the best is chosen by the markers."""
    store = Store(URL)
    about = json.loads((output_dir / "ckpt-15" / RUN_STATE).read_text())
    (output_dir / "ckpt-15" / RUN_STATE).write_text(json.dumps(about | {"eval_loss": None, "evaluated_on": None}))
    store.mirror(output_dir)
    note_eval_loss(output_dir / "ckpt-15", 0.5, None)
    store.mirror(output_dir)
    assert store._marker("ckpt-15")["eval_loss"] == 0.5
    (output_dir / "ckpt-15" / RUN_STATE).write_text(json.dumps(about | {"eval_loss": 0.1, "files": {}}))
    store.mirror(output_dir)
    assert store._marker("ckpt-15")["eval_loss"] == 0.5, "the marker of other files stays theirs"


def test_rows_of_a_machine_that_was_overtaken_do_not_take_the_place_of_all(output_dir, tmp_path):
    first = tmp_path / "first"
    shutil.copytree(output_dir, first)
    shutil.rmtree(first / "ckpt-15")
    (output_dir / "metrics.jsonl").write_text("rows\nmore rows\n")
    store = Store(URL)
    store.mirror(output_dir)
    store.fetch(first)
    assert (first / "metrics.jsonl").read_text() == "rows\nmore rows\n"


def test_what_is_sent_in_part_does_not_count_until_it_is_whole(output_dir, monkeypatch, capsys):
    """The connection breaks after each file in turn; the marker is the last of them."""
    store = Store(URL)
    put = store._files.put_file
    for allowed in range(3):
        sent = []

        def break_off(source, target, sent=sent, allowed=allowed):
            if len(sent) == allowed:
                raise ConnectionError("reset by peer")
            sent.append(target)
            put(source, target)

        monkeypatch.setattr(store._files, "put_file", break_off)
        store.mirror(output_dir)
        assert store.names() == [] and "reset by peer" in capsys.readouterr().out
    with pytest.raises(StoreBehind, match=r"lacks checkpoints that .*reset by peer"):
        store.finish(output_dir)
    monkeypatch.undo()
    store.finish(output_dir)
    assert store.names() == ["ckpt-5", "ckpt-10", "ckpt-15"]


def test_the_outdated_lose_their_marker_first_and_the_best_stays(output_dir, monkeypatch):
    store = Store(URL, keep=1)
    remove = store._files.rm

    def break_off(path, recursive):
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(store._files, "rm", break_off)
    store.mirror(output_dir)
    assert store.names() == ["ckpt-10", "ckpt-15"]
    assert store._files.exists("/bucket/run/ckpt-5/model.safetensors")
    monkeypatch.setattr(store._files, "rm", remove)
    store._remove("ckpt-10")
    assert not store._files.exists("/bucket/run/ckpt-10/model.safetensors")


def test_a_broken_copy_is_passed_over(output_dir, tmp_path, capsys):
    store = Store(URL)
    store.mirror(output_dir)
    store._files.pipe_file("/bucket/run/ckpt-15/model.safetensors", b"weights aft")
    fresh = tmp_path / "fresh"
    store.fetch(fresh)
    assert "fetched ckpt-15" in (said := capsys.readouterr().out) and "it is broken (model.safetensors has" in said
    assert fault_of(fresh / "ckpt-15") and not fault_of(fresh / "ckpt-10")
    (output_dir / "ckpt-15" / "model.safetensors").write_text("cut")  # broken here, whole there
    store._files.put_file(str(fresh / "ckpt-10" / "model.safetensors"), "/bucket/run/ckpt-15/model.safetensors")
    store._files.pipe_file("/bucket/run/ckpt-15/model.safetensors", b"weights after 15")
    store.fetch(output_dir)
    assert not fault_of(output_dir / "ckpt-15")
    assert (output_dir / "previous-1" / "ckpt-15" / "model.safetensors").read_text() == "cut"


def test_a_store_of_another_run_or_of_nobody_is_refused(output_dir, tmp_path):
    store = Store(URL)
    store.mirror(output_dir)
    store.require_nothing_after(15)
    with pytest.raises(StoreUnusable, match=r"holds ckpt-15, and this run begins after step 10; go on"):
        store.require_nothing_after(10)
    with pytest.raises(StoreUnusable, match="cannot be written to"):
        Store("nowhere://bucket")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="cannot be written to"):
        Store(f"file://{tmp_path}/file/run")
    shutil.rmtree(output_dir)
    with pytest.raises(BadArguments, match=r"--output_dir is gs://b/run; wanted a folder.*--checkpoint_store takes"):
        StreamingArguments(output_dir="gs://b/run", model_name_or_path="m")
