"""Stopping: what a run does about SIGTERM (a spot machine's notice) and SIGINT (Ctrl-C).

The first signal asks the loop to save a checkpoint and to end with status STOPPED. Where there is nothing new to save
(before the first step, say) it ends the process at once, with the same status. A second signal always does, but for the
first second: a terminal's Ctrl-C reaches this process and the launcher, which hands it on. The last whole checkpoint is
intact, since each gets its name only when it is whole.

Where a run has several processes, one that gets a signal tells the others (training.notices). They save at the same
step (training.agreement).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import TracebackType
from typing import NoReturn

from interface.errors import STOPPED
from training.notices import Notices
from training.processes import is_primary

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_NOTICE = 1.0  # seconds within which signals are one notice that came by several ways


class Stopping:
    """Handlers of both signals for as long as the run lasts.

    Python runs a handler only between two of its own steps, and a compilation is one step of minutes. So the
    interpreter's C handler writes each signal's number into a pipe, and a thread of ours reads them there.
    """

    def __init__(self) -> None:
        self.notices: Notices | None = None  # to the other processes, once they have joined
        self.saves_first = False  # there is something to save: a first signal waits for the loop
        self._asked = threading.Event()

    def __enter__(self) -> Stopping:
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        self._wakeup_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), name="signals", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            # a run that was asked to end goes on ending, with that status: Python's own handlers would know another
            signal.signal(number, (lambda *_: os._exit(STOPPED)) if self._asked.is_set() else handler)
        os.close(self._writing)  # ends the thread

    @property
    def asked(self) -> bool:
        """Whether a signal has come, here or in another process: the loop is to save and to end."""
        return self._asked.is_set()

    def ask(self, words: str) -> None:
        """Ask the loop to stop since another process was asked to."""
        if not self.asked and is_primary():
            _print(words)
        self._asked.set()

    def _watch(self, reading: int) -> None:
        first_at: float | None = None
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while number := pipe.read(1):
                if number[0] not in SIGNALS:
                    continue
                name, now = signal.Signals(number[0]).name, time.monotonic()
                if first_at is not None and now - first_at < SAME_NOTICE:
                    continue
                if first_at is not None or not self.saves_first:
                    self._end(f"{name}: ending at once; the last whole checkpoint is what there is")
                first_at = now
                words = f"{name}: saving a checkpoint, then ending; once more to end at once"
                _print(words)
                self._asked.set()
                if self.notices is not None:
                    self.notices.stop(words)

    def _end(self, words: str) -> NoReturn:
        _print(words)
        if self.notices is not None:
            self.notices.end(STOPPED, words)
        os._exit(STOPPED)


def _print(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
