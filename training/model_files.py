"""Model files: what a run trains, as the files that a checkpoint holds: a whole model, or adapters of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling.adapter_files import CONFIG, WEIGHTS, write_adapters
from modeling.checkpoint import (
    GENERATION_CONFIG,
    Model,
    copy_tokenizer,
    file_names,
    save,
    write_generation_config,
)
from modeling.config import DecoderConfig
from modeling.decoder import family
from modeling.hub import TOKENIZER_FILES
from modeling.lora import Lora, adapter_sizes, adapter_table, targets_of
from modeling.table import Params, Sizes, Table


@dataclass(frozen=True)
class ModelFiles:
    """The table of what is trained, and how it is written. `base` and `revision` name the model of adapters."""

    config: DecoderConfig
    tokenizer_dir: Path
    eos_token_id: int
    lora: Lora | None = None
    base: str = ""
    revision: str | None = None

    @property
    def table(self) -> Table:
        return adapter_table(self.config, self.lora) if self.lora else family(self.config).table

    @property
    def sizes(self) -> Sizes:
        """Length of each axis of the table, with the vocabulary as it is published."""
        sizes = adapter_sizes(self.config, self.lora) if self.lora else self.config.sizes
        return {**sizes, "V": self.config.vocab_size}

    @property
    def names(self) -> list[str]:
        """The names of all files that `write` may write."""
        return [CONFIG, WEIGHTS, GENERATION_CONFIG, *TOKENIZER_FILES] if self.lora else file_names(self.config)

    @property
    def identity(self) -> dict[str, Any]:
        """What of the adapters a run's parameters depend on, by name."""
        if self.lora is None:
            return {}
        targets = sorted(targets_of(self.config, self.lora))
        return {"lora_rank": self.lora.rank, "lora_alpha": self.lora.alpha, "lora_targets": targets}

    def write(self, folder: Path, params: Params) -> None:
        """Write the model that `params`, on the host, are of."""
        if self.lora:
            write_adapters(folder, self.config, self.lora, params, self.base, self.revision)
            write_generation_config(folder, self.eos_token_id)  # of this tokenizer, which need not be the base's
            copy_tokenizer(self.tokenizer_dir, folder)
        else:
            model = Model(self.config, params)
            save(folder, model, tokenizer_dir=self.tokenizer_dir, eos_token_id=self.eos_token_id)
