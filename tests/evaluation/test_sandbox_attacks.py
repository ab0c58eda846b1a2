"""Hostile programs: none passes, none outlives its limit, and the host is as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation import humaneval
from evaluation.sandbox import Job, Limits, Sandbox
from tests.conftest import ROOT
from tests.evaluation import attack_suite
from tests.evaluation.test_humaneval import problems_at_hand

BUSY_SECONDS = 5.0  # what a machine that does other things may take longer than one second past a limit
UNPRIVILEGED = 61002
TRIVIAL = 256 << 20  # what the workers, zygotes and judges themselves take


def canonicals() -> Iterator[Job]:
    for problem in problems_at_hand():
        yield humaneval.job(problem["task_id"], problem, problem["canonical_solution"], limits=Limits(60.0))


def run(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, cwd="/", check=False)


def as_another_user() -> dict[str, Any]:
    """The suite as an ordinary user, by an interpreter that the user can reach."""
    if os.geteuid() != 0:
        pytest.skip("already an ordinary user: the other run shows it")
    lead = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    reach = "import sys, evaluation.sandbox, subprocess as s; s.run([sys.executable, '-V'])"
    for python in (sys.executable, "/usr/bin/python3"):
        if (
            shutil.which("setpriv")
            and Path(python).exists()
            and run([*lead, python, "-c", reach], environment).returncode == 0
        ):
            done = run([*lead, python, "-m", "tests.evaluation.attack_suite"], environment)
            assert done.returncode == 0, done.stderr
            report: dict[str, Any] = json.loads(done.stdout)
            return report
    pytest.skip("an ordinary user can reach no Python 3.11 or not this folder")


@pytest.fixture(scope="module", params=["as who we are", "as an ordinary user"])
def report(sandbox: Sandbox, request: pytest.FixtureRequest) -> dict[str, Any]:
    return as_another_user() if "ordinary" in request.param else attack_suite.run(canonicals())


def test_no_attack_passes(report):
    attacks = [outcome for outcome in report["outcomes"] if outcome["key"].startswith("attack ")]
    assert len(attacks) == len(attack_suite.ATTACKS) + len(attack_suite.SOURCES) > 60
    assert [outcome for outcome in attacks if outcome["status"] not in ("failed", "timed out")] == []


def test_no_attack_outlives_its_limit(report):
    slow = [
        outcome
        for outcome in report["outcomes"]
        if outcome["key"].startswith("attack ") and outcome["seconds"] > attack_suite.SECONDS + 1 + BUSY_SECONDS
    ]
    assert slow == []


def test_honest_programs_among_them_pass(report):
    honest = [outcome for outcome in report["outcomes"] if not outcome["key"].startswith("attack ")]
    assert len(honest) > 60
    assert [outcome for outcome in honest if outcome["status"] != "passed"] == []


def test_the_host_is_as_it_was(report):
    assert report["secret"] == attack_suite.SECRET
    assert report["folder"] == ["secret"]
    assert report["new_files"] == []
    assert report["odd_processes"] == []
    assert report["processes"] == report["workers"] * 6  # worker, judges, bubblewrap, zygote, and two that wait
    assert not report["workers_replaced"]
    assert report["peak_memory"] < report["workers"] * Limits().memory_bytes + TRIVIAL


def test_the_suite_finds_what_is_open():
    """Without isolation the harmless one of the attacks on files gets what it is after."""
    facts = {"secret_file": __file__, "project": [], "allowed": []}
    source = f"FACTS = {facts!r}\n{attack_suite.ATTACKS['read_the_host']}"
    with Sandbox(1, unsafe=True) as sandbox:
        (outcome,) = sandbox.judge([humaneval.job("read", attack_suite.DOUBLE, source, limits=Limits(30.0))])
    assert outcome.passed
