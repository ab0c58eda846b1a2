"""The sandbox: values, steps, limits, and what it does when something of ours breaks."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.sandbox import (
    InfrastructureFailure,
    IsolationIneffective,
    Job,
    Limits,
    Sandbox,
    SandboxUnavailable,
    Session,
    bubblewrap,
    judges,
)
from evaluation.sandbox.bubblewrap import find_bubblewrap, unavailable
from tests.conftest import ROOT
from tests.evaluation.attack_suite import tree

JUDGES = "tests.evaluation.sandbox_judges"
PATIENT = Limits(30.0)


def ask(sandbox: Sandbox, judge: str, *payloads: Any, limits: Limits = PATIENT) -> list[Any]:
    """What a judge makes of some payloads, in their order."""
    jobs = (Job(place, f"{JUDGES}:{judge}", payload, limits) for place, payload in enumerate(payloads))
    outcomes = sorted(sandbox.judge(jobs), key=lambda outcome: outcome.key)
    assert all(outcome.passed or judge == "evaluate" for outcome in outcomes), outcomes
    return [outcome.detail for outcome in outcomes]


def evaluate(sandbox: Sandbox, *sources: str, limits: Limits = PATIENT, **options: Any) -> list[Any]:
    return ask(sandbox, "evaluate", *[{"source": source, **options} for source in sources], limits=limits)


def test_values_come_back_exactly(sandbox):
    values: list[Any] = [0, -1, 10**50, 0.1, 1e-310, True, None, "é\ud800\0", b"\0"]
    values += [[1, (2,)], {"a": {1, 2}}, frozenset(), 1j, int]
    for value, answer in zip(values, ask(sandbox, "echo", *values), strict=True):
        assert (type(answer), answer) == (type(value), value)


def test_a_derived_class_counts_as_the_value_of_its_builtin_one(sandbox):
    answers = evaluate(
        sandbox,
        "from collections import Counter\ndef f(): return Counter('aab')",
        "from collections import namedtuple\ndef f(): return namedtuple('P', 'x y')(1, 2)",
        "from enum import IntEnum\ndef f(): return IntEnum('E', 'A B').B",
        "class L(list):\n    def __iter__(self): return iter([9])\ndef f(): return L([1])",
        "class I(int):\n    def __add__(self, other): return 9\n    __index__ = __add__\ndef f(): return I(1)",
        "class F(float):\n    def __float__(self): return 9.0\ndef f(): return F('-0.0')",
    )
    assert [answer[0] for answer in answers[:5]] == [{"a": 2, "b": 1}, (1, 2), 2, [1], 1]
    assert str(answers[5][0]) == "-0.0"


def test_numpy_gives_numbers_and_arrays(sandbox):
    pytest.importorskip("numpy")
    source = "import numpy as np\ndef f(): return {} "
    expressions = ["np.float64(0.1)", "np.int8(3)", "np.bool_(True)", "np.arange(4).reshape(2, 2)", "np.array(5)"]
    answers = [answer[0] for answer in evaluate(sandbox, *map(source.format, expressions))]
    assert answers == [0.1, 3, True, ("array", [[0, 1], [2, 3]]), 5]
    assert [type(answer) for answer in answers[:3]] == [float, int, bool]


def test_an_object_of_the_program_decides_nothing(sandbox):
    equal = "class E:\n    def __getattr__(self, name): return lambda *_: 1\n    def __eq__(self, other): return True\n"
    (through,) = ask(sandbox, "use_opaque", equal + "def f(): return E()")
    assert through == []


def test_a_test_builds_objects_of_the_programs_class(sandbox):
    source = """
class Node:
    def __init__(self, value): self.value, self.left = value, None
    def depth(self): return 1 + (self.left.depth() if self.left else 0)
def depth(node): return node[0].depth() if isinstance(node, list) else node.depth()
"""
    assert ask(sandbox, "build_objects", source) == [(3, 3, 3, 3)]


def test_output_is_kept_up_to_its_limit_and_prints_are_recorded(sandbox):
    source = "def f():\n    print([1], 2)\n    print('y' * 50)\n    print({'a': (1,)}, 'z')\n"
    ((value, output, truncated, printed),) = evaluate(
        sandbox, source, record_print=True, limits=Limits(30, output_bytes=20)
    )
    assert (value, output, truncated, printed) == (None, "[1] 2\n" + "y" * 14, True, ({"a": (1,)},))
    ((_, output, truncated, printed),) = evaluate(sandbox, "def f(): print('a')")
    assert (output, truncated, printed) == ("a\n", False, ())


def test_standard_input_is_what_the_judge_gives(sandbox):
    source = "import sys\ndef f(): return [input(), sys.stdin.readline(), sys.stdin.read()]"
    assert evaluate(sandbox, source, stdin="a\nb\nc\nd")[0][0] == ["a", "b\n", "c\nd"]
    assert evaluate(sandbox, source)[0][0] == "OSError"


def test_exceptions_have_their_class_and_text(sandbox):
    sources = ["def f(): return {}['x']", "def f(): raise SystemExit(3)", "def g(): pass"]
    answers = evaluate(sandbox, *sources)
    assert [answer[:2] for answer in answers] == [
        ("KeyError", "'x'"),
        ("SystemExit", "3"),
        ("NameError", "name 'f' is not defined"),
    ]


def test_a_step_has_a_time_of_its_own_and_a_restart_a_fresh_program(sandbox):
    assert ask(sandbox, "restart", None) == [(1, 1)]


def test_every_program_starts_from_the_same_random_state_and_hash_seed(sandbox):
    first, second = ask(sandbox, "draw", 1, 2)
    assert first == second
    assert first[:2] == first[2:]


def test_the_time_limit_is_for_judge_and_program_alike(sandbox):
    jobs = [
        Job("judge", f"{JUDGES}:hang", None, Limits(0.3)),
        Job("program", f"{JUDGES}:evaluate", {"source": "while True: pass"}, Limits(0.3)),
        Job("cpu", f"{JUDGES}:evaluate", {"source": "while True: pass"}, Limits(60.0, cpu_seconds=1)),
    ]
    assert {outcome.key: outcome.status for outcome in sandbox.judge(jobs)} == dict.fromkeys(
        ("judge", "program", "cpu"), "timed out"
    )


def test_no_more_jobs_are_taken_than_there_are_workers_for(sandbox):
    taken = 0

    def jobs() -> Iterator[Job]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield Job(number, f"{JUDGES}:echo", number, PATIENT)

    for done, _ in enumerate(sandbox.judge(jobs()), 1):
        assert taken <= done + sandbox.num_workers


def test_a_killed_worker_is_replaced_and_its_job_done_again(sandbox, tmp_path):
    before = [worker.process.pid for worker in sandbox._workers]
    assert ask(sandbox, "kill_worker_once", str(tmp_path / "marker")) == ["second time"]
    assert len(set(before) & {worker.process.pid for worker in sandbox._workers}) == sandbox.num_workers - 1


def test_a_process_that_dies_before_its_start_costs_no_verdict():
    """The judge and the program that wait for a job, killed by whoever looks for memory."""
    with Sandbox(1) as sandbox:
        (forked,) = (process.pid for process in (worker.process for worker in sandbox._workers))
        for number in {each.number for each in tree([forked])} - parents(forked):
            os.kill(number, signal.SIGKILL)
        assert ask(sandbox, "echo", 5, limits=Limits(0.3)) == [5]


def test_a_judge_that_asks_its_program_nothing_costs_no_worker():
    """Its verdict may come before the program's process has even taken its start."""
    with Sandbox(1) as sandbox:
        before = sandbox._workers[0].process.pid
        jobs = (Job(number, f"{JUDGES}:answer_at_once", None, PATIENT, number % 2 == 0) for number in range(40))
        assert all(outcome.passed for outcome in sandbox.judge(jobs))
        assert sandbox._workers[0].process.pid == before


def parents(root: int) -> set[int]:
    return {root, *(each.parent for each in tree([root]))}


def test_a_judge_whose_jobs_leave_no_trace_takes_the_next_and_no_other_does():
    """A judge that counts its calls leaves a trace, so the numbers tell how long each process lived."""
    limits = Limits(1.0)
    jobs = [
        Job(number, f"{JUDGES}:count", payload, PATIENT if payload != "hang" else limits, traceless)
        for number, (payload, traceless) in enumerate(
            [(None, True), (None, True), (None, False), (None, False), (None, True), ("hang", True), (None, True),
             ("grow", True), (None, True)]
        )
    ]  # fmt: skip
    with Sandbox(1) as sandbox:
        outcomes = list(sandbox.judge(jobs))
    assert [outcome.detail for outcome in outcomes] == [1, 2, 3, 1, 1, "timed out", 1, 2, 1]


def test_a_failure_of_ours_is_no_verdict_and_ends_the_run_after_all_else_is_judged(sandbox):
    jobs = [Job(n, f"{JUDGES}:{'broken' if n == 1 else 'echo'}", n, PATIENT) for n in range(5)]
    judged = []
    with pytest.raises(InfrastructureFailure, match=r"(?s)1 jobs could not be judged, each tried 3 times .*KeyError"):
        for outcome in sandbox.judge(jobs):
            judged.append(outcome.key)
    assert sorted(judged) == [0, 2, 3, 4]


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_nothing_of_a_sandbox_outlives_it(sandbox, how):
    seconds = 0.5 if how == "closed" else 1000
    script = f"""
from evaluation.sandbox import *
with Sandbox(2) as sandbox:
    print("ready", flush=True)
    loop = {{"source": "while True: pass"}}
    list(sandbox.judge(Job(n, "{JUDGES}:evaluate", loop, Limits({seconds})) for n in range(2)))
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 20
        while sum(each.comm != "bwrap" for each in tree([process.pid])) < 11 and time.monotonic() < deadline:
            time.sleep(0.02)  # itself and, for each worker, the worker, its two forkers, a judge and a program
        family = [each.number for each in tree([process.pid])]
        assert len(family) >= 11
        if how == "killed":
            process.send_signal(signal.SIGKILL)
        process.wait(60)
    deadline = time.monotonic() + 20
    while (left := [each for each in family if Path(f"/proc/{each}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_without_isolation_there_is_a_warning_and_limits_still_hold(capfd):
    with Sandbox(1, unsafe=True) as sandbox:
        assert "WARNING: the code that the model wrote runs without isolation" in capfd.readouterr().err
        assert ask(sandbox, "echo", 5) == [5]
        (answer,) = evaluate(sandbox, "def f(): return len(bytearray(8 << 30))")
        assert answer[0] == "MemoryError"
        (outcome,) = sandbox.judge([Job(1, f"{JUDGES}:evaluate", {"source": "while True: pass"}, Limits(0.3))])
        assert outcome.status == "timed out"


# ---- where the system does not allow it ---------------------------------------------------------------------------


@pytest.fixture
def fake_bubblewrap(monkeypatch):
    """Put a program named bwrap in front of the real one, where root's children see it too; gives its folder."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)

    def write(script: str) -> Path:
        (folder / "bwrap").write_text(f"#!/bin/sh\n{script.format(real=find_bubblewrap(), folder=folder)}\n")
        (folder / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    yield write
    shutil.rmtree(folder)


def test_a_missing_bubblewrap_is_named_with_its_cure(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap .* is not installed.*apt-get install bubblewrap"):
        Sandbox(1).__enter__()


def test_a_hole_is_found_before_any_program_runs(sandbox, fake_bubblewrap, monkeypatch):
    """A bubblewrap that lets in the host's folder in which the test's secret then lies."""
    folder = fake_bubblewrap('exec {real} --ro-bind {folder} {folder} "$@"')
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(IsolationIneffective, match=r"does not hold on this machine: .*reads the host's files\."):
        Sandbox(1).__enter__()


def test_a_system_that_forbids_namespaces_is_named_with_its_cure(fake_bubblewrap):
    fake_bubblewrap("echo bwrap: No permissions to create new namespace >&2; exit 1")
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap said: bwrap: No permissions to create .*Cure: "):
        Sandbox(1).__enter__()


@pytest.mark.parametrize(
    ("setting", "value", "cause", "cure"),
    [
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor", "/etc/apparmor.d/bwrap"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0", "userns_clone is 0", "sysctl -w kernel.unprivileged_userns"),
        ("proc/sys/user/max_user_namespaces", "0", "max_user_namespaces is 0", "sysctl -w user.max_user_namespaces"),
        (".dockerenv", "", "this container may not make namespaces", "--security-opt seccomp=unconfined"),
        ("else", "", "the system does not let it", "docs/sandbox.md"),
    ],
)
def test_each_known_cause_has_its_cure(tmp_path, setting, value, cause, cure):
    path = tmp_path / setting
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value + "\n")
    text = str(unavailable("bwrap: setting up uid map: Permission denied", tmp_path))
    assert cause in text and cure in text and "Permission denied" in text and "--unsafe-no-sandbox" in text


def test_the_shipped_profile_is_the_one_that_the_error_names():
    profile = ROOT / "evaluation" / "sandbox" / "bwrap.apparmor"
    text = profile.read_text()
    assert "userns," in text and "/usr/bin/bwrap" in text
    assert "bwrap.apparmor" in (ROOT / "setup.cfg").read_text()


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "apps", "mtpb"])
def test_a_program_that_does_not_come_up_is_no_verdict_though_the_judge_catches_all(name):
    payload = {
        "prompt": "def f():\n", "completion": "    pass\n", "test": "def check(f):\n    pass\n", "entry_point": "f",
        "program": "x = 1", "setup": "", "tests": [["", ""]] if name == "apps" else "assert x == 1", "name": None,
        "solution": "x = 1", "comparison": "strict", "equivalence": "strict", "expected": 1, "scale": 1.0,
        "uses_prompt": False,
    }  # fmt: skip

    def dead():
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    assert judges.verdict(f"evaluation.{name}:judge", Session(dead), payload)[0] == "fault"


def test_packages_below_tmp_which_programs_have_empty_are_had_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(bubblewrap, "sys_path_of_packages", lambda: [str(tmp_path / "site-packages")])
    (target,) = bubblewrap.packages().values()
    assert target.startswith("/sandbox/") and bubblewrap.interpreter_folders()[target] == str(
        tmp_path / "site-packages"
    )
    assert target in " ".join(bubblewrap.python_command(True, "/sandbox/inside", ()))
    assert target not in " ".join(bubblewrap.python_command(False, "/sandbox/inside", ()))
