"""Ranks: the processes of one run, on the loopback, each with its share of the virtual devices."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.conftest import ROOT


class Ranks:
    """A command as `count` processes of one run; `{rank}` in its words is each one's number.

    What they print goes to files in `folder`. Each leads a group of processes, or the first one leads that of all, as a
    shell has it; `kill` ends the groups: nothing of a test may go on after it.
    """

    def __init__(
        self, folder: Path, count: int, *words: object, devices: int = 1, one_group: bool = False, **more: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        address = f"127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        for rank in range(count):
            environment = {
                **os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={max(devices // count, 1)}",
                "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(rank), "JAX_COORDINATOR_ADDRESS": address,
                **more,
            }  # fmt: skip
            own = [str(word).replace("{rank}", str(rank)) for word in words]
            group = self.processes[0].pid if one_group and rank else 0
            with (folder / f"{rank}.out").open("wb") as out, (folder / f"{rank}.err").open("wb") as err:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, *own], cwd=ROOT, env=environment, stdout=out, stderr=err, process_group=group
                    )
                )

    def said(self, rank: int) -> str:
        return (self.folder / f"{rank}.out").read_text()

    def told(self, rank: int) -> str:
        """What a process said of errors."""
        return (self.folder / f"{rank}.err").read_text()

    def until(self, due: Callable[[], bool], seconds: float = 240) -> None:
        """Wait for something, while all run."""
        deadline = time.monotonic() + seconds
        while not due():
            assert all(process.poll() is None for process in self.processes), self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.002)

    def signal(self, number: signal.Signals, *ranks: int) -> None:
        for rank in ranks:
            self.processes[rank].send_signal(number)

    def ends(self, seconds: float = 240) -> list[int]:
        """Each one's status, once all have ended."""
        deadline = time.monotonic() + seconds
        try:
            return [process.wait(max(deadline - time.monotonic(), 0.01)) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended after {seconds} s: {self.words()}") from None

    def succeed(self, seconds: float = 240) -> None:
        assert not any(self.ends(seconds)), self.words()

    def kill(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()

    def words(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.[oe]*")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
