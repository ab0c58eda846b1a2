"""Torch's zip format without torch; and pickles that want more than tensors."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

import modeling
from modeling.tensor import CheckpointError
from modeling.tensor_files import open_tensors
from tests.conftest import ROOT
from tests.modeling.conftest import same, torch_tensors


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
