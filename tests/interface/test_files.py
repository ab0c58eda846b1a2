from __future__ import annotations

import io
import os

import pytest

from interface.errors import OutputNotEmpty
from interface.files import append, claim, lock, open_atomically, prepare_output, remove_tree, written


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), open_atomically(path) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_overwrite_moves_what_was_written_aside_and_touches_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, "model.bin", "ckpt-1")
    (tmp_path / "model.bin").write_text("one")
    (tmp_path / "ckpt-1").mkdir()
    with pytest.raises(OutputNotEmpty, match="--overwrite_output_dir"):
        prepare_output(tmp_path, overwrite=False)
    assert prepare_output(tmp_path, overwrite=True) == tmp_path / "previous-1"
    claim(tmp_path, "model.bin")
    (tmp_path / "model.bin").write_text("two")
    assert prepare_output(tmp_path, overwrite=True) == tmp_path / "previous-2"
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "previous-1" / "model.bin").read_text() == "one"
    assert (tmp_path / "previous-1" / "ckpt-1").is_dir()
    assert (tmp_path / "previous-2" / "model.bin").read_text() == "two"
    assert written(tmp_path) == []


def test_a_users_file_with_one_of_our_names_is_never_overwritten(tmp_path):
    (tmp_path / "model.bin").write_text("the user's")
    (tmp_path / "notes.txt").write_text("the user's")
    assert prepare_output(tmp_path, "config.json", overwrite=True) is None
    for refuse in (lambda: prepare_output(tmp_path, "model.bin", overwrite=True), lambda: claim(tmp_path, "model.bin")):
        with pytest.raises(OutputNotEmpty, match=r"holds model\.bin, which this toolkit did not write"):
            refuse()
    assert (tmp_path / "model.bin").read_text() == "the user's" and written(tmp_path) == ["config.json"]


def test_what_a_kill_left_is_no_content(tmp_path):
    (tmp_path / ".metrics.jsonl.77.partial").write_text("half")
    (tmp_path / ".ckpt-5.partial").mkdir()
    (tmp_path / ".ckpt-4.deleted").mkdir()
    assert prepare_output(tmp_path, overwrite=False) is None


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_has_gone(tmp_path):
    held = lock(tmp_path)
    with pytest.raises(OutputNotEmpty, match="another run is writing to"):
        lock(tmp_path)
    os.close(held)
    os.close(lock(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputNotEmpty, match="is a file"):
        prepare_output(tmp_path / "out", overwrite=True)


def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path):
    (tmp_path / ".ckpt-1.deleted").mkdir()
    (tmp_path / ".ckpt-1.deleted" / "half").write_text("")
    (tmp_path / "ckpt-1").mkdir()
    remove_tree(tmp_path / "ckpt-1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_write_leaves_off_is_written_too():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:3]))

    file = Slow()
    append(file, b"0123456789")
    assert file.getvalue() == b"0123456789"
