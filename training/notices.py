"""Notices: what one process of a run tells all the others at once, whatever they are doing.

A process that ends before the others, on an error or at a signal, would leave them in a sum over devices that never
comes, until jax takes it for dead and aborts them. So it says why, and they end with it and with its status. A thread
of each listens, since the main one may be compiling or waiting for devices. The words go through jax's coordination
service, which lives in one of them: that one leaves last.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from training.processes import WAIT_SECONDS, barrier, coordination, count

FAREWELL_SECONDS = 5  # for all to have heard
EXIT_SECONDS = 1  # and for the last of them to be gone: without the service jax would abort it


class Notices:
    """This process's ear and mouth. `asked` is called with a line where another one was asked to stop."""

    def __init__(self, asked: Callable[[str], None]) -> None:
        self._client = coordination().client
        self._number = int(coordination().process_id)  # known before there are devices; 0 has the service
        self._asked = asked
        self._ending = threading.Lock()  # taken once and never let go: who comes second waits for the exit
        self._next = 0  # the number of the notice that is listened for
        self._thread = threading.Thread(target=self._listen, name="notices", daemon=True)
        self._thread.start()

    def stop(self, why: str) -> None:
        """Tell the others that this process was asked to stop."""
        self._tell("stop", words=f"process {self._number} of {count()}: {why}")

    def end(self, status: int, why: str) -> NoReturn:
        """End this process, and with it all the others, with the same status."""
        self._ending.acquire()
        self._tell("end", status=status, words=f"process {self._number} of {count()}: {why}")
        self._leave(status)

    def close(self) -> None:
        """Wait until all are here, then listen no more."""
        barrier("end")
        if self._number == 0:
            self._tell("over")
        self._thread.join()

    def _tell(self, kind: str, **more: Any) -> None:
        text = json.dumps({"kind": kind, "from": self._number, **more})
        number = self._next
        while True:
            try:
                self._client.key_value_set(f"notice/{number}", text)
                return
            except RuntimeError as error:
                if "ALREADY_EXISTS" not in str(error):
                    return  # the service is gone, and jax is about to end this one
                number += 1

    def _listen(self) -> None:
        while True:
            try:
                notice = json.loads(self._client.blocking_key_value_get(f"notice/{self._next}", WAIT_SECONDS * 1000))
            except RuntimeError:
                return  # the service is gone, and jax is about to end this one
            self._next += 1
            if notice["kind"] == "over":
                return
            if notice["from"] == self._number:
                continue
            if notice["kind"] == "stop":
                self._asked(notice["words"])
            elif self._ending.acquire(blocking=False):  # else this one is ending for a reason of its own
                print(notice["words"], file=sys.stderr, flush=True)
                self._leave(notice["status"])

    def _leave(self, status: int) -> NoReturn:
        """Exit at once: a usual exit would wait for threads, and jax's for the other processes."""
        with suppress(RuntimeError):
            self._client.key_value_set(f"left/{self._number}", "")
            deadline = time.monotonic() + FAREWELL_SECONDS
            for other in range(1, count()) if self._number == 0 else ():
                left = max(deadline - time.monotonic(), 0.001)
                self._client.blocking_key_value_get(f"left/{other}", int(left * 1000))
            if self._number == 0:
                time.sleep(EXIT_SECONDS)
        os._exit(status)
