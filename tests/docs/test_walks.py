"""Walks: a page's commands, run in their order with tiny values, in a folder that looks like a fresh clone.

What a command needs and no earlier one of its page makes is put there first (GIVEN). A substitution is a row of TINY.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.data_processing.apps_data import write_folders
from tests.docs.pages import Shown, shown
from tests.docs.test_commands import RECIPES

# As regular expressions over a command line: what makes it small, or keeps it from the network.
TINY = {
    r"--max_steps \d+": "--max_steps 2 --logging_steps 1 --eval_completions 0 --max_eval_samples 4",
    r"--num_train_epochs \d+": "--num_train_epochs 1 --eval_completions 0 --max_eval_samples 4",
    r"--save_steps \d+": "--save_steps 2",
    r"--block_size \d+": "--block_size 256",
    r"--per_device_train_batch_size \d+": "--per_device_train_batch_size 2",
    r"--num_samples \d+": "--num_samples 1 --num_tasks 2 --max_new_tokens 4",
    r"--num_tasks \d+": "--num_tasks 2 --max_new_tokens 4",
    r"--mesh fsdp=8": "--mesh fsdp=1",
    r"retell": "retell --num_tasks 2 --max_new_tokens 4",
    r"generation ": "generation --max_new_tokens 4 ",
    r"--benchmark humaneval": "--benchmark clippy",
    r"EleutherAI/gpt-neo-\S+": "MODEL",
    r"--remat block --platform tpu": "--remat block --block_size 256 --platform tpu",
    r"data_processing corpus --output_dir": "data_processing corpus --source_dir FUNCTIONS --output_dir",
}
KNOBS = {"BASE_STEPS": "8", "TUNE_STEPS": "8", "SCORE_BYTES": "20000"}
# Commands that another test runs, or that would run all of them.
LEFT_OUT = {
    "./run.sh test": "all tests",
    "./run.sh docs": "tests/docs/test_site.py",
    "./run.sh bench": "minutes of measuring",
    "./run.sh setup": "would change the environment that runs this",
    "launch/": "tests/docs/test_commands.py, tests/launch",
    "python -m evaluation run --benchmark clippy --backend openai": "tests/docs/test_editor.py",
    "lm_eval": "another harness",
    "sbatch": "tests/docs/test_commands.py",
}
RECIPES_LEFT_OUT = [[name] for name in sorted(RECIPES)]  # tests/launch; ./run.sh bench recipes runs each
LAPTOP = "docs/start/laptop.md"  # is given nothing, and runs the main job for all


FUNCTION = '''"""Sums of {number} kinds."""


def add_{number}(a: int, b: int) -> int:
    """Return a plus b times {number}, and {number} more.

    >>> add_{number}(0, 0)
    {number}
    """
    total = a + b * {number}
    return total + {number}
'''


def clone(folder: Path) -> Path:
    """The tracked files' folders as links, so that what a command writes stays in `folder`."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in {name.split("/")[0] for name in names if name} - {".gitignore"}:
        (folder / name).symlink_to(ROOT / name)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """An environment that run.sh takes for made, and whose python is the one that runs these tests."""
    bin_dir = folder / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    for name in ("python", "python3"):
        (bin_dir / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (bin_dir / name).chmod(0o755)
    (bin_dir / "activate").write_text("")
    with (ROOT / "setup.cfg").open() as file:
        size = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout.strip()
    (folder / ".venv" / "installed").write_text(f"{folder} {size}\n")
    return {**os.environ, **KNOBS, "XLA_FLAGS": "", "PATH": f"{bin_dir}:{os.environ['PATH']}", "ACCELERATOR": "cpu",
            "CODE_CLIPPY_VENV": str(folder / ".venv"), "HF_HUB_OFFLINE": "1"}  # fmt: skip


def give(folder: Path, page: str, corpus: Path, model_dir: Path, source_tree: Path) -> None:
    """Put there what a page calls DIR, CORPUS, MODEL and so on, but for what its own commands make."""
    made = {word for one in walked()[page] for flag, word in pairwise(one.words) if flag == "--output_dir"}
    places = {"DIR": source_tree, "CORPUS": corpus, "corpus": corpus}
    places |= dict.fromkeys(("MODEL", "DIR_OR_ID", "CODEX_D", "CODEX_S", "BASE"), model_dir)
    for name, place in places.items():
        if name not in made:
            (folder / name).symlink_to(place)
    write_folders(folder / "APPS", "train")
    for number in range(1, 9):  # each its own package, so that no split is empty
        (folder / "FUNCTIONS" / f"package_{number}").mkdir(parents=True)
        (folder / "FUNCTIONS" / f"package_{number}" / "module.py").write_text(FUNCTION.format(number=number))
    problems = (ROOT / "evaluation" / "problems" / "clippy.jsonl").read_text()
    (folder / "HumanEval.jsonl.gz").write_bytes(gzip.compress(problems.encode()))
    rows = [json.loads(line) for line in problems.splitlines()]
    samples = [{"task_id": row["task_id"], "completion": row["canonical_solution"]} for row in rows]
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))


def tiny(command: Shown) -> str:
    line = shlex.join(command.words)
    for pattern, small in TINY.items():
        line = re.sub(pattern, small, line)
    return line


def walked() -> dict[str, list[Shown]]:
    """Page to the commands of ours on it that are run."""
    found: dict[str, list[Shown]] = {}
    for command in shown():
        line = shlex.join(command.words)
        ours = line.startswith(("python -m", "training/", "./run.sh"))
        left_out = (line == "./run.sh" and command.page != LAPTOP) or command.words[1:2] in RECIPES_LEFT_OUT
        if ours and not left_out and not line.startswith(tuple(LEFT_OUT)):
            found.setdefault(command.page, []).append(command)
    return found


@pytest.mark.long
@pytest.mark.parametrize("page", sorted(walked()))
def test_the_commands_of_a_page_run_in_their_order(page, tmp_path, request):
    env = environment(clone(tmp_path))
    if page != LAPTOP:
        give(tmp_path, page, *(request.getfixturevalue(name) for name in ("corpus", "roomy_dir", "source_tree")))
    for command in walked()[page]:
        line = tiny(command)
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=400
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_substitutions_leave_known_flags():
    """So that a walk fails of what a page says, and not of a row above."""
    from tests.docs.parsing import parsed

    for commands in walked().values():
        for command in commands:
            words = shlex.split(tiny(command))
            if words[0] != "./run.sh" and "hardware" not in words:
                parsed(words)
