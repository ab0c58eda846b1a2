"""Checkpoint: a model directory in Hugging Face's layout, read and written.

What is written here, `transformers` loads in torch without any code of ours.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from huggingface_hub import split_state_dict_into_shards_factory

from interface.files import open_atomically, write_json
from modeling.adapter_files import is_adapter, read_adapters, read_described
from modeling.config import DecoderConfig
from modeling.decoder import config_from_hf, family
from modeling.hub import TOKENIZER_FILES, resolve
from modeling.lora import attach, merged
from modeling.table import Params, get, hf_entries, hf_tensor, map_rows
from modeling.tensor import CheckpointError
from modeling.tensor_files import WEIGHT_FILES, open_tensors
from modeling.tensor_writer import write_safetensors
from modeling.weights import params_from_hf

MAX_SHARD_SIZE = "5GB"  # as transformers
GENERATION_CONFIG = "generation_config.json"
INDEX = "model.safetensors.index.json"


class Model(NamedTuple):
    """A decoder: its config, and its params as a plain nested dict of arrays, float32 where not asked otherwise."""

    config: DecoderConfig
    params: Params


def read_config(model: str | Path, revision: str | None = None, cache_dir: str | Path | None = None) -> DecoderConfig:
    """Read a model's config.json from its folder, from the file itself, or from the Hub; of adapters their model's."""
    path = Path(model).expanduser()
    if path.suffix != ".json" or revision is not None:
        folder = resolve(model, revision, cache_dir, weights=False)
        if is_adapter(folder):
            of = read_described(folder)
            return read_config(of.base, of.revision, cache_dir)
        path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"no config.json at {path}; a model folder holds config.json and model.safetensors")
    try:
        hf = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); it may be cut short, fetch or write it again") from error
    if not isinstance(hf, dict):
        raise CheckpointError(f"{path} holds a {type(hf).__name__}; wanted one JSON object, fetch or write it again")
    return config_from_hf(hf)


def load(
    model: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    *,
    dtype: str = "float32",
    shardings: Params | None = None,
    base: str | Path | None = None,
) -> Model:
    """Load a decoder from a folder or the Hub; adapters (PEFT's LoRA) with their model, merged into it.

    dtype: of the matrices; bfloat16 halves the memory of a model that only samples. Biases and norms are float32.
    shardings: a tree like the params of NamedSharding, by which each tensor is read straight to its devices;
        without it they lie on the default device.
    base: the model that adapters are for, where it is not where their configuration says.
    Raises: CheckpointError, UnsupportedConfig, BadAdapter.
    """
    folder = resolve(model, revision, cache_dir)
    if is_adapter(folder):
        of = read_described(folder)
        name, commit = (of.base, of.revision) if base is None else (base, None)
        bare = load(name, commit, cache_dir, dtype=dtype, shardings=shardings)
        whole = merged(attach(bare.params, read_adapters(folder, bare.config, of.lora), of.lora))
        held = map_rows(family(bare.config).table, lambda row: get(whole, row.path).astype(row.precision(dtype)))
        return Model(bare.config, held)
    config = read_config(folder)
    kind = family(config)
    tensors = open_tensors(folder)
    return Model(config, params_from_hf(kind.table, config, tensors, kind.ignored, str(folder), dtype, shardings))


def weights_fingerprint(folder: Path) -> str:
    """Name a model's weights by the name, size and first and last kilobytes of their files, whatever their size."""
    digest = hashlib.sha256()
    for path in sorted(p for names in WEIGHT_FILES for name in names for p in folder.glob(name)):
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1 << 16)
            file.seek(max(size - (1 << 16), 0))
            digest.update(f"{path.name} {size} ".encode() + head + file.read())
    return digest.hexdigest()[:16]


def save(
    folder: str | Path,
    model: Model,
    *,
    tokenizer_dir: str | Path | None = None,
    eos_token_id: int | None = None,
    dtype: str = "float32",
    max_shard_size: str | int = MAX_SHARD_SIZE,
) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files into `folder`.

    Weights beyond `max_shard_size` become shards with an index. Each file is written beside and
    renamed. Tied heads and vocabulary padding are left out, as torch expects.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    kind = family(config)
    eos = config.to_hf().get("eos_token_id") if eos_token_id is None else eos_token_id
    described = config.to_hf() | {"architectures": [kind.architecture], "dtype": dtype}
    described.pop("torch_dtype", None)  # the older name of dtype; two could disagree
    described |= {"bos_token_id": eos, "eos_token_id": eos}
    _write_weights(folder, model, dtype, max_shard_size)
    write_json(folder / "config.json", described)
    write_generation_config(folder, eos)
    if tokenizer_dir is not None:
        copy_tokenizer(Path(tokenizer_dir), folder)


def write_generation_config(folder: Path, eos_token_id: int | None) -> None:
    """Write by which token texts end."""
    tokens = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), eos_token_id)
    write_json(folder / GENERATION_CONFIG, tokens)


def end_of_text(folder: Path) -> int | None:
    """The token by which a folder's generation_config.json says that texts end, where it says so."""
    path = folder / GENERATION_CONFIG
    found = json.loads(path.read_text()).get("eos_token_id") if path.is_file() else None
    return found if isinstance(found, int) else None


def plan_weights(config: DecoderConfig, dtype: str = "float32", max_shard_size: str | int = MAX_SHARD_SIZE) -> Any:
    """Which tensors go into which file: `filename_to_tensors`, and the index where there are several."""
    true_sizes = {**config.sizes, "V": config.vocab_size}
    return split_state_dict_into_shards_factory(
        {name: row.hf_shape(true_sizes) for name, (row, _) in hf_entries(family(config).table, config.sizes).items()},
        get_storage_size=lambda shape: prod(shape) * jnp.dtype(dtype).itemsize,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )


def file_names(config: DecoderConfig, dtype: str = "float32") -> list[str]:
    """The names of all files that `save` may write for a model."""
    return [
        "config.json",
        GENERATION_CONFIG,
        INDEX,
        *TOKENIZER_FILES,
        *plan_weights(config, dtype).filename_to_tensors,
    ]


def _write_weights(folder: Path, model: Model, dtype: str, max_shard_size: str | int) -> None:
    """Write safetensors, one tensor in memory at a time."""
    config = model.config
    entries = hf_entries(family(config).table, config.sizes)
    true_sizes = {**config.sizes, "V": config.vocab_size}
    plan = plan_weights(config, dtype, max_shard_size)
    for name, members in plan.filename_to_tensors.items():
        shapes = {member: entries[member][0].hf_shape(true_sizes) for member in members}
        with open_atomically(folder / name) as file:
            write_safetensors(
                file, shapes, jnp.dtype(dtype), lambda m: hf_tensor(*entries[m], model.params, config.vocab_size)
            )
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_json(folder / INDEX, index)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer's files byte for byte, each atomically."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file() and source.resolve() != target.resolve():
            with (source / name).open("rb") as old, open_atomically(target / name) as new:
                shutil.copyfileobj(old, new)
