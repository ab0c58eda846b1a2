"""Dry runs: what they say of a run is so, they refuse what it would, and they leave nothing behind but tokens."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jax
import pytest

from data_processing.row_source import RowSource
from data_processing.shards import Place
from interface.errors import OutputNotEmpty
from modeling.decoder import init_params
from tests.conftest import TINY
from tests.data_processing.apps_data import write_folders
from training.apps_arguments import AppsArguments
from training.dry_run import shares, visible
from training.preparation import check
from training.start import start
from training.streaming_arguments import StreamingArguments

MESHED = TINY | {"hidden_size": 22, "num_heads": 2, "intermediate_size": 46}
MESHED |= {"num_layers": 1, "attention_types": [[["global"], 1]]}


def a_new_model(folder, tokenizer_dir, **sizes):
    """Flags of a model that has no weights anywhere."""
    (folder / "config.json").write_text(json.dumps(MESHED | sizes))
    return {"config_name": str(folder / "config.json"), "tokenizer_name": str(tokenizer_dir)}


def printed(arguments, capsys):
    """What a dry run printed: the configuration, and the text after it."""
    start(arguments)
    said = capsys.readouterr().out
    resolved, end = json.JSONDecoder().raw_decode(said)
    return resolved, said[end:]


def rows(text):
    """The rows of the tables in a text, by their names."""
    found = re.findall(r"^│ (.*?) +│ (.*?) *│$", text, re.M)
    return {name: value for name, value in found if name}


@pytest.fixture
def arguments(corpus, tokenizer_dir, tmp_path):
    return StreamingArguments(
        output_dir=str(tmp_path / "out"), data_dir=str(corpus), do_train=True, block_size=32, max_steps=2,
        token_cache_dir=str(tmp_path / "cache"), preprocessing_num_workers=1, per_device_train_batch_size=1,
        gradient_accumulation_steps=2, dry_run=True,
        **a_new_model(tmp_path, tokenizer_dir),
    )  # fmt: skip


def test_it_says_of_a_run_what_the_run_says(arguments, tmp_path, capsys):
    resolved, said = printed(arguments, capsys)
    assert resolved == arguments.resolved()
    assert not (tmp_path / "out").exists() and f"nothing was written to {tmp_path}/out" in said
    (tokens,) = (tmp_path / "cache").iterdir()
    told = rows(said)
    blocks = json.loads((tokens / "complete.json").read_text())["blocks"]
    assert told["epochs"] == f"{2 * 16 / blocks:.2f}, of {blocks:,} blocks each"
    start(replace(arguments, dry_run=False))
    real = rows(capsys.readouterr().out)
    assert "MB a device" in real["estimated memory"]
    assert {name: told[name] for name in real} == real


def test_it_says_what_a_device_holds_of_the_parameters(arguments):
    """By hand: 384 rows of the vocabulary and 32 positions 22 wide; matrices are cut both ways, vectors are whole."""
    meshed = replace(arguments, placement="mesh", mesh="data=2,fsdp=2,tensor=2")
    run = check(meshed, meshed.schedule())
    told = dict(shares(run, jax.eval_shape(lambda: init_params(run.config, 0))))
    assert told["V over tensor, D over fsdp"] == f"{384 * 22 / 4 / 1e6:.2f} M: embed.tokens"
    assert told["D over fsdp"] == f"{64 * 22 / 2 / 1e6:.2f} M: embed.positions"
    assert told["HK over tensor, D over fsdp"].endswith("blocks.query, blocks.key, blocks.value")
    assert "blocks.up_bias" in told["whole"] and "blocks.up," not in told["whole"]


def test_it_shows_which_tokens_of_the_first_block_count(tokenizer_dir, tmp_path, capsys):
    """A prompt does not, its answer does; the number of steps is that of the epochs."""
    data_dir = write_folders(tmp_path / "apps", "train")
    arguments = AppsArguments(
        output_dir=str(tmp_path / "out"), data_dir=str(data_dir), do_train=True, block_size=193, dry_run=True,
        dataset_config_name="formatted", token_cache_dir=str(tmp_path / "cache"), preprocessing_num_workers=1,
        per_device_train_batch_size=1, num_train_epochs=3.0,
        **a_new_model(tmp_path, tokenizer_dir, max_position_embeddings=193),
    )  # fmt: skip
    _, said = printed(arguments, capsys)
    answers = {
        row["answer"]
        for part in range(16)
        for row, _ in RowSource.of(arguments).open("train").read(part, Place())
    }  # fmt: skip
    kinds = re.findall(r"^--- (loss|no loss): (\d+) of 194 tokens\n(.*?)(?=^--- |^dry run:)", said, re.M | re.S)
    assert sum(int(count) for _, count, _ in kinds) == 194
    learnt = [text.removesuffix("\n").removesuffix("<|endoftext|>") for kind, _, text in kinds if kind == "loss"]
    assert learnt[0] in answers and set(learnt[1:-1]) <= answers
    assert kinds[0][0] == "no loss" and kinds[0][2].startswith("\nQUESTION:\n") and "\nANSWER:\n" in kinds[0][2]
    (tokens,) = (tmp_path / "cache").iterdir()
    blocks = json.loads((tokens / "complete.json").read_text())["blocks"]
    assert rows(said)["steps"] == f"{arguments.steps_of_epochs(3, blocks, 8)}, 0 done"


def test_it_refuses_a_folder_that_the_run_would_refuse(arguments, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(OutputNotEmpty, match=r"already holds 1 entries \(thesis.tex\)"):
        start(arguments)
    assert not (tmp_path / "cache").exists()


def test_no_text_steers_the_terminal():
    assert visible("a\tb\x1b[2J\x07é\n") == "a\tb\\x1b[2J\\x07é\n"
