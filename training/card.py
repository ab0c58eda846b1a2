"""Card of a run: its summary, and what is known of its data and its base model, as a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_processing.apps_problems import HUB_DATASET
from data_processing.datasheet import brief
from data_processing.row_source import RowSource
from data_processing.workplace import MANIFEST
from interface.errors import UserError
from interface.model_card import Card, Score, is_hub_id
from training.completions import PROBLEMS
from training.summary import Summary

PATCH = "tokenizer_patch.json"  # of a model whose tokenizer was patched
UNKNOWN = "The licences of the training code were not recorded."
RECIPE = (
    "block_size", "max_steps", "num_train_epochs", "optim", "learning_rate", "lr_scheduler_type", "warmup_steps",
    "warmup_ratio", "decay_steps", "adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay", "max_grad_norm",
    "per_device_train_batch_size", "gradient_accumulation_steps", "dtype", "segment_ids", "placement", "mesh", "remat",
    "attention", "lora_rank", "lora_alpha", "lora_targets", "seed",
)  # fmt: skip


def card_of(summary: Summary, figures: Mapping[str, str]) -> Card:
    """The card of a run. `figures` are files beside it, and what they show."""
    configuration = summary.configuration
    source = RowSource(**{name: configuration[name] for name in RowSource.__dataclass_fields__})
    datasets, text, licenses = _data(configuration, source)
    data = datasets[0] if datasets else "code"
    spoken = datasets[0] if datasets else "the corpus"
    scores = [Score(name, value, data, f"{spoken}, validation split") for name, value in summary.scores.items()]
    for benchmark in summary.benchmarks:
        scores += [Score(name, value, benchmark.name, benchmark.name) for name, value in benchmark.metrics.items()]
    base = configuration["model_name_or_path"]
    origin = _origin(base)
    tokens = f"{summary.last['tokens']:,} tokens in {summary.step:,} optimizer steps"
    lora = configuration.get("lora_rank") is not None
    made = "Adapters trained beside" if lora else "Fine-tuned from"
    start = f"{made} {base} on {tokens}." if base else f"Trained from scratch on {tokens}."
    return Card(
        name=configuration["run_name"],
        repo=configuration.get("hub_model_id") or configuration["run_name"],
        start=start,
        prompt=PROBLEMS[0] if source.is_pairs else "def add(a, b):\n",
        max_length=512 if source.is_pairs else 50,
        figures=figures,
        scores=scores,
        command=summary.facts.get("command", "not recorded"),
        data=text,
        data_licenses=licenses,
        recipe={name: configuration[name] for name in RECIPE if configuration.get(name) is not None},
        overview=summary.facts.get("overview", {}),
        versions=summary.facts.get("versions", {}),
        base_model=origin,
        adapted=base if lora else None,
        license=_license(base, origin, configuration.get("revision"), configuration.get("cache_dir")),
        datasets=datasets,
    )


def _origin(base: str | None) -> str | None:
    """The Hub id of the model that training started from; behind a patched tokenizer, that of the model patched."""
    if base and (Path(base) / PATCH).is_file():
        try:
            base = json.loads((Path(base) / PATCH).read_text())["source"]
        except (OSError, ValueError, KeyError):
            return None
    return base if is_hub_id(base) else None


def _license(base: str | None, origin: str | None, revision: str | None, cache_dir: str | None) -> str | None:
    """The licence that the base model's own card names, if it can be read."""
    from huggingface_hub import ModelCard, hf_hub_download

    try:
        if base and (Path(base) / "README.md").is_file():
            found = ModelCard.load(Path(base) / "README.md").data.license
        elif origin:
            revision = revision if origin == base else None
            path = hf_hub_download(origin, "README.md", revision=revision, cache_dir=cache_dir)
            found = ModelCard.load(path).data.license
        else:
            return None
    except Exception:  # no network, no such file, metadata that cannot be read: then it is not known
        return None
    return found if isinstance(found, str) else None


def _data(configuration: Mapping[str, Any], source: RowSource) -> tuple[list[str], str, str]:
    """Hub ids of the data, what is known of it as markdown, and a sentence on its licences."""
    folder = configuration["data_dir"]
    name = configuration["dataset_name"]
    if folder and str(folder).startswith("hf://datasets/"):
        found = "/".join(str(folder).removeprefix("hf://datasets/").split("/")[:2]).partition("@")[0]
        return [found], f"[{found}](https://huggingface.co/datasets/{found}), read as {folder}.", UNKNOWN
    if folder and (Path(folder) / MANIFEST).is_file():
        try:
            return [], *brief(json.loads((Path(folder) / MANIFEST).read_text()))
        except (OSError, ValueError, KeyError, UserError):
            pass  # a manifest of something else
    if source.is_pairs and not folder and str(name).endswith("apps.py"):
        text = f"APPS, [{HUB_DATASET}](https://huggingface.co/datasets/{HUB_DATASET}): programming problems with "
        return [HUB_DATASET], f"{text}solutions that people wrote. The loss falls on the solutions alone.", UNKNOWN
    if is_hub_id(name):
        return [name], f"[{name}](https://huggingface.co/datasets/{name}).", UNKNOWN
    where = configuration["train_file"] or folder or name
    pairs = " Prompts and answers; the loss falls on the answers alone." if source.is_pairs else ""
    return [], f"`{where}`, of which no datasheet was found.{pairs}", UNKNOWN
