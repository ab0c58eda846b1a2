"""Adapter files: adapters of low rank as PEFT has them, adapter_config.json and adapter_model.safetensors.

What is written here, `peft` loads in torch; what `peft` wrote for our families is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from interface.files import open_atomically, write_json
from modeling.config import DecoderConfig
from modeling.lora import (
    BadAdapter,
    Lora,
    adapted_rows,
    adapter_sizes,
    adapter_table,
    stored_as_inputs_by_outputs,
    targets_of,
)
from modeling.table import Params, Row, hf_entries, hf_tensor, map_rows
from modeling.tensor import Tensors
from modeling.tensor_files import open_safetensors
from modeling.tensor_writer import write_safetensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What PEFT can do beside plain LoRA; each must be as here, for a forward pass of ours knows nothing of it.
PLAIN = {
    "peft_type": "LORA", "bias": "none", "use_rslora": False, "use_dora": False, "rank_pattern": {},
    "alpha_pattern": {}, "modules_to_save": None, "layers_to_transform": None, "trainable_token_indices": None,
    "target_parameters": None, "exclude_modules": None, "alora_invocation_tokens": None, "layer_replication": None,
    "use_qalora": False, "use_bdlora": None, "lora_bias": False, "velora_config": None, "monteclora_config": None,
    "arrow_config": None, "kasa_config": None,
}  # fmt: skip
# Initial values that leave the model as it is. Others ("pissa", "olora", "loftq") are taken off its weights, so that
# their adapters are of other weights than the model's.
INITIAL = (None, True, False, "gaussian", "eva")


class Described(NamedTuple):
    """What an adapter_config.json says: how the adapters were made, and of which model."""

    lora: Lora
    base: str  # a folder or Hub id
    revision: str | None


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds adapters, and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def write_adapters(
    folder: Path, config: DecoderConfig, lora: Lora, adapters: Params, base: str, revision: str | None = None
) -> None:
    """Write both files; `base` is the folder or Hub id of the model that is adapted, and `revision` the id's."""
    table = adapter_table(config, lora)
    entries = hf_entries(table, config.sizes)
    shapes = {name: row.hf_shape(adapter_sizes(config, lora)) for name, (row, _) in entries.items()}
    with open_atomically(folder / WEIGHTS) as file:
        write_safetensors(
            file, shapes, jnp.dtype("float32"), lambda name: hf_tensor(*entries[name], adapters, config.vocab_size)
        )
    write_json(
        folder / CONFIG,
        {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "revision": revision,
            "r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": 0.0, "bias": "none",
            "target_modules": targets_of(config, lora), "inference_mode": True,
            "fan_in_fan_out": any(stored_as_inputs_by_outputs(row, config) for row in adapted_rows(config, lora)),
        },
    )  # fmt: skip


def read_described(folder: Path) -> Described:
    """Read an adapter_config.json.  Raises: BadAdapter where it is none, or of another kind than plain LoRA."""
    path = folder / CONFIG
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        rank, alpha, targets = found["r"], found["lora_alpha"], found["target_modules"]
        base = found["base_model_name_or_path"]
        if type(rank) is not int or rank < 1 or not isinstance(base, str) or isinstance(alpha, str):
            raise ValueError(f"r {rank!r}, lora_alpha {alpha!r}, base_model_name_or_path {base!r}")
        alpha = float(alpha)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadAdapter(
            f"{path} is no configuration of PEFT's LoRA ({error!r}); wanted r, lora_alpha, target_modules and "
            "base_model_name_or_path. Fetch or write it again"
        ) from error
    for name, plain in PLAIN.items():
        if (found.get(name) or plain) != plain:
            raise BadAdapter(
                f"{path} says {name} {found[name]!r}; only plain LoRA ({name} {plain!r}) is read here. Merge it with "
                "peft's merge_and_unload, and take the whole model"
            )
    if (initial := found.get("init_lora_weights")) not in INITIAL:
        raise BadAdapter(
            f"{path} says init_lora_weights {initial!r}, whose adapters are not of the model's own weights; load them "
            "with peft, merge_and_unload, and take the whole model"
        )
    if not isinstance(targets, list) or not all(isinstance(name, str) and "." not in name for name in targets):
        raise BadAdapter(f'{path} says target_modules {targets!r}; wanted a list of module names, such as ["q_proj"]')
    return Described(Lora(rank, alpha, tuple(targets)), base, found.get("revision"))


def read_adapters(folder: Path, config: DecoderConfig, lora: Lora) -> Params:
    """Read the adapters of a model with this config.  Raises: BadAdapter naming every misfit, CheckpointError."""
    table, sizes = adapter_table(config, lora), adapter_sizes(config, lora)
    if not (folder / WEIGHTS).is_file():
        raise BadAdapter(f"no {WEIGHTS} in {folder}; wanted it beside {CONFIG}, fetch or write it again")
    tensors = open_safetensors(folder / WEIGHTS)
    wanted = {name: row.hf_shape(sizes) for name, (row, _) in hf_entries(table, config.sizes).items()}
    misfits = [f"{name} is missing" for name in sorted(wanted.keys() - tensors.keys())]
    misfits += [f"{name} is unknown" for name in sorted(tensors.keys() - wanted.keys())]
    misfits += [
        f"{name} is {tensors[name].shape}, wanted {shape}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if misfits:
        raise BadAdapter(
            f"the adapters in {folder} do not fit the model that they are for: {'; '.join(misfits[:6])}"
            f"{'; ...' if len(misfits) > 6 else ''}. Name the model that they were trained on"
        )
    return map_rows(table, lambda row: jnp.asarray(_stack(row, tensors, config)))


def _stack(row: Row, tensors: Tensors, config: DecoderConfig) -> np.ndarray:
    layers = [row.layout.from_hf(tensors[name].read()) for name in row.hf_names(config.sizes)]
    return np.stack(layers).astype(np.float32, copy=False)
