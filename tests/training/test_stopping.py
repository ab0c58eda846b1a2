"""Signals: a real process that is asked to stop, while it could save and while it could not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from interface.errors import STOPPED
from tests.conftest import ROOT
from training.stopping import SAME_NOTICE

PROGRAM = """
import hashlib, sys, time
from interface.errors import STOPPED
from training.stopping import Stopping

with Stopping() as stopping:
    stopping.saves_first = sys.argv[1] in ("loop", "stuck")
    print("ready", flush=True)
    if sys.argv[1] == "compiling":
        hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)  # one step of the interpreter, as a compilation is
    while not stopping.asked:
        time.sleep(0.01)
    if sys.argv[1] == "stuck":
        time.sleep(600)
    print("saved", flush=True)
if sys.argv[1] == "loop" and len(sys.argv) > 2:
    time.sleep(600)  # the end of several processes takes its time
sys.exit(STOPPED)
"""


@pytest.fixture
def start():
    """Start the program and wait until it is ready; whatever a test leaves running is killed."""
    started = []

    def make(kind: str, *more: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind, *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield make
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_first_signal_lets_the_loop_save_and_end_with_its_own_status(start, number):
    process = start("loop")
    process.send_signal(number)
    said, told = process.communicate(timeout=30)
    assert process.returncode == STOPPED and said == "saved\n"
    assert told.startswith(f"{number.name}: saving a checkpoint") and "Traceback" not in told


def test_one_notice_that_comes_by_two_ways_is_one(start):
    """Ctrl-C reaches both a launcher, which hands it on, and what it started."""
    process = start("loop")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    said, told = process.communicate(timeout=30)
    assert process.returncode == STOPPED and said == "saved\n" and "ending at once" not in told


def test_a_signal_after_all_is_saved_ends_it_with_the_same_status(start):
    ending = start("loop", "slowly")
    ending.send_signal(signal.SIGINT)
    assert ending.stdout.readline() == "saved\n"
    time.sleep(0.2)
    ending.send_signal(signal.SIGINT)
    told = ending.communicate(timeout=30)[1]
    assert ending.returncode == STOPPED and "Traceback" not in told


@pytest.mark.parametrize("kind", ["waiting", "compiling"])
def test_where_nothing_is_to_be_saved_it_ends_at_once(start, kind):
    process = start(kind)
    process.send_signal(signal.SIGTERM)
    said, told = process.communicate(timeout=30)
    assert process.returncode == STOPPED and said == "" and "ending at once" in told


def test_a_second_signal_ends_what_is_still_saving(start):
    stuck = start("stuck")
    stuck.send_signal(signal.SIGTERM)
    assert stuck.stderr.readline().startswith("SIGTERM: saving")
    time.sleep(SAME_NOTICE + 0.1)
    stuck.send_signal(signal.SIGINT)
    said, told = stuck.communicate(timeout=30)
    assert stuck.returncode == STOPPED and said == "" and "SIGINT: ending at once" in told
