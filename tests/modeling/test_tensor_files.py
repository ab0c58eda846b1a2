"""Weights in every format, without torch; and files that lie."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modeling
from modeling.config import UnsupportedConfig
from modeling.tensor import CheckpointError
from modeling.tensor_files import open_tensors
from tests.modeling.conftest import flax_tree, same
from tests.modeling.test_families import CONFIGS


def test_sharded_safetensors_are_read(folder, tensors, model):
    from safetensors.numpy import save_file

    names = sorted(tensors)
    for number in range(3):
        save_file({n: tensors[n] for n in names[number::3]}, folder / f"model-{number}.safetensors")
    index = {n: f"model-{i % 3}.safetensors" for i, n in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert same(modeling.load(folder).params, model.params)


def test_a_folder_with_only_a_flax_msgpack_is_read(folder, tensors, model):
    from flax.serialization import msgpack_serialize

    (folder / "flax_model.msgpack").write_bytes(msgpack_serialize(flax_tree(tensors)))
    assert same(modeling.load(folder).params, model.params)


def test_safetensors_come_before_msgpack_before_torch(model_dir, folder, tensors, model):
    (folder / "flax_model.msgpack").write_bytes(b"junk")
    (folder / "pytorch_model.bin").write_bytes(b"junk")
    (folder / "model.safetensors").write_bytes((model_dir / "model.safetensors").read_bytes())
    assert same(modeling.load(folder).params, model.params)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not a flax msgpack"):
        modeling.load(folder)


def test_a_safetensors_header_that_lies_is_refused(folder):
    header = json.dumps({"x": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        modeling.load(folder)


def test_a_msgpack_of_another_model_names_what_is_missing(folder):
    from flax.serialization import msgpack_serialize

    (folder / "flax_model.msgpack").write_bytes(msgpack_serialize({"encoder": {"kernel": np.zeros((2, 2))}}))
    with pytest.raises(CheckpointError, match=r"missing: transformer\.h\.0.*unknown: .*encoder\.weight"):
        modeling.load(folder)
    (folder / "flax_model.msgpack").write_bytes(msgpack_serialize({"step": 3}))
    with pytest.raises(CheckpointError, match="holds a int at step"):
        modeling.load(folder)


@pytest.mark.parametrize("named", [{"b": 1}, [1], 1, None])
def test_an_index_that_names_no_file_is_refused(folder, named):
    index = json.dumps({"weight_map": {"a": named, "b": "model-1.safetensors"}})
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"is no index of shards|which is not a file of its own folder"):
        open_tensors(folder)


@pytest.mark.parametrize(
    ("family", "change", "wanted"),
    [
        ("gpt2", {"n_embd": "768"}, "n_embd '768'; wanted a whole number from 1"),
        ("gpt2", {"n_head": 0}, "n_head 0;"),
        ("gpt2", {"n_head": 1000}, "does not divide into 1000 heads"),
        ("gpt2", {"n_layer": True}, "n_layer True;"),
        ("gpt2", {"n_inner": "53"}, "n_inner '53';"),
        ("gptj", {"n_positions": 64.0}, r"n_positions 64\.0;"),
        ("gptj", {"rotary_dim": "4"}, "rotary_dim '4';"),
        ("gptj", {"n_inner": [53]}, r"n_inner \[53\];"),
        ("codegen", {"n_head": -4}, "n_head -4;"),
        ("gpt_neo", {"vocab_size": -1}, "vocab_size -1;"),
        ("gpt_neo", {"num_layers": {}}, "num_layers {};"),
        ("gpt_neo", {"intermediate_size": "53"}, "intermediate_size '53';"),
        ("gpt_neo", {"window_size": "5"}, "window_size '5';"),
    ],
)
def test_a_size_that_is_none_is_refused(folder, family, change, wanted):
    config = next(config for config in CONFIGS.values() if config["model_type"] == family)
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UnsupportedConfig, match=wanted):
        modeling.read_config(folder)


@pytest.mark.parametrize(("written", "wanted"), [("[1]", "a list"), ('"x"', "a str"), ("null", "a NoneType")])
def test_a_config_that_is_no_json_object_is_refused(folder, written, wanted):
    (folder / "config.json").write_text(written)
    with pytest.raises(CheckpointError, match=f"holds {wanted}; wanted one JSON object"):
        modeling.read_config(folder)


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x80\x02junk", b"PK\x03\x04junk"])
def test_junk_is_refused_in_every_format(folder, junk):
    for name in ("model.safetensors", "flax_model.msgpack", "pytorch_model.bin"):
        (folder / name).write_bytes(junk)
        with pytest.raises(CheckpointError):
            modeling.load(folder)
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match="no weights in"):
        modeling.load(folder)


def test_weights_beyond_the_shard_size_become_shards_that_torch_loads(model, model_dir, tmp_path):
    modeling.save(tmp_path, model, max_shard_size=20_000)
    shards = sorted(path.name for path in tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2 and not (tmp_path / "model.safetensors").exists()
    assert same(modeling.load(tmp_path).params, model.params)
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM

    one, two = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (tmp_path, model_dir))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
