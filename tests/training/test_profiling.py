"""Profiles of some steps."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from training.arguments import BadArguments
from training.profiling import Profile


def test_a_trace_of_the_steps_that_are_left_is_written_and_told(tmp_path, capsys):
    profile = Profile(tmp_path, (2, 4), 2, 9)  # resumed after step 2
    found = {}
    for step in (3, 4, 5):
        profile.begin(step)
        profile.end(step, jnp.ones(3) * step)
        found[step] = len(list(tmp_path.rglob("perfetto_trace.json.gz")))
    profile.close()
    assert found == {3: 0, 4: 1, 5: 1}
    said = capsys.readouterr().out
    assert str(tmp_path / "profile") in said and "ui.perfetto.dev" in said and said.count("wrote") == 1


def test_a_run_that_ends_before_the_last_step_writes_what_it_has(tmp_path):
    profile = Profile(tmp_path, (1, 90), 0, 9)
    profile.begin(1)
    profile.close()
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_steps_after_the_end_of_the_run_are_refused(tmp_path):
    with pytest.raises(BadArguments, match="is 10:12; the run ends at step 9"):
        Profile(tmp_path, (10, 12), 3, 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", [None, (1, 3)])  # not asked for, or done before the run was resumed
def test_nothing_is_traced_where_nothing_is_left_to_trace(tmp_path, steps):
    profile = Profile(tmp_path, steps, 3, 9)
    profile.begin(4)
    profile.end(4, jnp.ones(3))
    profile.close()
    assert not list(tmp_path.iterdir())
