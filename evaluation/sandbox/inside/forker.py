"""A forker: a warm process that makes others, one at a time, each ahead of the time when it is wanted.

A fork costs both sides every page that either writes afterwards, so this loop does next to nothing between two forks:
the child waits for its start and reads it, the parent waits for the order that ends it. Both the programs under test
(zygote.py) and their judges are made so.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

from . import isolation

END = "end"  # the order's first word; modules to import before the next fork follow


def serve(orders: socket.socket, fork: Callable[[], int], begin: Callable[[], None]) -> None:
    """Fork, wait for an order, kill, tell how it ended; until there are no orders any more.

    `orders` is a socket of packets. The answer to one is the status of wait4, CPU seconds, and why there was no
    process, where `fork` raised OSError. `begin` is the child's, and should not return.
    """
    gc.collect()
    gc.disable()
    gc.freeze()
    orders.send(b"ready")
    while True:
        process, fault, status, cpu_seconds = 0, "", 0, 0.0
        try:
            process = fork()
        except OSError as error:
            process, fault = -1, str(error)
        if process == 0:
            try:
                isolation.die_with_parent()
                orders.close()
                begin()
            finally:
                os._exit(0)
        order = orders.recv(4096)
        if not order:
            return
        if process > 0:
            os.kill(process, signal.SIGKILL)
            _, status, usage = os.wait4(process, 0)
            cpu_seconds = usage.ru_utime + usage.ru_stime
        orders.send(f"{status} {cpu_seconds} {fault}".encode())
        if len(order) > len(END):
            warm(order.decode().split()[1:])
            gc.freeze()


def receive_start(starts: socket.socket, num_descriptors: int) -> tuple[bytes, list[int]]:
    """What a child is to do. Ends the process where nothing is to be done any more."""
    message, descriptors, _, _ = socket.recv_fds(starts, 4096, num_descriptors)
    if not message:
        os._exit(0)
    return message, descriptors


def confirm_start(starts: socket.socket) -> None:
    """Say since when a child knows what it is to do."""
    starts.send(repr(time.monotonic()).encode())


def warm(names: Sequence[str]) -> None:
    """Import modules for all children to come.

    What they want done after a fork (random: draw a seed; threading: count threads) is not for children, which get
    their seed from here and start with one thread, and would take a third of a fork's time.
    """
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        os.register_at_fork = register
