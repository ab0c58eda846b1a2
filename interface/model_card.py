"""Model card: README.md of a model, metadata for the Hub first, then text for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interface.errors import OutputNotEmpty
from interface.files import claim, write_text

NAME = "README.md"
TEMPLATE = "model_card.md.j2"
MARK = (
    "<!-- Written by Code Clippy. Without this line a later run leaves the file, and what you changed in it, alone. -->"
)


@dataclass(frozen=True)
class Score:
    """A figure of the model on some data. `metric` and `dataset` are what the Hub calls them."""

    metric: str
    value: float
    dataset: str  # a Hub id or a short word
    dataset_name: str


@dataclass(frozen=True)
class Card:
    """What a model card says. `base_model`, `license`, `datasets` are Hub names; the rest is markdown or plain text.

    `adapted` is the model that the repository holds adapters of, as PEFT finds it; None where it holds a whole model.
    """

    name: str
    repo: str  # what from_pretrained takes
    start: str  # what training started from, in words
    prompt: str  # of the example
    max_length: int
    figures: Mapping[str, str]  # file beside the card -> what it shows
    scores: Sequence[Score]
    command: str
    data: str
    data_licenses: str
    recipe: Mapping[str, Any]
    overview: Mapping[str, str]
    versions: Mapping[str, str]
    base_model: str | None = None
    adapted: str | None = None
    license: str | None = None
    datasets: Sequence[str] = ()
    tags: Sequence[str] = field(default_factory=tuple)


def is_hub_id(name: str | None) -> bool:
    """Whether a name can be that of a repository on the Hub: OWNER/NAME, and no folder here."""
    return bool(name) and bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]*[\w-]", str(name))) and not Path(str(name)).exists()


def render(card: Card) -> str:
    """Spell a card, metadata and text."""
    from huggingface_hub import EvalResult, ModelCardData
    from jinja2 import Environment, FileSystemLoader

    results = [
        EvalResult(
            task_type="text-generation", dataset_type=score.dataset, dataset_name=score.dataset_name,
            metric_type=score.metric, metric_value=score.value,
        )
        for score in card.scores
    ]  # fmt: skip
    metadata = ModelCardData(
        language="code",
        license=card.license,
        library_name="peft" if card.adapted else "transformers",
        pipeline_tag="text-generation",
        tags=["code", "code-generation", "jax", "code-clippy", *card.tags],
        datasets=list(card.datasets) or None,
        base_model=card.base_model,
        model_name=card.name if results else None,
        eval_results=results or None,
    )
    environment = Environment(  # markdown: nothing is escaped, tables hold no bars
        loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
    environment.filters["python"] = repr
    text = environment.get_template(TEMPLATE).render(card=card, mark=MARK)
    return f"---\n{metadata.to_yaml()}\n---\n\n{text}"


def write_card(output_dir: Path, card: Card) -> bool:
    """Write README.md; one that a user wrote or has made his own stays, and False is returned."""
    path = output_dir / NAME
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return False
    try:
        claim(output_dir, NAME)
    except OutputNotEmpty:
        return False
    write_text(path, render(card))
    return True
