"""Loading in place: any sharding, any format, any precision, and how much memory it takes."""

from __future__ import annotations

import json
import shutil
from math import prod

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors.numpy import load_file

import modeling
from modeling import weights
from modeling.decoder import config_from_hf, family
from modeling.table import map_rows
from tests.conftest import TINY, succeed
from tests.modeling.test_families import CONFIGS

# Two axes of two devices and one of two that every leaf is replicated over. Sizes divide by 2 and not by 4.
SIZES = {"vocab_size": 307, "n_embd": 40, "n_inner": 54, "n_head": 4, "n_positions": 62, "n_layer": 2}
NEO = {"hidden_size": 40, "intermediate_size": 54, "num_heads": 4, "max_position_embeddings": 62, "num_layers": 2}
FAMILIES = {
    "gpt_neo": TINY | NEO | {"attention_types": [[["global", "local"], 1]]},
    **{name: CONFIGS[name] | SIZES for name in ("gptj", "codegen", "gpt2")},
}
SPECS = {
    "replicated": lambda axes: [None for _ in axes],
    "rows": lambda axes: [None, "a", *axes[2:]] if axes[0] == "L" else ["a", *axes[1:]],
    "rows and columns": lambda axes: ["a" if axes[0] != "L" or len(axes) == 1 else None, "b", *axes[2:]],
    "columns over all": lambda axes: [*axes[:-1], ("a", "b")],
    "layers": lambda axes: ["b" if axes[0] == "L" else None, *axes[1:-1], "a"],
}


@pytest.fixture(scope="module", params=FAMILIES)
def folders(request, tmp_path_factory):
    """One random model of a family in all three formats."""
    from tests.modeling.test_tensor_files import flax_tree

    config = config_from_hf(FAMILIES[request.param])
    root = tmp_path_factory.mktemp("formats")
    model = modeling.Model(config, modeling.init_params(config, 7))
    modeling.save(root / "safetensors", model)
    tensors = load_file(root / "safetensors" / "model.safetensors")
    for name in ("msgpack", "torch"):
        (root / name).mkdir()
        shutil.copy(root / "safetensors" / "config.json", root / name)
    from flax.serialization import msgpack_serialize

    # flax kept the Conv1D kernels of GPT-2 as [out, in]: flax_tree transposes them like any kernel
    (root / "msgpack" / "flax_model.msgpack").write_bytes(msgpack_serialize(flax_tree(tensors)))
    torch = pytest.importorskip("torch", reason="torch writes its own format; ./run.sh test installs it")
    state = {name: torch.tensor(value) for name, value in tensors.items()}
    torch.save(state, root / "torch" / "pytorch_model.bin")
    return root


def shardings(config, spec):
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 2, 2), ("a", "b", "c"))

    def place(row):
        shape = row.shape(config.sizes)
        names = [axis if axis in ("a", "b", ("a", "b")) else None for axis in SPECS[spec](row.axes.split())]
        sizes = {"a": 2, "b": 2, ("a", "b"): 4, None: 1}
        fitting = [name if n % sizes[name] == 0 else None for name, n in zip(names, shape, strict=False)]
        return NamedSharding(mesh, PartitionSpec(*fitting))

    return map_rows(family(config).table, place)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("layout", ["safetensors", "msgpack", "torch"])
def test_loading_by_any_sharding_gives_the_bits_of_the_plain_load(folders, layout, spec, monkeypatch):
    monkeypatch.setattr(weights, "PIECE_BYTES", 4096)  # a few rows, so that every matrix is filled piece by piece
    plain = modeling.load(folders / "safetensors")
    places = shardings(plain.config, spec)
    found = modeling.load(folders / layout, shardings=places)
    jax.tree.map(np.testing.assert_array_equal, found.params, plain.params)
    jax.tree.map(lambda leaf, place: leaf.sharding.is_equivalent_to(place, leaf.ndim) or pytest.fail(str(place)),
                 found.params, places)  # fmt: skip


def test_pieces_of_any_size_give_the_same_bits(folders, monkeypatch):
    whole = modeling.load(folders / "safetensors")
    for piece_bytes in (1, 1000, 7919):
        monkeypatch.setattr(weights, "PIECE_BYTES", piece_bytes)
        jax.tree.map(np.testing.assert_array_equal, modeling.load(folders / "safetensors").params, whole.params)


def test_vocabulary_padding_is_zero(folders):
    model = modeling.load(folders / "safetensors")
    assert model.params["embed"]["tokens"].shape == (384, 40)
    assert not model.params["embed"]["tokens"][307:].any() and model.params["embed"]["tokens"][:307].any()


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_a_bfloat16_load_is_the_float32_load_rounded(folders, tmp_path, stored):
    modeling.save(tmp_path, modeling.load(folders / "torch"), dtype=stored)
    model = modeling.load(tmp_path)
    half = modeling.load(tmp_path, dtype="bfloat16")

    def rounded(row, wanted, found):
        assert found.dtype == ("bfloat16" if row.decay else "float32")
        np.testing.assert_array_equal(found, wanted.astype(found.dtype))

    jax.tree.map(rounded, map_rows(family(model.config).table, lambda row: row), model.params, half.params)


def test_a_damaged_torch_file_is_refused_by_its_checksum(folders):
    path = folders / "torch" / "pytorch_model.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    try:
        with pytest.raises(weights.CheckpointError, match=r"pytorch_model\.bin is damaged"):
            modeling.load(folders / "torch")
    finally:
        path.write_bytes(whole)


# --- memory -------------------------------------------------------------------------------------------------------

MEASURE = """
import json, resource, sys
import jax, jax.numpy as jnp, modeling
from modeling.decoder import config_from_hf
from pathlib import Path

def rss(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

action, folder, hf = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
jax.jit(lambda x: x + 1)(jnp.zeros(3)).block_until_ready()
if action == "load":
    before = rss("VmRSS")
    model = modeling.load(folder)
else:
    config = config_from_hf(hf)
    shapes = jax.eval_shape(lambda: modeling.init_params(config, 0))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, leaf.dtype), shapes)
    jax.block_until_ready(params)
    before = rss("VmRSS")
    modeling.save(folder, modeling.Model(config, params), dtype=action, max_shard_size="1GB")
    params = model = None
print(json.dumps({"above": rss("VmHWM") - before}))
"""


def measured(action, folder, hf):
    """Bytes of memory at the peak above those before, in a process of its own with one device."""
    return json.loads(succeed("-c", MEASURE, action, folder, json.dumps(hf), timeout=1200).splitlines()[-1])["above"]


def wide(**sizes):
    return TINY | {"attention_types": [[["global"], sizes["num_layers"]]], "num_heads": 4} | sizes


def sizes_of(hf):
    """Bytes of the params in memory, float32, and of the two largest tensors of their checkpoint."""
    config = config_from_hf(hf)
    table = family(config).table
    tensors = sorted(prod(row.hf_shape(config.sizes)) for row in table for _ in row.hf_names(config.sizes))
    return 4 * sum(prod(row.shape(config.sizes)) for row in table), 4 * sum(tensors[-2:])


def test_loading_holds_no_leaf_on_the_host_beside_its_devices(tmp_path):
    """The largest leaf has 134 MB; pieces and what a process needs for itself have 55, compilation included."""
    hf = wide(num_layers=8, hidden_size=1024, intermediate_size=4096)
    measured("bfloat16", tmp_path, hf)
    largest_leaf = 4 * 8 * 1024 * 4096
    assert measured("load", tmp_path, hf) - sizes_of(hf)[0] < 0.8 * largest_leaf


@pytest.mark.long
def test_a_model_of_a_billion_parameters_loads_in_its_size_and_two_tensors(tmp_path):
    hf = wide(num_layers=24, hidden_size=2048, intermediate_size=8192, vocab_size=50257, max_position_embeddings=2048)
    params, two_largest = sizes_of(hf)
    if shutil.disk_usage(tmp_path).free < params:
        pytest.skip(f"{tmp_path} has less than {params / 1e9:.0f} GB free")
    written = measured("bfloat16", tmp_path, hf)
    loaded = measured("load", tmp_path, hf)
    print(f"params {params / 1e6:.0f} MB, two largest tensors {two_largest / 1e6:.0f} MB")
    print(f"above the params: {(loaded - params) / 1e6:.0f} MB to load, {written / 1e6:.0f} MB to save")
    assert loaded - params < two_largest and written < two_largest
