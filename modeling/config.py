"""Decoder config: what every family's config.json says under one set of names."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from interface.errors import UserError
from modeling.dropout import Rates

VOCABULARY_MULTIPLE = 128  # the table is padded to this in memory: matrix units work in tiles of 128


class UnsupportedConfig(UserError):
    """A config.json asks for something that no family here computes."""


def want(hf: dict[str, Any], name: str) -> Any:
    """Read a required entry of a config.json."""
    if hf.get(name) is None:
        raise UnsupportedConfig(f"config.json has no {name!r}; a {hf.get('model_type', 'decoder')} config must give it")
    return hf[name]


def want_size(hf: dict[str, Any], name: str, otherwise: int | None = None) -> int:
    """Read a size, a whole number from 1; `otherwise` is that of a config.json that leaves it out."""
    size = otherwise if otherwise is not None and hf.get(name) is None else want(hf, name)
    if type(size) is not int or size < 1:  # isinstance would take true for 1
        raise UnsupportedConfig(
            f"config.json has {name} {size!r}; wanted a whole number from 1. Fetch or write it again"
        )
    return size


@dataclass(frozen=True)
class DecoderConfig(ABC):
    """Sizes shared by all families. Hashable, so that jit can take it as a static argument.

    `hf` is the config.json it came from, as canonical text: entries that we do not interpret survive a round trip.
    `windows[layer]` is how many positions a query of that layer sees, counting its own; None: all before it.
    """

    hf: str
    vocab_size: int
    max_position_embeddings: int
    hidden_size: int
    num_layers: int
    num_heads: int
    initializer_range: float
    dropout: Rates
    intermediate_size: int
    layer_norm_epsilon: float
    windows: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise UnsupportedConfig(f"hidden_size {self.hidden_size} does not divide into {self.num_heads} heads")

    @staticmethod
    def freeze(hf: dict[str, Any]) -> str:
        return json.dumps(hf, sort_keys=True)

    @classmethod
    @abstractmethod
    def from_hf(cls, hf: dict[str, Any]) -> Self:
        """Read a config.json. Raises: UnsupportedConfig."""

    def to_hf(self) -> dict[str, Any]:
        """The config.json of this model."""
        return json.loads(self.hf) | {"vocab_size": self.vocab_size}

    @cached_property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def table_rows(self) -> int:
        """Rows of the embedding table in memory: the vocabulary, padded."""
        return -(-self.vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each axis letter of the family's table."""
        return {
            "V": self.table_rows,
            "P": self.max_position_embeddings,
            "L": self.num_layers,
            "D": self.hidden_size,
            "H": self.num_heads,
            "K": self.head_size,
            "F": self.intermediate_size,
        }
