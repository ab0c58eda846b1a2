"""Processes: joining the other processes of a run, before anything asks jax for devices.

A run has several processes where its environment says so: JAX_NUM_PROCESSES (with JAX_PROCESS_ID and
JAX_COORDINATOR_ADDRESS), a Slurm step, or a TPU pod. One that cannot join is an error: alone it would train a model of
its own, and each of the others as well.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from interface.errors import UserError
from interface.progress import say

TIMEOUT_SECONDS = 300
BARRIER_SECONDS = 24 * 3600  # others may fetch a model or tokenise meanwhile; a dead one is found out by its silence


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


def join(timeout_seconds: int = TIMEOUT_SECONDS) -> str | None:
    """Join the run's other processes, where there are any; returns what to print of this one's rank.

    Raises: JoinFailed where the coordinator is not reached in time, or they are not as many as expected. Where others
    than the coordinator stay away, jax aborts the process.
    """
    expected = expected_processes(os.environ)
    if expected == 1:
        return None
    import jax

    given: dict[str, Any] = {}
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        rank = os.environ.get("JAX_PROCESS_ID", "")
        if not rank.isdecimal() or int(rank) >= expected:
            raise JoinFailed(f"JAX_PROCESS_ID is {rank!r}; wanted this process's number, 0 to {expected - 1}")
        given = {"coordinator_address": address, "num_processes": expected, "process_id": int(rank)}
        if int(rank):
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
    if jax.process_count() != expected:
        raise JoinFailed(
            f"{jax.process_count()} processes came together, and the environment speaks of {expected}; start as many "
            "as it says, or correct it"
        )
    return f"process {jax.process_index()} of {expected}: {jax.local_device_count()} of {jax.device_count()} devices"


def is_primary() -> bool:
    """Whether this is the process that prints, and that writes what all have one of. True where there is only one."""
    import jax

    return not jax.distributed.is_initialized() or jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process of the run has come here; nothing where there is only one."""
    from jax._src.distributed import global_state  # jax offers its coordination service by no public name

    if global_state.client is not None:
        _passed[name] += 1  # a barrier of the service is for one time
        global_state.client.wait_at_barrier(f"{name}-{_passed[name]}", BARRIER_SECONDS * 1000)


_passed: Counter[str] = Counter()


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
