"""Processes: joining the other processes of a run, before anything asks jax for devices.

A run has several processes where its environment says so: JAX_NUM_PROCESSES (with JAX_PROCESS_ID and
JAX_COORDINATOR_ADDRESS), a Slurm step, or a TPU pod. One that cannot join is an error: alone it would train a model of
its own, and each of the others as well.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interface.errors import UserError
from interface.progress import say

TIMEOUT_SECONDS = 300
WAIT_SECONDS = (
    7 * 24 * 3600
)  # others may fetch a model or tokenise meanwhile; one that dies ends all (training.notices)


class JoinFailed(UserError):
    """A process of a run of several could not join the others."""


def expected_processes(environment: Mapping[str, str]) -> int:
    """How many processes the environment speaks of; 1 where it speaks of none.  Raises: JoinFailed."""
    for name in ("JAX_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS"):
        if words := environment.get(name):
            if not words.isascii() or not words.isdecimal() or not int(words):
                raise JoinFailed(f"{name} is {words!r}; wanted the number of the run's processes, 1 or more")
            return int(words)
    return len([name for name in environment.get("TPU_WORKER_HOSTNAMES", "").split(",") if name]) or 1


def join(timeout_seconds: int = TIMEOUT_SECONDS) -> None:
    """Join the run's other processes, where there are any; asks for no devices.

    Raises: JoinFailed where the coordinator is not reached in time, or they are not as many as expected. Where others
    than the coordinator stay away, jax aborts the process.
    """
    expected = expected_processes(os.environ)
    if expected == 1:
        return
    import jax

    given: dict[str, Any] = {}
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        number = os.environ.get("JAX_PROCESS_ID", "")
        if not number.isdecimal() or int(number) >= expected:
            raise JoinFailed(f"JAX_PROCESS_ID is {number!r}; wanted this process's number, 0 to {expected - 1}")
        given = {"coordinator_address": address, "num_processes": expected, "process_id": int(number)}
        if int(number):
            _reach(address, timeout_seconds)
    # Where the others stay away jax ends this process by an abort, after it has said DEADLINE_EXCEEDED among much else.
    say(f"joining {expected - 1} other processes, for up to {timeout_seconds} s")
    # Our own handlers take SIGTERM (training.stopping); beside jax's service they would break its agreement.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**given, initialization_timeout=timeout_seconds)
    except (RuntimeError, ValueError) as error:
        raise JoinFailed(
            f"this process could not join the {expected} of the run ({str(error).splitlines()[0]}); start all of them "
            "with the same coordinator address, reachable from each, and look at the logs of the others"
        ) from error
    if count() != expected:
        raise JoinFailed(
            f"{count()} processes came together, and the environment speaks of {expected}; start as many "
            "as it says, or correct it"
        )


def introduction() -> str:
    """What to print of this process's rank and devices."""
    import jax

    return f"process {rank()} of {count()}: {jax.local_device_count()} of {jax.device_count()} devices"


def is_primary() -> bool:
    """Whether this is the process that prints, and that writes what all have one of. True where there is only one."""
    return rank() == 0


def rank() -> int:
    """This process's number, from 0: that of its devices, which on a TPU pod need not be JAX_PROCESS_ID's."""
    import jax

    return int(jax.process_index()) if count() > 1 else 0


def count() -> int:
    """How many processes the run has."""
    return int(coordination().num_processes)


def coordination() -> Any:
    """Number of processes and, where there are several, the client of jax's coordination service.

    The service lives in the process whose `process_id` here is 0, and works whatever the devices do. jax offers it
    under no public name.
    """
    from jax._src.distributed import global_state

    return global_state


def barrier(name: str) -> None:
    """Wait until every process of the run has come here; nothing where there is only one."""
    if client := coordination().client:
        client.wait_at_barrier(_once(name), WAIT_SECONDS * 1000)


def gather(name: str, value: Any) -> list[Any]:
    """What each process has, by rank: JSON values. Each waits for all."""
    client = coordination().client
    if client is None:
        return [value]
    key = _once(name)
    client.key_value_set(f"{key}/{rank()}", json.dumps(value))
    return [json.loads(client.blocking_key_value_get(f"{key}/{n}", WAIT_SECONDS * 1000)) for n in range(count())]


def first_here(folder: Path) -> int:
    """The lowest rank among the processes that see `folder` as this one does; makes the folder.

    0 where all share it; this process's own where it lies on a disk of this machine alone.
    """
    if count() == 1:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    name = gather("mark", secrets.token_hex(8))[0]
    marks = [folder / f".{name}-{n}.partial" for n in range(count())]  # new names: nobody has cached that they are not
    marks[rank()].touch()
    barrier("marked")
    first = next(n for n, mark in enumerate(marks) if mark.exists())
    barrier("seen")
    marks[rank()].unlink()
    return first


_used: Counter[str] = Counter()


def _once(name: str) -> str:
    """A name for the service, where each is for one time; all processes come to it equally often."""
    _used[name] += 1
    return f"{name}-{_used[name]}"


def _reach(address: str, timeout_seconds: float) -> None:
    """Wait until the coordinator listens."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise JoinFailed(f"JAX_COORDINATOR_ADDRESS is {address!r}; wanted HOST:PORT of process 0")
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise JoinFailed(
                    f"nobody listens at {address} after {timeout_seconds} s ({error}); start process 0 there, and open "
                    "the port between the machines"
                ) from error
        time.sleep(0.2)
