"""Checkpoints: written beside while training goes on, kept by rank, judged before they are trusted."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import modeling
from modeling.checkpoint import file_names
from modeling.decoder import config_from_hf
from tests.conftest import TINY
from training.apps_arguments import AppsArguments
from training.arguments import BadArguments
from training.checkpoint_writer import Checkpoints, SaveFailed
from training.checkpoints import (
    ResumeRefused,
    best_of,
    check_same_run,
    checkpoints_in,
    eval_loss_of,
    fault_of,
    find_checkpoint,
    note_eval_loss,
    outdated,
    restore,
    run_state_of,
    step_of,
)  # fmt: skip
from training.export import export
from training.integrity import fault_in, fingerprints
from training.model_files import ModelFiles
from training.placement import DataParallel
from training.saves import epoch_ends
from training.step import initial_state
from training.streaming_arguments import StreamingArguments

CONFIG = config_from_hf(TINY)


@pytest.fixture(scope="module")
def placement() -> DataParallel:
    return DataParallel()


@pytest.fixture(scope="module")
def state(placement):
    return placement.make(lambda: initial_state(modeling.init_params(CONFIG, 1), optax.adam(1.0)))


def writer(folder: Path, keep: int | None = None) -> Checkpoints:
    return Checkpoints(
        folder, model=ModelFiles(CONFIG, folder, 0), identity={"seed": 42, "block_size": 32},
        resolved={"seed": 42}, keep=keep, with_train_state=True,
    )  # fmt: skip


def steps_in(folder: Path) -> list[int]:
    return [step_of(path) for path in checkpoints_in(folder)]


@pytest.fixture(scope="module")
def written(state, tmp_path_factory) -> Path:
    """Six checkpoints, of which at most two and the best are kept; the weights of step n are all n."""
    folder = tmp_path_factory.mktemp("written")
    checkpoints = writer(folder, keep=2)
    for step, loss in enumerate([3.0, 1.0, 1.0, 2.0, math.nan, None], 1):
        params = jax.tree.map(lambda leaf, step=step: np.full_like(leaf, step), state["params"])
        checkpoints.save(step, {**state, "params": jax.device_put(params)}, eval_loss=loss)
    checkpoints.close()
    return folder


@pytest.fixture
def copied(written, tmp_path) -> Path:
    return shutil.copytree(written, tmp_path / "out")


def test_the_newest_stay_and_the_best_outside_their_number(written):
    assert steps_in(written) == [2, 5, 6]
    assert [eval_loss_of(path) for path in checkpoints_in(written)] == [1.0, None, None]
    assert best_of(checkpoints_in(written)).name == "ckpt-2"  # the earlier of two equals
    assert not list(written.glob(".ckpt*"))


def test_a_checkpoint_says_what_it_depends_on(written):
    about = run_state_of(written / "ckpt-6")
    assert about["step"] == 6 and about["configuration"] == {"seed": 42} and about["interval"] == []
    held = {str(p.relative_to(written / "ckpt-6")) for p in (written / "ckpt-6").rglob("*") if p.is_file()}
    assert set(about["files"]) == held - {"run_state.json"}


def test_what_is_saved_is_not_what_later_steps_make_of_it(placement, state, tmp_path):
    """The state is donated while the writer still reads it."""
    step = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    moving = placement.make(lambda tree: tree, state)
    checkpoints = writer(tmp_path)
    saved = checkpoints.save(1, moving)
    for _ in range(5):
        moving = step(moving)
    jax.block_until_ready(moving)
    checkpoints.close()
    again = restore(saved, placement.abstract(state))
    assert jax.tree.all(jax.tree.map(np.array_equal, again, state))
    embedding = load_file(saved / "model.safetensors")["transformer.wte.weight"]
    np.testing.assert_array_equal(embedding, np.asarray(state["params"]["embed"]["tokens"])[:307])


def test_the_best_model_is_left_or_the_last_and_which_is_recorded(copied, capsys):
    def exported(best: bool) -> dict:
        record = export(copied, copied / "ckpt-6", file_names(CONFIG), best=best)
        assert json.loads((copied / "exported.json").read_text()) == record
        source = copied / record["checkpoint"]
        assert (copied / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
        return record

    best = {"checkpoint": "ckpt-2", "step": 2, "eval_loss": 1.0, "kind": "best"}
    last = {"checkpoint": "ckpt-6", "step": 6, "eval_loss": None, "kind": "last"}
    assert exported(True) == best and exported(False) == last
    said = capsys.readouterr().out
    assert "ckpt-2, the best checkpoint (eval loss 1.0000)" in said and "ckpt-6, the last checkpoint (no eval" in said
    note_eval_loss(copied / "ckpt-6", 0.5, None)
    assert exported(True) == {**last, "eval_loss": 0.5, "kind": "best"}
    cut(copied / "ckpt-6" / "model.safetensors")  # the best that is whole, then
    export(copied, copied / "ckpt-5", file_names(CONFIG), best=True)
    assert "ckpt-6, the best by its loss on the validation split, is broken" in capsys.readouterr().out
    assert (copied / "model.safetensors").read_bytes() == (copied / "ckpt-2" / "model.safetensors").read_bytes()


def test_losses_on_other_data_do_not_compare(copied):
    """After a resume with another --max_eval_samples, say: the new run's own losses decide, once it has some."""
    note_eval_loss(copied / "ckpt-5", 3.0, "other data")
    assert best_of(checkpoints_in(copied)).name == "ckpt-5"
    assert outdated(checkpoints_in(copied), 1) == ["ckpt-2"]
    note_eval_loss(copied / "ckpt-6", 2.5, "other data")
    assert best_of(checkpoints_in(copied)).name == "ckpt-6"


def test_an_old_checkpoint_that_cannot_be_deleted_costs_the_new_one_nothing(state, copied, monkeypatch, capsys):
    def fail(path):
        if path.name.startswith("ckpt-") and path.exists():
            raise OSError(39, "Directory not empty")
        shutil.rmtree(path, ignore_errors=True)

    monkeypatch.setattr("training.checkpoint_writer.remove_tree", fail)
    checkpoints = writer(copied, keep=1)
    checkpoints.save(7, state)
    checkpoints.close()
    assert steps_in(copied) == [2, 5, 6, 7]
    assert "an old checkpoint could not be deleted" in capsys.readouterr().out


# --- broken ones ------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    ("harm", "wanted"),
    [
        (lambda ckpt: cut(ckpt / "model.safetensors"), r"model.safetensors has [\d,]+ bytes of [\d,]+"),
        (lambda ckpt: flip(ckpt / "model.safetensors"), "model.safetensors holds other bytes than were written"),
        (lambda ckpt: cut(largest(ckpt / "train_state")), r"train_state/.* has [\d,]+ bytes of"),
        (lambda ckpt: flip(largest(ckpt / "train_state")), "train_state/.* holds other bytes"),
        (lambda ckpt: shutil.rmtree(ckpt / "train_state"), "train_state/.* is missing"),
        (lambda ckpt: (ckpt / "config.json").unlink(), "config.json is missing"),
        (lambda ckpt: cut(ckpt / "run_state.json"), None),  # only its last line end
        (lambda ckpt: (ckpt / "run_state.json").write_text('{"step": 6'), "run_state.json cannot be read"),
        (lambda ckpt: (ckpt / "run_state.json").write_text("{}"), "run_state.json lists no files"),
    ],
)
def test_a_broken_checkpoint_is_passed_over_and_said(copied, harm, wanted, capsys):
    harm(copied / "ckpt-6")
    found = find_checkpoint(copied, "auto")
    said = capsys.readouterr().out
    if wanted is None:
        assert found.name == "ckpt-6" and not said
        return
    assert found.name == "ckpt-5" and (copied / "ckpt-6").is_dir()
    assert re.search(f"ckpt-6 is broken \\({wanted}", said) and "going on from ckpt-5" in said
    with pytest.raises(ResumeRefused, match="ckpt-6"):
        find_checkpoint(copied, str(copied / "ckpt-6"))


def test_where_none_is_whole_nothing_starts_again_by_itself(copied):
    for path in checkpoints_in(copied):
        cut(path / "model.safetensors")
    with pytest.raises(ResumeRefused, match=r"no whole checkpoint.*ckpt-6 is broken.*ckpt-5.*ckpt-2.*--overwrite_out"):
        find_checkpoint(copied, "auto")


def test_a_checkpoint_is_asked_for_its_files_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"123456789")
    (tmp_path / "two").write_bytes(b"")
    recorded = fingerprints(tmp_path)
    assert recorded == {"a/one": {"bytes": 9, "crc32": "cbf43926"}, "two": {"bytes": 0, "crc32": "00000000"}}
    (tmp_path / "three").write_text("mine")
    assert fault_in(tmp_path, recorded) is None
    (tmp_path / "a" / "one").unlink()
    assert fault_in(tmp_path, recorded) == "a/one is missing" and fault_in(tmp_path, recorded, ["two"]) is None


def test_a_state_of_another_shape_is_refused(written, placement):
    other = placement.make(lambda: initial_state(modeling.init_params(CONFIG, 1), optax.sgd(1.0)))
    with pytest.raises(ResumeRefused, match="does not fit this run or this release"):
        restore(written / "ckpt-6", placement.abstract(other))


# --- another run ------------------------------------------------------------------------------------------------------


def test_differences_are_named_and_allowed_by_name(written, capsys):
    checkpoint = written / "ckpt-6"
    check_same_run(checkpoint, {"seed": 42, "block_size": 32, "shards": 99})
    other = {"seed": 7, "block_size": 64, "optim": "adamw"}
    with pytest.raises(
        ResumeRefused, match=r"block_size was 32, is now 64; optim was None, is now 'adamw'; seed was 42"
    ):
        check_same_run(checkpoint, other)
    with pytest.raises(
        ResumeRefused, match=r"of another run: optim was None.*--allow_changes block_size,optim,seed goes"
    ):
        check_same_run(checkpoint, other, ["seed", "block_size"])
    with pytest.raises(ResumeRefused, match=r"names 'sede', on which no run depends; did you mean seed\?"):
        check_same_run(checkpoint, other, ["sede"])
    capsys.readouterr()
    check_same_run(checkpoint, other, ["seed", "block_size", "optim"])
    assert "going on from ckpt-6 although seed was 42, is now 7" in capsys.readouterr().out


def test_a_run_may_grow_where_its_schedule_does_not_use_its_length():
    def schedule(**changes) -> dict:
        return StreamingArguments(output_dir="o", model_name_or_path="m", **changes).schedule()

    assert schedule(max_steps=20, decay_steps=40) == schedule(max_steps=30, decay_steps=40)
    assert schedule(max_steps=20, lr_scheduler_type="constant") == schedule(max_steps=30, lr_scheduler_type="constant")
    assert schedule(max_steps=20) != schedule(max_steps=30)


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("global_batch", [1, 3, 7, 11, 23])
@pytest.mark.parametrize("num_blocks", [5, 7, 22, 23])
def test_each_epochs_end_is_due_once_and_never_drifts(num_blocks, global_batch):
    due = epoch_ends(num_blocks, global_batch)
    steps = 500
    wanted = {math.ceil(epoch * num_blocks / global_batch) for epoch in range(1, 500 * 23)}
    assert [step for step in range(1, steps) if due(step)] == sorted(step for step in wanted if step < steps)


def test_what_cannot_be_chosen_is_refused():
    wanted = {"output_dir": "o", "model_name_or_path": "m"}
    with pytest.raises(BadArguments, match="--save_strategy epoch: a run counted in steps starts before anybody knows"):
        StreamingArguments(**wanted, save_strategy="epoch")
    with pytest.raises(BadArguments, match="give --do_eval"):
        StreamingArguments(**wanted, load_best_model_at_end=True)
    assert AppsArguments(**wanted).load_best_model_at_end  # as the recipe does; the last where nothing is evaluated


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own with room for one checkpoint and a half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("filled", ["already", "by the model", "by the train state"])
def test_a_full_disk_is_one_clear_error_and_leaves_the_last_whole(filled, small_disk, placement, state, capfd):
    checkpoints = writer(small_disk)
    checkpoints.save(1, state)
    checkpoints.wait()
    left = {"already": 0, "by the model": 60_000, "by the train state": 190_000}[filled]
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - left))
    with pytest.raises(SaveFailed, match=r"ckpt-2 could not be .*No space left .* last whole checkpoint is ckpt-1"):
        checkpoints.save(2, state)
        checkpoints.wait()
    assert steps_in(small_disk) == [1] and fault_of(small_disk / "ckpt-1") is None
    assert not list(small_disk.glob(".ckpt*"))  # its room is free again
    (small_disk / "filler").unlink()
    checkpoints.save(3, state)
    checkpoints.close()
    assert steps_in(small_disk) == [1, 3] and fault_of(small_disk / "ckpt-3") is None
    assert capfd.readouterr().err == ""  # Orbax's threads would say it in hundreds of lines
