"""The table of what trains where."""

from __future__ import annotations

import pytest

from modeling.cost import training_flops
from modeling.decoder import config_from_hf
from modeling.description import describe, parse_mesh
from modeling.execution import choose
from modeling.hardware import FULL, MODELS, TOKENS, page, rows
from modeling.table import count_parameters
from tests.conftest import ROOT


def peak_of(kind: str) -> float:
    from training.peak import PEAK_TFLOPS

    return next(peak for name, peak in PEAK_TFLOPS if name in kind) * 1e12


@pytest.fixture(scope="module")
def found():
    return list(rows(peak_of))


def test_the_page_is_what_the_command_prints(found):
    assert (ROOT / "docs" / "hardware.md").read_text() == page(found) + "\n"


def test_every_row_leaves_room_and_cuts_over_all_devices(found):
    for row in found:
        assert 0.25 * row.machine.gib < row.gib <= FULL * row.machine.gib, row
        assert not row.choice.cut or f"--mesh fsdp={row.machine.devices}" in row.flags


def test_a_rows_memory_is_what_describe_prints(found):
    for model, name in (("GPT-J 6B", "TPU v6e-8"), ("GPT-Neo 1.3B", "A100 80 GB")):
        row = next(row for row in found if (row.choice.model, row.machine.name) == (model, name))
        config = config_from_hf(MODELS[model])
        how = choose(config, "bfloat16", remat=row.choice.remat, platform=row.machine.platform)
        mesh = parse_mesh(f"fsdp={row.machine.devices}" if row.choice.cut else "")
        text = describe(config, how, rows=row.choice.rows, length=TOKENS, mesh=mesh, accumulate=True)
        assert f"a device of {row.machine.devices if row.choice.cut else 1}: {row.gib:.2f} GiB" in text


def test_hours_are_operations_over_pace(found):
    """An A100's 312 TFLOP/s at 40 %: 124.8e12 operations a second for 1e9 tokens."""
    row = next(row for row in found if (row.choice.model, row.machine.name) == ("GPT-Neo 1.3B", "A100 80 GB"))
    flops = training_flops(config_from_hf(MODELS["GPT-Neo 1.3B"]), TOKENS)
    assert row.hours == pytest.approx(1e9 * flops / 124.8e12 / 3600)


@pytest.mark.parametrize(("model", "millions"), [
    ("GPT-Neo 125M", 125.2), ("GPT-Neo 1.3B", 1315.6), ("GPT-Neo 2.7B", 2651.3), ("GPT-J 6B", 6050.9),
    ("CodeGen 350M", 356.7), ("CodeGen 16B", 16032.2),
])  # fmt: skip
def test_the_models_have_the_parameters_of_their_checkpoints(model, millions):
    """As they are counted where they are published."""
    from modeling.decoder import family

    config = config_from_hf(MODELS[model])
    assert count_parameters(family(config).table, {**config.sizes, "V": config.vocab_size}) / 1e6 == pytest.approx(
        millions, abs=0.06
    )
