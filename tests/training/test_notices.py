"""Two processes that tell each other: what each has, that one ends, that one was asked to stop."""

from __future__ import annotations

import signal

import pytest

from interface.errors import STOPPED

PROGRAM = """
import hashlib, sys, time
from pathlib import Path
from interface.errors import Stopped, UserError, run
from training.processes import barrier, first_here, gather, rank
from training.together import together

def main():
    kind, folder = sys.argv[1], Path(sys.argv[2])
    with together() as stopping:
        assert gather("number", 7 * rank()) == [0, 7]
        print("firsts", first_here(folder / "shared"), first_here(folder / str(rank())), flush=True)
        stopping.saves_first = kind == "loop"
        barrier("ready")
        assert not list(folder.rglob("*.partial"))
        print("ready", flush=True)
        if kind != "loop" and rank() == 0:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # one step of the interpreter, as a compilation is
        if kind == "refused":
            raise UserError("found this, wanted that; do so")
        if kind == "fault":
            raise RuntimeError("out of memory")
        while not stopping.asked:
            time.sleep(0.01)
        print("asked", flush=True)
        time.sleep(2)
        raise Stopped("stopped at step 5")

run(main)
"""


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("refused", 2, "error: found this, wanted that; do so"),
        pytest.param("fault", 1, "RuntimeError: out of memory", marks=pytest.mark.long),
    ],
)
def test_an_error_of_one_ends_all_with_its_words_and_status(kind, status, words, start_ranks, tmp_path):
    ranks = start_ranks(tmp_path / "said", 2, "-c", PROGRAM, kind, tmp_path)
    assert ranks.ends(60) == [status, status]
    assert ranks.told(0) == f"process 1 of 2: {words}\n"
    assert ranks.told(1).endswith(f"{words}\n") and ("Traceback" in ranks.told(1)) == (kind == "fault")
    assert "firsts 0 0\n" in ranks.said(0) and "firsts 0 1\n" in ranks.said(1)


def test_where_nothing_is_to_be_saved_a_signal_to_one_ends_all_at_once(start_ranks, tmp_path):
    ranks = start_ranks(tmp_path / "said", 2, "-c", PROGRAM, "waiting", tmp_path)
    ranks.until(lambda: "ready" in ranks.said(0) and "ready" in ranks.said(1))
    ranks.signal(signal.SIGTERM, 1)
    assert ranks.ends(60) == [STOPPED, STOPPED]
    ending = "SIGTERM: ending at once; the last whole checkpoint is what there is\n"
    assert ranks.told(1) == ending and ranks.told(0) == f"process 1 of 2: {ending}"


def test_a_signal_to_one_asks_all_and_ones_own_later_is_no_second(start_ranks, tmp_path):
    """As a scheduler does it: all get a signal, some of them sooner."""
    ranks = start_ranks(tmp_path / "said", 2, "-c", PROGRAM, "loop", tmp_path)
    ranks.until(lambda: "ready" in ranks.said(0) and "ready" in ranks.said(1))
    ranks.signal(signal.SIGTERM, 1)
    ranks.until(lambda: "asked" in ranks.said(0))
    ranks.signal(signal.SIGTERM, 0)
    assert ranks.ends(60) == [STOPPED, STOPPED]
    saving = "SIGTERM: saving a checkpoint, then ending; once more to end at once\n"
    assert ranks.told(1) == f"{saving}stopped at step 5\n"
    assert ranks.told(0) == f"process 1 of 2: {saving}{saving}stopped at step 5\n"
