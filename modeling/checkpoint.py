"""Checkpoint: a model directory in Hugging Face's layout, read and written.

What is written here, `transformers` loads in torch without any code of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from fnmatch import fnmatch
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors.numpy import save as serialize

from interface.files import open_atomically, write_json
from modeling.config import DecoderConfig
from modeling.decoder import config_from_hf, family
from modeling.table import Params, Row, Table, hf_entries, hf_tensor, map_rows, pad_vocabulary
from modeling.tensor_files import WEIGHT_FILES, CheckpointError, Tensors, open_tensors

# Everything that a tokenizer may consist of. Copied as it is, so that a checkpoint's tokenizer is its source's.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


MAX_SHARD_SIZE = "5GB"  # as transformers
INDEX = "model.safetensors.index.json"


class Model(NamedTuple):
    """A decoder: its config, and its params as a plain nested dict of float32 arrays."""

    config: DecoderConfig
    params: Params


def resolve(model: str, revision: str | None = None) -> Path:
    """Find a model's folder: a local path, or a Hub id, which is downloaded to the Hugging Face cache."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1 or "/" not in model:
        raise CheckpointError(f"no model folder at {model}; wanted a local folder with a config.json, or a Hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_patterns(model, revision)))
    except Exception as error:  # the client raises many kinds: no network, no such repository, no permission
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{model} is no local folder and could not be fetched from the Hub ({cause}); give a folder, check the id, "
            "or set HF_TOKEN for a private repository"
        ) from error


def _patterns(model: str, revision: str | None) -> list[str]:
    """The files to fetch: config, tokenizer, and the weights in the first of the formats that the repository has."""
    from huggingface_hub import HfApi

    there = HfApi().list_repo_files(model, revision=revision)
    weights = next((list(names) for names in WEIGHT_FILES if any(fnmatch(f, n) for f in there for n in names)), [])
    return ["config.json", "generation_config.json", *TOKENIZER_FILES, *weights]


def read_config(model: str | Path) -> DecoderConfig:
    """Read a model's config.json from its folder, from the file itself, or from the Hub."""
    path = Path(model).expanduser()
    if path.suffix != ".json":
        path = resolve(str(model)) / "config.json"
    if not path.is_file():
        raise CheckpointError(f"no config.json at {path}; a model folder holds config.json and model.safetensors")
    try:
        hf = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); it may be cut short, fetch or write it again") from error
    return config_from_hf(hf)


def load(model: str | Path, revision: str | None = None) -> Model:
    """Load a decoder from a folder or the Hub, as float32.  Raises: CheckpointError, UnsupportedConfig."""
    folder = resolve(str(model), revision)
    config = read_config(folder)
    kind = family(config)
    return Model(config, params_from_hf(kind.table, config, open_tensors(folder), kind.ignored, str(folder)))


def weights_fingerprint(model: str) -> str:
    """Name a model's weights by the name, size and first and last kilobytes of their files, whatever their size."""
    digest = hashlib.sha256()
    folder = resolve(model)
    for path in sorted(p for names in WEIGHT_FILES for name in names for p in folder.glob(name)):
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1 << 16)
            file.seek(max(size - (1 << 16), 0))
            digest.update(f"{path.name} {size} ".encode() + head + file.read())
    return digest.hexdigest()[:16]


def params_from_hf(
    table: Table, config: DecoderConfig, tensors: Tensors, ignored: tuple[str, ...], source: str
) -> Params:
    """Arrange Hugging Face tensors as our params, float32.  Raises: CheckpointError naming every misfit at once."""
    wanted = {name: row for row in table for name in row.hf_names(config.sizes)}
    bare = not any(name.startswith("transformer.") for name in tensors)
    if bare:  # saved without a head, as the repository gpt2 is
        tensors = {name if name.startswith("lm_head.") else f"transformer.{name}": v for name, v in tensors.items()}
    missing = sorted(wanted.keys() - tensors.keys())
    unused = sorted(name for name in tensors.keys() - wanted.keys() if not any(re.fullmatch(p, name) for p in ignored))
    true_sizes = {**config.sizes, "V": config.vocab_size}
    misfits = []
    for name, row in wanted.items():
        if name in tensors and (found := tensors[name].shape) != (fit := row.hf_shape(true_sizes)):
            misfits.append(f"{name} {found}, wanted {fit}")
    if missing or unused or misfits:
        found_bad = [
            f"{len(names)} {what}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for what, names in (("missing", missing), ("unknown", unused), ("of another shape", misfits))
            if names
        ]
        raise CheckpointError(f"the weights in {source} do not fit its config: {'; '.join(found_bad)}")

    def arrange(row: Row) -> jnp.ndarray:
        """One leaf, filled tensor by tensor, so that no more than it and one tensor lie on the host."""
        if not row.stacked:
            value = row.layout.from_hf(tensors[row.hf].read().astype(np.float32))
            return jnp.asarray(pad_vocabulary(row, value, config.table_rows))
        value = np.empty(row.shape(true_sizes), np.float32)
        for layer, name in enumerate(row.hf_names(config.sizes)):
            value[layer] = row.layout.from_hf(tensors[name].read())
        return jnp.asarray(value)

    return map_rows(table, arrange)


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
    write_json(folder / "generation_config.json", {"bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos})
    if tokenizer_dir is not None:
        copy_tokenizer(Path(tokenizer_dir), folder)


def plan_weights(config: DecoderConfig, dtype: str = "float32", max_shard_size: str | int = MAX_SHARD_SIZE) -> Any:
    """Which tensors go into which file: `filename_to_tensors`, and the index where there are several."""
    true_sizes = {**config.sizes, "V": config.vocab_size}
    return split_state_dict_into_shards_factory(
        {name: row.hf_shape(true_sizes) for name, (row, _) in hf_entries(family(config).table, config.sizes).items()},
        get_storage_size=lambda shape: prod(shape) * jnp.dtype(dtype).itemsize,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )


def _write_weights(folder: Path, model: Model, dtype: str, max_shard_size: str | int) -> None:
    """Write safetensors, one file's tensors in memory at a time."""
    config = model.config
    entries = hf_entries(family(config).table, config.sizes)
    plan = plan_weights(config, dtype, max_shard_size)
    for name, members in plan.filename_to_tensors.items():
        tensors = {
            member: hf_tensor(*entries[member], model.params, config.vocab_size).astype(jnp.dtype(dtype))
            for member in members
        }
        with open_atomically(folder / name) as file:
            # readers before transformers 5 refuse a file without this entry
            file.write(serialize(tensors, metadata={"format": "pt"}))
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_json(folder / INDEX, index)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer's files byte for byte, each atomically."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file() and source.resolve() != target.resolve():
            with (source / name).open("rb") as old, open_atomically(target / name) as new:
                shutil.copyfileobj(old, new)
