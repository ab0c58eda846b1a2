"""Progress of a long command: a table at the start, a bar on a terminal, one line an interval in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm

_silent = False


def be_silent() -> None:
    """Print nothing from here on: of a command's several processes another one says it for all."""
    global _silent
    _silent = True


def say(text: str) -> None:
    """Print a line without breaking a progress bar that is being drawn."""
    if _silent:
        return
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def start_table(title: str, rows: Mapping[str, str]) -> None:
    """Print what a command is about to do, one row a fact."""
    if _silent:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def duration(seconds: float) -> str:
    """Spell a duration for people: 42 s, 3 min 05 s, 2 h 07 min.

    >>> duration(41.7), duration(185), duration(7620)
    ('42 s', '3 min 05 s', '2 h 07 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Steps:
    """A bar over `total` steps on a terminal; nothing where the output is a file (the log lines say it there)."""

    def __init__(
        self,
        total: int,
        done: int = 0,
        label: str = "train",
        clock: Callable[[], float] = time.monotonic,
        unit: str = "step",
    ) -> None:
        self._bar = tqdm(total=total, initial=done, desc=label, unit=unit, disable=_silent or None, leave=False)
        self._clock = clock
        self._start = clock()
        self._first = done
        self._total = total

    def advance(self, count: int = 1) -> None:
        self._bar.update(count)

    def time_left(self, step: int) -> str:
        """Estimate the time until `total` from the pace since the start."""
        done = step - self._first
        if done <= 0:
            return "?"
        return duration((self._clock() - self._start) / done * (self._total - step))

    def close(self) -> None:
        self._bar.close()
