"""Quiet: what Orbax and tensorstore print of a write that fails, hundreds of lines for one full disk, is left out.

The error itself is raised where the write is waited for.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_writes() -> Iterator[None]:
    """Inside, neither their threads nor their loops print an error; everybody else's errors are printed as before."""
    loggers = [(logging.getLogger(name), logging.getLogger(name).level) for name in ("absl", "asyncio")]
    before, before_in_threads = sys.unraisablehook, threading.excepthook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":  # tensorstore's, of each array
            before(unraisable)

    def hook_in_threads(arguments: threading.ExceptHookArgs) -> None:
        if not type(arguments.thread).__module__.startswith("orbax."):
            before_in_threads(arguments)

    sys.unraisablehook, threading.excepthook = hook, hook_in_threads
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = before, before_in_threads
        for logger, level in loggers:
            logger.setLevel(level)
