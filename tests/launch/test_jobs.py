"""The steps of a job (launch/jobs.sh): once each, alone or together, and what a signal does to them."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.conftest import ROOT
from tests.launch.conftest import STOPPING

# The jobs of launch/jobs.sh with what run.sh gives them.
JOB = """set -euo pipefail
say() { echo "== $*"; }
die() { echo "error: $*" >&2; exit 2; }
. launch/platform.sh; . launch/jobs.sh
RUN_DIR=$1 RANK=$2
trap '[ $? = 0 ] || [ "$RANK" != 0 ] || touch "$RUN_DIR/.failed$ATTEMPT"' EXIT
mkdir -p "$RUN_DIR"; touch "$RUN_DIR/.started-$RANK"
"""


def test_a_step_is_taken_once_and_one_that_failed_again(shell, tmp_path):
    steps = JOB + 'alone a "first" touch "$RUN_DIR/a"\nalone b "second" cat "$RUN_DIR/needed"\nalone c "third" echo end'
    failed = shell("bash", "-c", steps, "-", str(tmp_path), "0")
    assert failed.returncode == 1 and "== first\n== second\n" in failed.stdout and "third" not in failed.stdout
    (tmp_path / "needed").write_text("there\n")
    assert shell("bash", "-c", steps, "-", str(tmp_path), "0").stdout == (
        "done before: first\n== second\nthere\n== third\nend\n"
    )


def test_others_wait_for_what_the_first_does_alone_and_train_beside_it(tmp_path):
    """And end where the first ends, which they would wait for in vain."""
    meet = 'meet() { touch "$RUN_DIR/$RANK"; until [ -e "$RUN_DIR/$((1 - RANK))" ]; do sleep 0.1; done; echo met; }\n'
    steps = JOB + meet + 'alone a "first" sleep 0.5\ntogether b "train" meet\nalone c "end" cat "$RUN_DIR/needed"'
    ranks = [
        subprocess.Popen(
            ["bash", "-c", steps, "-", str(tmp_path), rank], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "10"
    ]  # fmt: skip
    said = [process.communicate(timeout=30) for process in ranks]
    assert said[0] == ("met\n", "error: end: the first process failed; its output says how\n")
    assert said[1][0] == "== first\n== train\nmet\n== end\n"
    assert [process.returncode for process in ranks] == [2, 1]


def test_under_slurm_a_first_process_that_failed_before_the_others_began_ends_them(shell, tmp_path):
    """At this attempt, which has a number: one that failed at an earlier attempt is none of theirs."""
    steps = JOB + 'alone a "first" cat "$RUN_DIR/needed"'
    attempt = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}
    assert shell("bash", "-c", steps, "-", str(tmp_path), "0", **attempt).returncode == 1
    time.sleep(0.01)
    other = shell("bash", "-c", steps, "-", str(tmp_path), "1", **attempt)
    assert other.returncode == 2 and "first: the first process failed" in other.stderr
    waits = steps.replace("alone a", "sleep() { echo waits; exit; }; alone a")
    assert (
        shell("bash", "-c", waits, "-", str(tmp_path), "1", **attempt | {"SLURM_RESTART_COUNT": "2"}).stdout
        == "waits\n"
    )


def test_a_step_gets_the_signal_that_the_launcher_alone_gets(tmp_path):
    """As a TPU VM's stop sends it: to the one process whose number is known."""
    (tmp_path / "step.py").write_text(STOPPING)
    steps = JOB + f'together train "train" {sys.executable} {tmp_path / "step.py"}\necho "not reached"'
    process = subprocess.Popen(
        ["bash", "-c", steps, "-", str(tmp_path / "run"), "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert [process.stdout.readline() for _ in range(2)] == ["== train\n", "started\n"]
    process.terminate()
    assert process.communicate(timeout=30)[0] == "saved\n" and process.returncode == 75
    assert not (tmp_path / "run" / ".done").exists()


def test_a_signal_ends_who_works_alone_and_who_waits_with_the_status_of_a_stopped_training(tmp_path):
    """So that Slurm queues the job again, whatever it was at."""
    steps = JOB + """sleep() { echo waits; command sleep "$1"; }; alone a "first" sh -c 'echo works; exec sleep 60'"""
    for rank, said in (("0", "works\n"), ("1", "waits\n")):
        process = subprocess.Popen(
            ["bash", "-c", steps, "-", str(tmp_path), rank], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while process.stdout.readline() != said:
            assert process.poll() is None
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 75
        (tmp_path / ".failed").unlink(missing_ok=True)
