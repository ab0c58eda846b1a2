"""The attack suite: hostile programs through the sandbox, mixed with honest ones, and what the host saw of it.

    python -m tests.evaluation.attack_suite    # as any user; prints a report in JSON, standard library only

Each program of attacks/ is to double a number, and does so only where its attack got through.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluation.humaneval import job
from evaluation.sandbox import Job, Limits, Sandbox
from evaluation.sandbox.bubblewrap import interpreter_folders

ATTACKS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "attacks").glob("*.py"))}
SOURCES = {  # texts that no file holds well
    "null_in_source": "def double(x):\0\n    return 2 * x\n",
    "surrogate_in_source": "def double(x):\n    return '\ud800' and None\n",
    "return_in_source": "def double(x):\r    return 3 * x\r",
    "nested_source": "x = " + "(" * 100_000,
    "long_source": "x = 1\n" * 200_000 + "raise MemoryError\n",
}
TEST = "def check(candidate):\n" + "".join(f"    assert candidate({n}) == {2 * n}\n" for n in range(2, 8))
DOUBLE = {"prompt": "", "test": TEST, "entry_point": "double"}
HONEST = "def double(x):\n    return 2 * x\n"
SECONDS = 1.0
SECRET = "c0ffee-secret-of-the-host"


def run(honest: Iterable[Job], workers: int = 4) -> dict[str, Any]:
    """Run every attack once, each followed by honest jobs; the outcomes and what became of the host."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        Path(folder).chmod(0o777)
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        secret.chmod(0o666)
        os.environ["SECRET_OF_THE_HOST"] = SECRET
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{Path(folder).name}")
        abstract.listen()
        before = visible()
        with abstract, Sandbox(workers) as sandbox:
            started = [worker.process.pid for worker in sandbox._workers]
            allowed = ["/usr", "/bin", "/lib", "/lib64", "/lib32", "/sandbox", *map(str, interpreter_folders())]
            facts = {
                "secret": SECRET, "secret_file": str(secret), "folder": folder, "port": server.getsockname()[1],
                "abstract": Path(folder).name, "processes": [os.getpid(), *started],
                "project": [str(Path(__file__)), str(Path(__file__).parent)], "allowed": allowed,
            }  # fmt: skip
            watcher = Watcher(started)
            limits = Limits(SECONDS)
            jobs = [job(f"attack {name}", DOUBLE, source, limits=limits) for name, source in SOURCES.items()]
            for name, source in ATTACKS.items():
                jobs.append(job(f"attack {name}", DOUBLE, f"FACTS = {facts!r}\n{source}", limits=limits))
            jobs += [*honest, *[job(f"honest {n}", DOUBLE, HONEST, limits=Limits(30)) for n in range(len(jobs))]]
            random.Random(0).shuffle(jobs)
            outcomes = [
                {"key": outcome.key, "status": outcome.status, "seconds": outcome.seconds, "detail": outcome.detail}
                for outcome in sandbox.judge(jobs)
            ]
            peak = watcher.stop()
            replaced = started != [worker.process.pid for worker in sandbox._workers]
            left = [process for process in tree(started) if process.comm not in ("python", "bwrap")]
            processes = len(tree(started))
        return {
            "outcomes": outcomes, "peak_memory": peak, "workers_replaced": replaced, "processes": processes,
            "odd_processes": [process.comm for process in left], "new_files": sorted(visible() - before),
            "secret": secret.read_text(), "folder": [path.name for path in Path(folder).iterdir()], "workers": workers,
        }  # fmt: skip


def visible() -> set[str]:
    """What lies where programs of any user can write, but for the folders of others that come and go in /tmp."""
    found = set()
    for folder in (Path("/"), Path("/dev/shm"), Path("/usr"), Path("/var/tmp"), Path.home()):
        if os.access(folder, os.R_OK):
            # multiprocessing's semaphores are of tests that run beside this one
            found |= {str(path) for path in folder.iterdir() if not path.name.startswith("sem.mp-")}
    return found | {path for path in ("/dev/x", "/tmp/left", "/tmp/0", "/etc/x") if Path(path).exists()}


class Process:
    def __init__(self, number: int) -> None:
        self.number = number
        fields = Path(f"/proc/{number}/stat").read_text()
        self.comm = fields[fields.index("(") + 1 : fields.rindex(")")].rstrip("0123456789.")
        self.parent = int(fields[fields.rindex(")") + 2 :].split()[1])
        self.resident = int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tree(roots: list[int]) -> list[Process]:
    """Processes below some, those included."""
    every = {}
    for path in Path("/proc").iterdir():
        if (name := path.name).isdigit():
            try:
                every[int(name)] = Process(int(name))
            except (OSError, ValueError):
                continue

    def below(process: Process | None) -> bool:
        while process is not None:
            if process.number in roots:
                return True
            process = every.get(process.parent)
        return False

    return [process for process in every.values() if below(process)]


class Watcher:
    """Notes the most memory that the processes below some held at once."""

    def __init__(self, roots: list[int]) -> None:
        self.roots, self.peak, self.over = roots, 0, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.over:
            self.peak = max(self.peak, sum(process.resident for process in tree(self.roots)))
            time.sleep(0.05)

    def stop(self) -> int:
        self.over = True
        self.thread.join()
        return self.peak


if __name__ == "__main__":
    json.dump(run([]), sys.stdout)
