"""Turns: CodeGen's truncation by hand, the history, and the command over a pipe."""

from __future__ import annotations

import subprocess
import sys

import pytest

import modeling
from generation import Sampler, Settings
from generation.conversation import blocks, converse, truncate
from tests.conftest import ROOT
from tokenizer_patch import Tokenizer


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("x = 1\n", "x = 1\n"),
        ("print(1)\nprint(2)\n", "print(1)\n"),
        ("def f():\n    return 1\ndef g():\n    pass\n", "def f():\n    return 1\n"),
        ("def f():\n    def g():\n        pass\n", "def f():\n    def g():\n        pass\n"),
        ("# a comment first", ""),
        ("x = 1  # beside\n# below\ny = 2", "x = 1  # beside\n"),
        ("x = 1\n'''doc'''", "x = 1\n"),
        ('x = 1\n"""doc"""', "x = 1\n"),
        ("x = 1<|endoftext|>y", "x = 1"),
        ("x = 1\n\ny = 2\n\n\nz = 3", "x = 1\n\ny = 2"),
        ("print(1)\n# c\nprint(2)", "print(1)\n"),
        ("", ""),
    ],
)
def test_truncation_by_hand(completion, kept):
    assert truncate(completion) == kept


def test_each_turn_sees_all_turns_before_it_as_they_were_cut():
    seen = []

    def complete(history):
        seen.append(history)
        return f"x = {len(seen)}\n# cut away"

    assert list(converse(["# one", "# two"], complete)) == ["x = 1\n", "x = 2\n"]
    assert seen == ["# one\n", "# one\nx = 1\n\n\n# two\n"]


def test_blocks_end_at_an_empty_line_or_the_end():
    assert list(blocks(["a\n", "b\n", "\n", " \n", "c"])) == ["a\nb", "c"]


def test_the_command_answers_each_block_of_a_pipe_also_when_the_history_outgrows_the_model(model_dir):
    words = ["-m", "generation", "--model", str(model_dir), "--interactive", "--max_new_tokens", "9"]
    asked = "# first\nx = 1\n\n" + "# " + "second " * 40 + "\n"
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, input=asked, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    model = modeling.load(model_dir)
    sampler = Sampler(model.config, model.params, Tokenizer.load(model_dir))
    wanted = converse(
        blocks(asked.splitlines(keepends=True)),
        lambda text: sampler.complete([text], Settings(max_new_tokens=9), cut_prompts=True)[0][0].text,
    )
    assert done.stdout == "".join(f"{answer}\n\n" for answer in wanted)
