from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from interface.errors import UserError
from interface.flags import as_json, choose, flag, parse, required


@dataclass(frozen=True)
class Example:
    output_dir: str = required("where to write")
    block_size: int = flag(1024, "tokens")
    keep: bool = flag(True, "keep it")
    learning_rate: float = flag(5e-5, "peak")
    token: str | None = flag(None, "a secret", secret=True)
    sources: list[str] | None = flag(None, "where from")

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise UserError(f"--block_size is {self.block_size}; wanted at least 1")


def read(*words: str) -> Example:
    return parse(Example, words, prog="example", description="An example.")


def test_the_last_of_a_repeated_flag_wins_and_quoted_numbers_are_numbers():
    assert read("--output_dir=o", "--block_size", "8", "--block_size=16").block_size == 16


def test_booleans_are_read_bare_quoted_and_negated():
    assert read("--output_dir=o", "--keep", "False").keep is False
    assert read("--output_dir=o", "--no_keep").keep is False
    assert read("--output_dir=o", "--keep").keep is True


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--output_dir=o", "--blocksize", "3"], "did you mean --block_size?"),
        (["--output_dir=o", "--block-sise=3"], "did you mean --block_size?"),
        (["--output_dir=o", "--learning_rat", "1"], "did you mean --learning_rate?"),  # no silent abbreviation
        (["--output_dir=o", "stray"], "unexpected argument 'stray'"),
        (["--output_dir=o", "--block_size=0"], "wanted at least 1"),
        (["--output_dir=o", "--block_size=many"], "invalid int value"),
        (["--block_size=3"], "required: --output_dir"),
        (["missing.json"], "no configuration file at missing.json"),
    ],
)
def test_a_mistake_ends_with_status_2_and_one_message(words, wanted, capsys):
    with pytest.raises(SystemExit) as stopped:
        read(*words)
    assert stopped.value.code == 2
    assert wanted in capsys.readouterr().err


def test_a_file_of_flags_equals_the_flags_and_later_flags_win(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"output_dir": "o", "block_size": 7, "keep": False}))
    (tmp_path / "run.yaml").write_text("output_dir: o\nblock_size: 7\nkeep: false\n")
    for name in ("run.json", "run.yaml"):
        assert read(str(tmp_path / name)) == read("--output_dir=o", "--block_size=7", "--keep=False")
        assert read(str(tmp_path / name), "--block_size=9").block_size == 9


def test_a_list_in_a_file_is_several_words_or_one_with_commas(tmp_path):
    """The second is how a resolved configuration holds what was typed as a,b."""
    (tmp_path / "run.yaml").write_text("output_dir: o\nsources: [a b, c]\ntoken: [d, e]\n")
    assert read(str(tmp_path / "run.yaml")) == read("--output_dir=o", "--sources", "a b", "c", "--token=d,e")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "run.json is not readable as json"),
        ("[1, 2]", "run.json holds a list; wanted one object"),
        ('{"output_dir": "o", "blocksize": 3}', "run.json: unknown flag --blocksize; did you mean --block_size?"),
        ('{"output_dir": {"a": 1}}', "run.json: output_dir holds an object; wanted one value"),
        ('{"output_dir": "o", "block_size": "many"}', "invalid int value"),
    ],
)
def test_a_broken_file_of_flags_is_refused(tmp_path, text, wanted, capsys):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(SystemExit):
        read(str(tmp_path / "run.json"))
    assert wanted in capsys.readouterr().err


def test_a_secret_is_in_no_resolved_configuration():
    assert "token" not in as_json(read("--output_dir=o", "--token=abc"))


def test_an_unknown_command_names_the_nearest(capsys):
    with pytest.raises(SystemExit):
        choose({"tokenize": (Example, "x"), "corpus": (Example, "y")}, ["tokenise"], prog="p")
    assert "did you mean tokenize?" in capsys.readouterr().err
