"""What a run finds out before it begins, and what it refuses then, with nothing written."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from interface.errors import OutputNotEmpty, UserError
from tests.conftest import TINY
from training.preparation import check, prepare
from training.streaming_arguments import StreamingArguments


def arguments(model_dir, corpus, tmp_path, **changes):
    return StreamingArguments(
        **{
            "output_dir": str(tmp_path / "out"), "model_name_or_path": str(model_dir), "data_dir": str(corpus),
            "do_train": True, "do_eval": True, "block_size": 32, "token_cache_dir": str(tmp_path / "cache"),
        } | changes
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        # S11: the reference compared with the tokenizer's length, and with the positions only sometimes
        ({"block_size": 65}, r"--block_size is 65; .* has 64 positions. Give --block_size 64 or less"),
        ({"do_train": False}, "give --do_train"),
        ({"dataset_name": "nowhere.py"}, "no dataset script at nowhere.py"),
        ({"data_dir": "nowhere"}, "no data folder at nowhere"),
        ({"model_name_or_path": "./nowhere"}, "no model folder at ./nowhere"),
        ({"tokenizer_name": "{tmp}"}, "no tokenizer in"),
        ({"resume_from_checkpoint": "{tmp}"}, "holds no train_state/"),
        ({"output_dir": "{model}"}, "lies in --output_dir"),
        ({"text_column_name": "content"}, 'none of the first .* "content" string; --text_column_name names the column'),
        ({"placement": "mesh", "mesh": "fsdp=3"}, "fsdp=3.* is for 3 devices; there are 8. Make the product 8"),
        ({"placement": "mesh", "mesh": "fsdp=4,tensor=2"}, "tensor=2 does not divide the model's 3 heads"),
        ({"placement": "mesh", "mesh": "rows=8"}, "--mesh holds 'rows=8'"),
        ({"model_type": "gptj"}, "--model_type is gptj; .* is a gpt_neo"),
        (
            {"model_type": "gptj", "model_name_or_path": None, "tokenizer_name": "{model}", "block_size": 2049},
            "--block_size is 2049; gptj has 2048 positions",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(model_dir, corpus, tmp_path, changes, wanted):
    changes = {
        name: v.format(tmp=tmp_path, model=model_dir) if isinstance(v, str) else v for name, v in changes.items()
    }
    with pytest.raises(UserError, match=wanted):
        prepare(arguments(model_dir, corpus, tmp_path, **changes), {})
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_a_dataset_without_the_text_column_is_refused_with_those_that_it_has(model_dir, tmp_path):
    (tmp_path / "rows.csv").write_text("code,path\nx = 1,a.py\n")
    wanted = {"train_file": str(tmp_path / "rows.csv"), "data_dir": None}
    with pytest.raises(UserError, match="no column 'text'; --text_column_name takes one of code, path"):
        prepare(arguments(model_dir, None, tmp_path, **wanted), {})
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_a_family_alone_makes_a_model_of_its_default_sizes_with_a_row_for_each_token(tokenizer_dir, corpus, tmp_path):
    wanted = {"model_name_or_path": None, "model_type": "gpt2", "tokenizer_name": str(tokenizer_dir)}
    config = check(arguments(None, corpus, tmp_path, **wanted), {}).config
    assert (config.hidden_size, config.num_layers, config.num_heads) == (768, 12, 12)
    assert config.max_position_embeddings == 1024 and config.vocab_size == TINY["vocab_size"]
    hf = config.to_hf()
    assert hf["model_type"] == "gpt2" and "id2label" not in hf


def test_an_empty_split_is_refused(model_dir, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "validation")
    with pytest.raises(UserError, match=r"no validation/\*\.jsonl\.zst"):
        prepare(arguments(model_dir, tmp_path / "data", tmp_path), {})


def test_a_tokenizer_larger_than_the_table_is_refused(model_dir, corpus, tmp_path):
    shutil.copytree(model_dir, tmp_path / "small")
    hf = json.loads((model_dir / "config.json").read_text()) | {"vocab_size": 300}
    (tmp_path / "small" / "config.json").write_text(json.dumps(hf))
    with pytest.raises(UserError, match="300 embedding rows, its tokenizer needs 307"):
        prepare(arguments(tmp_path / "small", corpus, tmp_path), {})


def test_a_second_run_in_one_output_folder_is_refused(model_dir, corpus, tmp_path):
    first = prepare(arguments(model_dir, corpus, tmp_path), {})
    for supply in first.supplies.values():
        supply.wait_until_whole()
    with pytest.raises(OutputNotEmpty, match="another run is writing"):
        prepare(arguments(model_dir, corpus, tmp_path, overwrite_output_dir=True), {})
    os.close(first.held)
    prepare(arguments(model_dir, corpus, tmp_path, overwrite_output_dir=True), {})
    assert (tmp_path / "out" / "previous-1" / "run.json").is_file()


def test_an_output_folder_that_is_not_empty_is_refused(model_dir, corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(OutputNotEmpty, match=r"already holds 1 entries \(thesis.tex\).*--overwrite_output_dir"):
        prepare(arguments(model_dir, corpus, tmp_path), {})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
