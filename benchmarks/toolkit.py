"""The toolkit's own commands, run as a user would: what the benchmarks of learning are made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APPS, STREAMING = "training/run_clm_apps.py", "training/run_clm_streaming_flax.py"


def command(log: Path, *words: object) -> None:
    """Run a command of the toolkit, what it prints into `log`.  Raises: SystemExit with its end where it fails."""
    environment = {
        **os.environ, "TRANSFORMERS_VERBOSITY": "error",
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }  # fmt: skip
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        done = subprocess.run(
            [sys.executable, *map(str, words)], cwd=ROOT, env=environment, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(
            f"{' '.join(map(str, words[:3]))} ended with status {done.returncode}; {log} ends with\n{tail}"
        )


def flags(**given: object) -> list[str]:
    """Flags of a command by name; True is a flag alone.

    >>> flags(do_train=True, seed=3)
    ['--do_train', '--seed=3']
    """
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
