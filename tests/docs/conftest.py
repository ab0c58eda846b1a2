"""Shared pieces of the tests of the documentation: a tiny model with room for a real prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TINY


@pytest.fixture(scope="session")
def roomy_dir(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """The tiny model with 2,048 positions."""
    import modeling
    from modeling.decoder import config_from_hf

    config = config_from_hf(TINY | {"max_position_embeddings": 2048})
    folder = tmp_path_factory.mktemp("roomy")
    params = modeling.init_params(config, 7)
    modeling.save(folder, modeling.Model(config, params), tokenizer_dir=tokenizer_dir, eos_token_id=0)
    return folder
