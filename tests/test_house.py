"""The house: layers, names, lint and types."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("interface", "modeling", "tokenizer_patch", "data_processing", "generation", "training", "evaluation")
GROUND = ("interface", "modeling", "tokenizer_patch")
# What a package may import, beside itself. Commands (COMMANDS below) may import anything; nobody imports them.
BELOW = {
    "interface": (),
    "modeling": ("interface",),
    "tokenizer_patch": ("interface", "modeling"),
    "data_processing": GROUND,
    "generation": GROUND,
    "training": (*GROUND, "data_processing", "generation"),
    "evaluation": (*GROUND, "data_processing", "generation"),
}


def is_command(path: Path) -> bool:
    return path.name == "__main__.py" or path.name.startswith("run_clm_")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def upward(path: Path, package: str) -> set[str]:
    """The imports of a module of `package` that are not below it."""
    ours = {name for name in imported(path) if name.split(".")[0] in PACKAGES}
    return {name for name in ours if name.split(".")[0] not in (package, *BELOW[package])}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    assert is_command(path) or not upward(path, path.relative_to(ROOT).parts[0])
    commands = {
        name for name in imported(path) if name.split(".")[0] in PACKAGES and ("__main__" in name or "run_clm_" in name)
    }
    assert not commands, f"{path} imports the command {commands}"


def test_an_upward_import_would_be_found(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("import json\ndef f():\n    from training.loop import train\n    import evaluation.x as y\n")
    assert upward(module, "modeling") == {"training.loop", "training.loop.train", "evaluation.x"}
    assert upward(module, "training") == {"evaluation.x"}


def test_no_module_is_named_like_the_standard_library_or_an_installed_distribution():
    """A script's own folder heads sys.path, so such a name would hide the other module."""
    owners = importlib.metadata.packages_distributions()
    others = {name for name, owned_by in owners.items() if set(owned_by) != {"code-clippy"}}
    taken = set(sys.stdlib_module_names) | others
    names = {path.stem for path in modules() if path.stem not in ("__init__", "__main__")} | set(PACKAGES)
    assert not names & taken


def test_setup_lists_every_package():
    text = (ROOT / "setup.cfg").read_text()
    listed = text.split("packages =\n")[1].split("install_requires")[0].split()
    found = [p.parent.relative_to(ROOT) for top in ROOT.glob("*/__init__.py") for p in top.parent.rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(path.parts) for path in found if path.parts[0] != "tests")


def test_the_sandbox_imports_the_standard_library_only():
    for path in (ROOT / "evaluation" / "sandbox").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names), path


def test_jax_is_capped_below_the_release_that_breaks_flax():
    assert "jax>=0.10,<0.11.1" in (ROOT / "setup.cfg").read_text()


@pytest.mark.parametrize("tool", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_lint_and_types(tool):
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_entry_points_are_executable():
    for name in ("run.sh", "training/run_clm_streaming_flax.py", "training/run_clm_apps.py"):
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} is not executable"
