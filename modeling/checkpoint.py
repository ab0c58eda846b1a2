"""Checkpoint: a model directory in Hugging Face's layout, read and written.

What is written here, `transformers` loads in torch without any code of ours.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from interface.errors import UserError
from interface.files import open_atomically, write_json
from modeling.config import DecoderConfig
from modeling.decoder import config_from_hf, family
from modeling.table import Params, Table, hf_tensors, map_rows, pad_vocabulary

# Everything that a tokenizer may consist of. Copied as it is, so that a checkpoint's tokenizer is its source's.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


class CheckpointError(UserError):
    """A model directory is missing, incomplete or does not fit its config."""


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

    wanted = ["config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=wanted))
    except Exception as error:  # the client raises many kinds: no network, no such repository, no permission
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{model} is no local folder and could not be fetched from the Hub ({cause}); give a folder, check the id, "
            "or set HF_TOKEN for a private repository"
        ) from error


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
    return Model(config, _read_params(folder, config))


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name]
        if outside:
            raise CheckpointError(f"{index} names {outside[0]!r}, which is not a file of its own folder")
        return [folder / name for name in names]
    return [folder / "model.safetensors"]


def _read_params(folder: Path, config: DecoderConfig) -> Params:
    kind = family(config)
    tensors: dict[str, np.ndarray] = {}
    for path in _weight_files(folder):
        if not path.is_file():
            raise CheckpointError(f"no weights at {path}; wanted model.safetensors, whole or with its index and shards")
        try:
            with safe_open(path, framework="numpy") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is not a whole safetensors file ({error}); fetch or write it again"
            ) from error
    return params_from_hf(kind.table, config, tensors, kind.ignored, str(folder))


def params_from_hf(
    table: Table, config: DecoderConfig, tensors: dict[str, np.ndarray], ignored: tuple[str, ...], source: str
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
        shape = row.shape(true_sizes)[1:] if row.stacked else row.shape(true_sizes)
        if name in tensors and (found := row.layout.from_hf(tensors[name]).shape) != shape:
            misfits.append(f"{name} {found}, wanted {shape}")
    if missing or unused or misfits:
        found_bad = [
            f"{len(names)} {what}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for what, names in (("missing", missing), ("unknown", unused), ("of another shape", misfits))
            if names
        ]
        raise CheckpointError(f"the weights in {source} do not fit its config: {'; '.join(found_bad)}")

    def arrange(row) -> jnp.ndarray:  # type: ignore[no-untyped-def]
        parts = [row.layout.from_hf(tensors[name]).astype(np.float32) for name in row.hf_names(config.sizes)]
        value = np.stack(parts) if row.stacked else parts[0]
        return jnp.asarray(pad_vocabulary(row, value, config.table_rows))

    return map_rows(table, arrange)


def save(
    folder: str | Path,
    model: Model,
    *,
    tokenizer_dir: str | Path | None = None,
    eos_token_id: int | None = None,
    dtype: str = "float32",
) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files into `folder`.

    Each file is written beside and renamed. Tied heads and vocabulary padding are left out, as torch expects.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    kind = family(config)
    eos = config.to_hf().get("eos_token_id") if eos_token_id is None else eos_token_id
    described = config.to_hf() | {"architectures": [kind.architecture], "dtype": dtype}
    described.pop("torch_dtype", None)  # the older name of dtype; two could disagree
    described |= {"bos_token_id": eos, "eos_token_id": eos}
    tensors = {
        name: value.astype(jnp.dtype(dtype))
        for name, value in hf_tensors(kind.table, config.sizes, model.params, config.vocab_size)
    }
    with open_atomically(folder / "model.safetensors") as file:
        # readers before transformers 5 refuse a file without this entry
        file.write(serialize(tensors, metadata={"format": "pt"}))
    write_json(folder / "config.json", described)
    write_json(folder / "generation_config.json", {"bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos})
    if tokenizer_dir is not None:
        copy_tokenizer(Path(tokenizer_dir), folder)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer's files byte for byte, each atomically."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file() and source.resolve() != target.resolve():
            with (source / name).open("rb") as old, open_atomically(target / name) as new:
                shutil.copyfileobj(old, new)
