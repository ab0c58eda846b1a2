"""Weights in every format, without torch; and files that lie."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

import modeling
from interface.errors import OutputNotEmpty, UserError
from modeling.__main__ import Convert, convert
from modeling.config import UnsupportedConfig
from modeling.tensor import CheckpointError
from modeling.tensor_files import open_tensors
from tests.conftest import ROOT, command, succeed
from tests.modeling.test_families import CONFIGS


def same(one, two) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, two))


@pytest.fixture(scope="module")
def model(model_dir):
    return modeling.load(model_dir)


@pytest.fixture(scope="module")
def tensors(model_dir):
    return load_file(model_dir / "model.safetensors")


@pytest.fixture
def folder(model_dir, tmp_path):
    """A model folder that has its config and no weights yet."""
    (tmp_path / "config.json").write_text((model_dir / "config.json").read_text())
    return tmp_path


def torch_tensors(tensors, kind="float32"):
    torch = pytest.importorskip("torch", reason="torch writes its own format; ./run.sh test installs it")
    state = OrderedDict((name, torch.tensor(value).to(getattr(torch, kind))) for name, value in tensors.items())
    state["transformer.h.0.attn.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)  # an old mask buffer
    state["lm_head.weight"] = state["transformer.wte.weight"]  # shares its storage
    return torch, state


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_torchs_zip_format_is_read_without_torch(folder, tensors, kind):
    torch, state = torch_tensors(tensors, kind)
    torch.save(state, folder / "pytorch_model.bin")
    script = (
        "import sys, numpy, modeling\n"
        "sys.modules['torch'] = None\n"
        f"model = modeling.load({str(folder)!r})\n"
        f"numpy.save({str(folder / 'found.npy')!r}, model.params['blocks']['up'])\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    wanted = [state[f"transformer.h.{layer}.mlp.c_fc.weight"].float().numpy() for layer in range(3)]
    np.testing.assert_array_equal(np.load(folder / "found.npy"), np.stack(wanted))


def test_strides_offsets_and_shards_are_followed(folder, tensors, model):
    torch, state = torch_tensors(tensors)
    name = "transformer.h.1.mlp.c_proj.weight"
    state[name] = torch.cat([torch.zeros(5), state[name].T.contiguous().flatten()])[5:].reshape(53, 21).T
    assert not state[name].is_contiguous() and state[name].storage_offset() == 5
    names = sorted(state)
    for number, part in enumerate((names[::2], names[1::2])):
        torch.save({n: state[n] for n in part}, folder / f"pytorch_model-{number}.bin")
    index = {n: f"pytorch_model-{i % 2}.bin" for i, n in enumerate(names)}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    assert same(modeling.load(folder).params, model.params)


def test_sharded_safetensors_are_read(folder, tensors, model):
    from safetensors.numpy import save_file

    names = sorted(tensors)
    for number in range(3):
        save_file({n: tensors[n] for n in names[number::3]}, folder / f"model-{number}.safetensors")
    index = {n: f"model-{i % 3}.safetensors" for i, n in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert same(modeling.load(folder).params, model.params)


def flax_tree(tensors):
    """The tree that the Flax classes of transformers 4 wrote: kernels [in, out], scale, embedding."""
    tree: dict = {}
    for name, value in tensors.items():
        *parents, last = name.split(".")
        if last == "weight":
            last = (
                "embedding" if parents[-1] in ("wte", "wpe") else "scale" if parents[-1].startswith("ln_") else "kernel"
            )
            value = value.T if last == "kernel" else value
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = np.ascontiguousarray(value)
    return tree


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


class Attack:
    """Unpickled by plain pickle, this runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def zip_with(path, payload: bytes, entries: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        for name, data in (entries or {}).items():
            archive.writestr(name, data)


def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(folder):
    zip_with(folder / "pytorch_model.bin", pickle.dumps({"x": Attack(folder / "owned")}))
    with pytest.raises(
        CheckpointError, match=r"asks for (posix|os)\.system, which no tensor is made of; nothing was run"
    ):
        modeling.load(folder)
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    "name", ["builtins\ngetattr", "builtins\neval", "torch\nload", "torch\n_utils", "collections\nCounter"]
)
def test_every_other_name_is_refused(folder, name):
    zip_with(folder / "pytorch_model.bin", b"c" + name.encode() + b"\n.")
    with pytest.raises(CheckpointError, match="which no tensor is made of"):
        open_tensors(folder)


def text(word: str) -> bytes:
    return pickle.BINUNICODE + len(word).to_bytes(4, "little") + word.encode()


DTYPE_STATE = pickle.dumps((3, ">", None, None, None, 4096, 8, 0), 2)[2:-1]  # of numpy's dtype.__setstate__
ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
SLOTS = b"N}" + text("items") + text("x") + b"s\x86"  # the pair that BUILD takes for attributes


@pytest.mark.parametrize(
    "payload",
    [
        b"ctorch\nBFloat16Storage\n" + DTYPE_STATE + b"b.",
        ORDERED_DICT + SLOTS + b"b.",
        REBUILD + SLOTS + b"b.",
        b"}" + SLOTS + b"b.",
    ],
    ids=["dtype", "class", "function", "dict"],
)
def test_a_pickle_that_sets_a_state_of_something_is_refused_and_changes_nothing(folder, payload):
    zip_with(folder / "pytorch_model.bin", b"\x80\x02" + payload)
    with pytest.raises(CheckpointError, match="sets a state where only a state dict has one; nothing was run"):
        open_tensors(folder)
    assert np.dtype(ml_dtypes.bfloat16).itemsize == 2 and OrderedDict.items.__name__ == "items"


@pytest.mark.parametrize(
    "payload",
    [
        ORDERED_DICT + b")\x81.",  # NEWOBJ
        b"(icollections\nOrderedDict\n.",  # INST
        b"\x82\x01.",  # EXT1
        b"Ptorch\n.",  # PERSID
        b"\x96" + bytes(8) + b".",  # BYTEARRAY8
    ],
    ids=["newobj", "inst", "ext1", "persid", "bytearray8"],
)
def test_an_instruction_that_no_state_dict_needs_is_refused(folder, payload):
    zip_with(folder / "pytorch_model.bin", b"\x80\x02" + payload)
    with pytest.raises(CheckpointError, match="an instruction that no state dict needs; nothing was run"):
        open_tensors(folder)


@pytest.mark.parametrize("state", [b"}" + text("items") + text("x") + b"s", SLOTS])
def test_the_state_of_a_state_dict_is_left_aside(folder, state):
    """Torch leaves `_metadata` there; as an attribute `items` it would hide the method."""
    zip_with(folder / "pytorch_model.bin", b"\x80\x02" + ORDERED_DICT + b")R" + state + b"b.")
    assert open_tensors(folder) == {}


def test_a_module_that_torch_saved_has_metadata_and_is_read(folder):
    torch = pytest.importorskip("torch", reason="torch writes its own format; ./run.sh test installs it")
    module = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.LayerNorm(3))
    assert module.state_dict()._metadata
    for protocol in (2, 4):
        torch.save(module.state_dict(), folder / "pytorch_model.bin", pickle_protocol=protocol)
        found = {name: tensor.read() for name, tensor in open_tensors(folder).items()}
        assert same(found, {name: tensor.numpy() for name, tensor in module.state_dict().items()})


def test_a_storage_that_would_print_as_gigabytes_is_refused_at_once(folder):
    doubled = b"".join(b"q\x00h\x00\x86" for _ in range(60))  # a pair of a pair of a pair
    zip_with(folder / "pytorch_model.bin", b"\x80\x02" + text("x") + doubled + b"Q.")
    with pytest.raises(CheckpointError, match="wanted torch's own form"):
        open_tensors(folder)


def rebuilt(offset, shape, strides, count=6) -> bytes:
    """The pickle of one float32 tensor over a storage of `count` numbers, as torch writes it."""

    class Name:
        def __init__(self, module, name):
            self.module, self.name = module, name

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return Rebuild, (Storage(), offset, shape, strides, False, OrderedDict())

    Rebuild, Float = Name("torch._utils", "_rebuild_tensor_v2"), Name("torch", "FloatStorage")

    class Pickler(pickle._Pickler):
        def save(self, thing, save_persistent_id=True):
            if isinstance(thing, Name):
                self.write(b"c" + thing.module.encode() + b"\n" + thing.name.encode() + b"\n")
                return None
            return super().save(thing, save_persistent_id)

        def save_reduce(self, func, args, *rest, **more):
            if isinstance(func, Name):
                self.save(func)
                self.save(args)
                self.write(pickle.REDUCE)
                return None
            return super().save_reduce(func, args, *rest, **more)

        def persistent_id(self, thing):
            return ("storage", Float, "0", "cpu", count) if isinstance(thing, Storage) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"x": Tensor()})
    return file.getvalue()


def test_a_tensor_by_hand(folder):
    data = np.arange(6, dtype=np.float32).tobytes()
    zip_with(folder / "pytorch_model.bin", rebuilt(1, (2, 2), (1, 2)), {"archive/data/0": data})
    np.testing.assert_array_equal(open_tensors(folder)["x"].read(), [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(3, (2, 2), (2, 1)), (0, (7,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (9, 9), (9, 9)), (0, (0, 2), (1,))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(folder, offset, shape, strides):
    zip_with(folder / "pytorch_model.bin", rebuilt(offset, shape, strides), {"archive/data/0": b"\0" * 24})
    with pytest.raises(CheckpointError, match=r"reaches past its 6 stored numbers|a tensor that cannot be"):
        open_tensors(folder)


def test_a_storage_shorter_than_it_says_is_refused(folder):
    zip_with(folder / "pytorch_model.bin", rebuilt(0, (6,), (1,)), {"archive/data/0": b"\0" * 8})
    with pytest.raises(CheckpointError, match="wanted 24"):
        open_tensors(folder)


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
