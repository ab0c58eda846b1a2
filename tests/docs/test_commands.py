"""Every command that README, CONTRIBUTING and docs/ show: known, and right by the parser of its own program.

test_walks.py runs them. What needs gcloud or Slurm is run as a dry run here, against tests/golden/docs/launch.txt.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import ROOT
from tests.docs.pages import OTHERS, SHELL, Shown, blocks, inline_flags, pages, shown
from tests.docs.parsing import parsed

GOLDEN = ROOT / "tests" / "golden" / "docs" / "launch.txt"
RUN_SH = (ROOT / "run.sh").read_text()
LAUNCHERS = RUN_SH + "".join(path.read_text() for path in sorted((ROOT / "launch").rglob("*.sh")))
SUBCOMMANDS = {name for line in re.findall(r"^  ([a-z| -]+)\) ", RUN_SH[RUN_SH.rindex("\ncase ") :], re.M)
               for name in line.split(" | ")}  # fmt: skip
JOBS = ("main", "finetune", "setup", "test", "bench", "docs", "help")
EXTRAS = set(re.findall(r"^(\w+) =", (ROOT / "setup.cfg").read_text().split("extras_require]")[1], re.M))
RECIPES = SUBCOMMANDS - {*JOBS, "-h", "--help"}


def check_python(command: Shown) -> None:
    words = command.words
    if words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file() and len(words) == 2
    elif words[1:4] != ["-m", "modeling", "hardware"]:
        parsed(words)


def check_training(command: Shown) -> None:
    parsed(command.words)


def dry_run(words: list[str], variables: dict[str, str]) -> str:
    """What the launcher would do, on a machine of a fixed home."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = {**keep, "HOME": "/home/user", **variables, "DRY_RUN": "1"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.sub(r"log-\S+\.txt", "log-HOST.txt", done.stdout.replace(str(ROOT), "ROOT"))


def check_run(command: Shown) -> None:
    """./run.sh: its job and the flags behind it."""
    name, *rest = command.words[1:] or ["main"]
    assert name in SUBCOMMANDS, f"{command}: run.sh has no {name}"
    for variable in command.variables:
        assert re.search(rf"\b{variable}\b", LAUNCHERS), f"{command}: nothing reads {variable}"
    if name == "finetune":
        parsed(["training/run_clm_streaming_flax.py", "--output_dir", "OUT", "--model_name_or_path", "M", *rest[1:]])
    elif name == "bench" and rest:
        assert (ROOT / "benchmarks" / f"{rest[0]}.py").is_file(), f"{command}: no such benchmark"
    elif name == "setup":
        assert set(rest) <= EXTRAS
    elif name in RECIPES:
        assert dry_run(command.words, {"ACCELERATOR": "cpu", **command.variables})


def check_launch(command: Shown) -> None:
    """Compared with the golden file by a test of its own."""
    for variable in command.variables:
        assert re.search(rf"\b{variable}\b", LAUNCHERS), f"{command}: nothing reads {variable}"


def check_pip(command: Shown) -> None:
    assert command.words[1:3] == ["install", "-e"]
    assert set(re.findall(r"\w+", command.words[3])) <= EXTRAS, f"{command}: no such extra in setup.cfg"


def check_serve(command: Shown) -> None:
    """By the parser of transformers; test_editor.py starts it."""
    typer = pytest.importorskip("typer")
    from transformers.cli.serve import Serve

    app = typer.Typer()
    app.command(name="serve")(Serve)
    assert command.words[1] == "serve"
    group = typer.main.get_command(app)
    group.make_context("serve", command.words[2:], resilient_parsing=False)


# Programs of others. Each is run by hand, or by the test that is named.
OTHER_PROGRAMS = {
    "accelerate": "another harness",
    "curl": "tests/docs/test_editor.py sends it",
    "gcloud": "the same words as launch/tpu_vm.sh gives",
    "lm_eval": "another harness",
    "source": "tests run in the environment already",
    "sudo": "Debian's bubblewrap",
}
CHECKS: dict[str, Callable[[Shown], None]] = {
    "python": check_python,
    "training/run_clm_streaming_flax.py": check_training,
    "training/run_clm_apps.py": check_training,
    "./run.sh": check_run,
    "launch/local_gpus.sh": check_launch,
    "launch/tpu_vm.sh": check_launch,
    "bash": check_launch,
    "sbatch": check_launch,
    "pip": check_pip,
    "transformers": check_serve,
}


@pytest.mark.parametrize("command", shown(), ids=str)
def test_a_command_that_is_shown_is_right(command):
    program = command.words[0]
    if program not in OTHER_PROGRAMS:
        assert program in CHECKS, f"{command}: say in CHECKS or OTHER_PROGRAMS how {program} is checked"
        CHECKS[program](command)


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_says_its_language_and_inline_commands_have_known_flags(path):
    """A block of no known language could hold a command that nothing checks."""
    for language, text in blocks(path):
        assert language in (*SHELL, *OTHERS, "indented"), f"{path}: a block of language {language!r}:\n{text}"
    for words in inline_flags(path):
        name = words[2] if words[1] == "-m" else words[0]
        flags = {word.split("=")[0] for word in words if word.startswith("--")} - {"--help"}
        known = known_flags(words)
        assert flags <= known, f"{path}: {name} has no {flags - known}"


def known_flags(words: list[str]) -> set[str]:
    import runpy

    commands = runpy.run_path(str(ROOT / "docs" / "write_flags.py"))
    from training.apps_arguments import AppsArguments
    from training.streaming_arguments import StreamingArguments

    table = {**commands["COMMANDS"], "training/run_clm_streaming_flax.py": StreamingArguments,
             "training/run_clm_apps.py": AppsArguments, "python -m training resolve": StreamingArguments}  # fmt: skip
    named = [kind for name, kind in table.items() if words[: len(name.split())] == name.split()]
    assert named, f"no command {words}"
    return {f"--{field.name}" for field in dataclasses.fields(named[-1])}


def launch_commands() -> list[Shown]:
    return [command for command in shown() if CHECKS.get(command.words[0]) is check_launch]


def launched(command: Shown) -> str:
    """The dry run of a launcher; sbatch's own flags are left out, since a login node has no sbatch to ask."""
    words = command.words
    if words[0] == "sbatch":
        own = [word for word in words[1:] if re.match(r"--(nodes|ntasks-per-node|gpus-per-node|time)=\S+$", word)]
        words = ["bash", *words[1 + len(own) :]]
    assert (ROOT / words[-1 if len(words) == 1 else words.index(next(w for w in words if w.endswith(".sh")))]).is_file()
    return dry_run(words, command.variables)


def test_what_needs_gcloud_or_slurm_prints_what_it_would_do():
    """What differs from the golden file is shown; a wanted difference is written there by hand."""
    text = "".join(f"=== {command}\n{launched(command)}\n" for command in launch_commands())
    assert text == GOLDEN.read_text()


def test_a_wrong_flag_and_an_unknown_program_would_be_found(capsys):
    wrong = Shown("page", {}, ["python", "-m", "generation", "--model", "M", "--prompt", "x", "--max_new_token", "3"])
    with pytest.raises(pytest.fail.Exception):
        check_python(wrong)
    assert "did you mean --max_new_tokens?" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="how frobnicate is checked"):
        test_a_command_that_is_shown_is_right(Shown("page", {}, ["frobnicate"]))
