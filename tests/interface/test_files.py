from __future__ import annotations

import pytest

from interface.errors import OutputNotEmpty
from interface.files import claim, open_atomically, prepare_output, remove_tree, written


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


def test_overwrite_leaves_a_folder_alone_that_holds_only_the_users_files(tmp_path):
    (tmp_path / "model.bin").write_text("the user's, though it has one of our names")
    assert prepare_output(tmp_path, overwrite=True) is None
    assert (tmp_path / "model.bin").exists()


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
