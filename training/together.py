"""Together: a training command among the other processes of its run, from joining them to the common end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from interface.errors import Stopped, last_words
from interface.progress import be_silent
from training.notices import Notices
from training.processes import count, introduction, is_primary, join
from training.stopping import Stopping


@contextmanager
def together() -> Iterator[Stopping]:
    """Join the run's other processes, if there are any, before anything asks jax for devices; end with them.

    Each says its rank; from there on process 0 speaks for all, and the others only of errors. An error of one ends all
    of them at once.  Raises: JoinFailed.
    """
    with Stopping() as stopping:
        join()
        if count() == 1:
            yield stopping
            return
        notices = stopping.notices = Notices(stopping.ask)
        try:
            print(introduction(), flush=True)
            if not is_primary():
                be_silent()
            yield stopping
        except Stopped:  # all of them, at the same step
            notices.close()
            raise
        except BaseException as error:
            status, words = last_words(error)
            if words is None:
                traceback.print_exc()
            else:
                print(words, file=sys.stderr, flush=True)
            notices.end(status, words or next(iter(traceback.format_exception_only(error))).strip())
        notices.close()
