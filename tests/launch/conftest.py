"""A machine for the launcher: its shell, and an environment whose Python is a few lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HOST = "worker-0"

STOPPING = """
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("started", *sys.argv[2:5], flush=True)
time.sleep(60)
"""


@pytest.fixture
def shell(tmp_path):
    """A shell command in the clone's folder, on a machine of a fixed name and home."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "hostname").write_text(f"#!/bin/sh\necho {HOST}\n")
    (bin_dir / "hostname").chmod(0o755)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess:
        clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        env = clean | {"PATH": f"{bin_dir}:{clean['PATH']}", "HOME": "/home/user", **environment}
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


def make_venv(folder: Path, clone: Path, program: str) -> Path:
    """An environment that run.sh takes for made, whose Python is `program`."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f"#!{sys.executable}\n{program}")
    (folder / "bin" / "python").chmod(0o755)
    with (clone / "setup.cfg").open() as file:
        size = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout.strip()
    (folder / "installed").write_text(f"{clone} {size}\ntpu\ncuda\n")
    return folder
