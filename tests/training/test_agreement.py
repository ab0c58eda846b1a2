"""Agreement: a flag of one process is seen by all at the same turn."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from training.agreement import Agreement
from training.placement import DataParallel, MeshPlacement
from training.stopping import Stopping


def test_a_single_process_asks_nobody():
    stopping = Stopping()
    alone = Agreement(stopping, DataParallel())
    assert alone.flags() == {} and not alone.reached(jnp.zeros(()))
    stopping.ask("")
    assert alone.flags() == {} and alone.reached(jnp.zeros(()))


@pytest.mark.parametrize("lengths", [None, {"data": 2, "fsdp": 2, "tensor": 2}])
def test_all_end_two_turns_after_the_sum_has_a_flag_and_not_when_their_own_was_raised(lengths, config, monkeypatch):
    monkeypatch.setattr("training.agreement.count", lambda: 2)
    placement = DataParallel() if lengths is None else MeshPlacement(config, lengths)
    stopping = Stopping()
    agreement = Agreement(stopping, placement)
    assert not np.asarray(agreement.flags()["flags"]).any()
    stopping.ask("")
    assert np.asarray(agreement.flags()["flags"]).tolist() == [1] * 8  # an entry a device, whatever cuts the rows
    assert [agreement.reached(jnp.asarray(total)) for total in (0, 0, 4, 8, 8)] == [False, False, False, False, True]


@pytest.fixture
def config():
    from modeling.decoder import config_from_hf
    from tests.conftest import TINY

    return config_from_hf({**TINY, "hidden_size": 24, "num_heads": 4, "intermediate_size": 52})
