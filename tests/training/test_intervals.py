"""Lines of metrics: their numbers by hand, and that writing them waits for nothing."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from modeling.cost import training_flops
from modeling.decoder import config_from_hf
from tests.conftest import TINY
from training import intervals as module
from training.intervals import Intervals
from training.peak import peak_flops
from training.skips import Diverged, Skips
from training.streaming_arguments import StreamingArguments

PARAMS = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
BLOCK, ROWS = 32, 6


class Log:
    def __init__(self):
        self.rows = []

    def write(self, row):
        self.rows.append(row)


class Bar:
    def time_left(self, step):
        return "?"


@pytest.fixture
def make():
    made = []

    def intervals(**changes):
        asked = StreamingArguments(output_dir="o", model_name_or_path="m", block_size=BLOCK, **changes)
        files = SimpleNamespace(lora=None)
        run = SimpleNamespace(config=config_from_hf(TINY), files=files, global_batch=ROWS, checkpoint=None)
        made.append(Intervals(asked, run, Log(), Bar()))
        return made[-1]

    yield intervals
    for one in made:
        one.end()


def metrics(loss_sum=8.0, weight=4.0, num_bytes=3.0, norm=1.5, skipped=0, rate=0.1):
    values = {"loss_sum": loss_sum, "weight": weight, "bytes": num_bytes, "gradient_norm": norm, "skipped": skipped,
              "learning_rate": rate}  # fmt: skip
    return {name: np.asarray(value) for name, value in values.items()}


class Late:
    """An array whose computation goes on until `done`; who reads it sooner fails."""

    def __init__(self, value, done):
        self._value, self._done = value, done

    def block_until_ready(self):
        assert self._done.wait(20)
        return self

    def __array__(self, *_, **__):
        assert self._done.is_set()
        return self._value


def test_a_line_waits_for_no_step_but_those_of_the_interval_before(make):
    intervals, done = make(), threading.Event()
    late = {name: Late(value, done) for name, value in metrics().items()}
    intervals.add(late)
    intervals.add(late)
    intervals.close(2, PARAMS)
    intervals.add(late)
    assert not done.is_set() and intervals._log.rows == []
    done.set()
    intervals.close(3, PARAMS)
    assert [row["step"] for row in intervals._log.rows] == [2]
    intervals.flush()
    assert [row["step"] for row in intervals._log.rows] == [2, 3]


def test_the_numbers_of_a_line_by_hand(make, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    intervals = make(peak_tflops=0.5, max_skipped_steps=0)
    with intervals.waiting():
        now[0] += 2
    intervals.add(metrics(loss_sum=8.0, weight=4.0, num_bytes=3.0))
    intervals.add(metrics(loss_sum=math.nan, weight=4.0, norm=math.nan, skipped=1))
    intervals.add(metrics(loss_sum=1.0, weight=14.0, num_bytes=6.0, norm=2.5, skipped=1, rate=0.2))
    now[0] = 110.0
    intervals.close(3, PARAMS)
    with intervals.paused():  # an evaluation
        now[0] += 50
    intervals.add(metrics())
    now[0] = 164.0
    intervals.close(4, PARAMS)
    intervals.flush()
    row, after = intervals._log.rows
    assert row["loss"] == pytest.approx(9 / 18)  # over all weights, without the step that was skipped
    assert row["perplexity"] == pytest.approx(math.exp(0.5))
    assert row["bits_per_byte"] == pytest.approx(9 / (math.log(2) * 9))
    assert (row["gradient_norm"], row["parameter_norm"]) == (2.5, 5.0)
    assert (row["learning_rate"], row["skipped"], row["tokens"]) == (pytest.approx(0.2), 1, 3 * ROWS * BLOCK)
    pace = 3 * ROWS * BLOCK / 10
    assert row["tokens_per_second"] == pytest.approx(pace) and row["data_wait"] == pytest.approx(0.2)
    flops = training_flops(config_from_hf(TINY), BLOCK)
    assert row["mfu"] == pytest.approx(pace * flops / (0.5e12 * 8))  # eight devices in these tests
    assert after["tokens_per_second"] == pytest.approx(ROWS * BLOCK / 4)  # the evaluation is left out
    assert after["data_wait"] == 0 and after["loss"] == 2


def test_a_line_of_nothing_but_skipped_steps_says_so(make):
    intervals = make(max_skipped_steps=5)
    for skipped in (1, 2):
        intervals.add(metrics(loss_sum=0.0, weight=0.0, num_bytes=0.0, norm=0.0, skipped=skipped))
    intervals.close(2, PARAMS)
    intervals.flush()
    (row,) = intervals._log.rows
    assert math.isnan(row["loss"]) and row["bits_per_byte"] is None and row["skipped"] == 2 and row["mfu"] is None


def seen(skips, *norms):
    for step, norm in enumerate(norms, 1):
        skips.see(step, {"gradient_norm": norm, "weight": 1.0})


def test_a_run_ends_after_so_many_skipped_steps_in_a_row():
    bad = math.nan
    seen(Skips(3), bad, bad, 1.0, bad, math.inf, 2.0, bad)  # never three in a row
    seen(Skips(0), *[bad] * 50)
    with pytest.raises(Diverged, match="steps 3 to 5 had gradients that are not finite and changed nothing"):
        seen(Skips(3), bad, 1.0, bad, math.inf, bad)
    with pytest.raises(Diverged, match="steps 1 to 2 had a batch without weight"):
        skips = Skips(2)
        for step in (1, 2):
            skips.see(step, {"gradient_norm": 0.0, "weight": 0.0})


def test_the_run_ends_at_the_line_of_the_skipped_steps_which_is_written_before(make):
    intervals = make(max_skipped_steps=2)
    for skipped in (1, 2):
        intervals.add(metrics(norm=math.nan, skipped=skipped))
    intervals.close(2, PARAMS)
    with pytest.raises(Diverged, match="steps 1 to 2"):
        intervals.flush()
    assert intervals._log.rows[0]["skipped"] == 2


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H200", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312),
     ("NVIDIA A10G", 70), ("NVIDIA L4", 121), ("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5p", 459),
     ("TPU v6 lite", 918), ("cpu", None)],
)  # fmt: skip
def test_a_devices_peak_goes_by_its_name(kind, wanted):
    devices = [SimpleNamespace(device_kind=kind)] * 3
    assert peak_flops(devices) == (wanted and wanted * 3e12)
    assert peak_flops(devices, 2.0) == 6e12
