"""The command that converts a model folder."""

from __future__ import annotations

import json

import pytest
from safetensors.numpy import load_file

from interface.errors import OutputNotEmpty, UserError
from modeling.__main__ import Convert, convert
from modeling.tensor import CheckpointError
from tests.conftest import command, succeed
from tests.modeling.conftest import flax_tree, torch_tensors


@pytest.mark.parametrize("source", ["msgpack", "torch"])
def test_convert_makes_a_folder_of_the_references_kind_loadable_in_torch(folder, tensors, model, tokenizer_dir, source):
    if source == "msgpack":
        from flax.serialization import msgpack_serialize

        (folder / "flax_model.msgpack").write_bytes(msgpack_serialize(flax_tree(tensors)))
    else:
        torch, state = torch_tensors(tensors)
        torch.save(state, folder / "pytorch_model.bin")
    words = ["-m", "modeling", "convert", folder, folder / "out", "--tokenizer", tokenizer_dir]
    assert str(folder / "out") in succeed(*words)
    assert load_file(folder / "out" / "model.safetensors").keys() == tensors.keys()
    pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoTokenizer, pipeline

    said = pipeline("text-generation", model=str(folder / "out"))("def add(a, b):", max_new_tokens=5, do_sample=False)
    assert said[0]["generated_text"].startswith("def add(a, b):")
    assert len(AutoTokenizer.from_pretrained(folder / "out")) == 307


def test_convert_refuses_a_folder_that_holds_something(model_dir, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    done = command("-m", "modeling", "convert", model_dir, tmp_path)
    assert done.returncode == 2 and "already holds 1 entries" in done.stderr


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("inside", ["", "sub"])
def test_convert_refuses_an_output_that_it_reads_from_and_moves_nothing(model_dir, tmp_path, inside):
    out = tmp_path / "out"
    convert(Convert(str(model_dir), str(out / inside)))
    before = everything(out)
    with pytest.raises(UserError, match=r"SOURCE .* is, or lies in, the output folder"):
        convert(Convert(str(out / inside), str(tmp_path / "x" / ".." / "out"), overwrite_output_dir=True))
    with pytest.raises(UserError, match=r"--tokenizer .* is, or lies in, the output folder"):
        convert(Convert(str(model_dir), str(out), tokenizer=str(out / inside), overwrite_output_dir=True))
    assert everything(out) == before


def test_convert_refuses_a_tokenizer_folder_without_a_tokenizer(model_dir, tmp_path):
    for folder in (tmp_path / "nope", tmp_path):
        with pytest.raises(UserError, match=r"holds no tokenizer; wanted a folder with any of tokenizer\.json"):
            convert(Convert(str(model_dir), str(tmp_path / "out"), tokenizer=str(folder)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_convert_looks_at_the_output_before_it_reads_weights(folder, tmp_path_factory, overwrite):
    """This source has none, which would be the next complaint."""
    out = tmp_path_factory.mktemp("out")
    (out / "config.json").write_text("mine")
    with pytest.raises(OutputNotEmpty):
        convert(Convert(str(folder), str(out), overwrite_output_dir=overwrite))
    assert everything(out) == {(out / "config.json").relative_to(out): b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_convert_may_be_repeated_after_weights_that_could_not_be_read(folder, model_dir, tmp_path_factory, overwrite):
    words = Convert(str(folder), str(tmp_path_factory.mktemp("out")), overwrite_output_dir=overwrite)
    with pytest.raises(CheckpointError, match="no weights in"):
        convert(words)
    (folder / "model.safetensors").write_bytes((model_dir / "model.safetensors").read_bytes())
    convert(words)


def test_convert_names_only_what_is_missing(model_dir, tmp_path):
    done = command("-m", "modeling", "convert", model_dir)
    assert done.returncode == 2 and "required: --output_dir" in done.stderr
    out = tmp_path / "out"
    assert str(out) in succeed("-m", "modeling", "convert", model_dir, "--output_dir", out)
    flags = tmp_path / "flags.json"
    flags.write_text(json.dumps({"source": str(model_dir), "output_dir": str(tmp_path / "two")}))
    assert str(tmp_path / "two") in succeed("-m", "modeling", "convert", flags)
