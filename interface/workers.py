"""Workers: processes that are spawned, never forked, and that end when whoever started them is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any

from interface.errors import UserError


class WorkerDied(UserError):
    """A worker process was killed from outside."""


def spawn_workers(count: int, begin: Callable[..., object] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """A pool of `count` processes, started as they are needed; each calls `begin(*arguments)` first, if it is given."""
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (begin, arguments))


def start_process(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start one process that calls `function(*arguments)`; Ctrl-C, which a terminal sends to all, is its parent's."""
    process = get_context("spawn").Process(target=_begin_alone, args=(function, *arguments), daemon=True)
    process.start()
    return process


def _begin_alone(function: Callable[..., object], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin(function, arguments)


def _begin(begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    """A parent that was killed sends no word, and a worker that waits for one would wait for ever."""
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
