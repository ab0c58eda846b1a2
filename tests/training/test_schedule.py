"""Schedules against numbers computed by hand, and what a resume compares of them."""

from __future__ import annotations

import pytest

from training.apps_arguments import AppsArguments
from training.schedule import make_schedule, warmup_cosine
from training.streaming_arguments import StreamingArguments

WISH = {"output_dir": "o", "model_name_or_path": "m", "learning_rate": 8.0}


def rates(arguments, max_steps, steps):
    schedule = make_schedule(arguments.schedule(), max_steps)
    return [float(schedule(step)) for step in steps]


def test_the_cosine_of_the_recipe_by_hand():
    schedule = warmup_cosine(1e-4, warmup_steps=2500, decay_steps=25000)
    assert float(schedule(0)) == 0
    assert float(schedule(1250)) == pytest.approx(5e-5)
    assert float(schedule(2500)) == pytest.approx(1e-4)
    assert float(schedule(2500 + 12500)) == pytest.approx((1e-4 + 1e-5) / 2)  # half way down the cosine
    assert float(schedule(27500)) == pytest.approx(1e-5)
    assert float(schedule(99999)) == pytest.approx(1e-5)  # flat after it


def test_streaming_falls_along_a_cosine_to_the_end_of_the_run():
    asked = StreamingArguments(**WISH, max_steps=12, warmup_steps=4)
    assert rates(asked, 12, (0, 2, 4, 8, 12, 20)) == pytest.approx([0, 4, 8, 4.4, 0.8, 0.8])


def test_apps_falls_linearly_to_0():
    asked = AppsArguments(**WISH, warmup_steps=4)
    assert rates(asked, 12, (0, 1, 2, 4, 6, 8, 12, 20)) == pytest.approx([0, 2, 4, 8, 6, 4, 0, 0])
    assert rates(AppsArguments(**WISH), 2, (0, 1, 2)) == pytest.approx([8, 4, 0])


def test_a_constant_rate_warms_up_and_stays():
    asked = StreamingArguments(**WISH, max_steps=16, lr_scheduler_type="constant", warmup_ratio=0.25)
    assert rates(asked, 16, (0, 1, 3, 4, 9, 99)) == pytest.approx([0, 2, 6, 8, 8, 8])
    assert rates(StreamingArguments(**WISH, lr_scheduler_type="constant"), 16, (0, 1)) == pytest.approx([8, 8])


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({"decay_steps": 7}, False), ({}, True), ({"lr_scheduler_type": "linear"}, True),
        ({"lr_scheduler_type": "constant"}, False), ({"lr_scheduler_type": "constant", "warmup_ratio": 0.1}, True),
        ({"decay_steps": 7, "warmup_ratio": 0.1, "warmup_steps": 3}, False),
    ],
)  # fmt: skip
def test_a_run_may_grow_where_its_schedule_does_not_depend_on_its_length(changes, used):
    """Where the numbers are the same for two lengths, so are all learning rates, and else they differ."""
    short, long = (StreamingArguments(**WISH, **changes, max_steps=steps) for steps in (50, 90))
    same = short.schedule() == long.schedule()
    assert same == (not used)
    assert same == (rates(short, 50, range(90)) == rates(long, 90, range(90)))
