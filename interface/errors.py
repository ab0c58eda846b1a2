"""The user's mistake, and how a command ends on one."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something that the user can mend. The message says what was found, what was wanted and what to do.

    Rooms subclass it by name; a command prints it as one line and exits with status 2, without a traceback.
    """


class OutputNotEmpty(UserError):
    """The output directory holds something already."""


STOPPED = 75  # EX_TEMPFAIL of sysexits.h: give the command again and it goes on


UNPUSHED = 69  # EX_UNAVAILABLE of sysexits.h


class NotPushed(Exception):
    """A run is done and its model is on disk, but the Hub did not take it."""


class Stopped(Exception):
    """A command has ended because a signal asked it to; what it had done is saved."""


def last_words(error: BaseException) -> tuple[int, str | None]:
    """The status that a command ends with on an error, and the line that it says; None: what is no user's business.

    2 on a UserError, 1 on a fault of the system, 130 on Ctrl-C, STOPPED where it could save first, UNPUSHED where all
    is done but the last push.
    """
    if isinstance(error, UserError):
        return 2, f"error: {error}"
    if isinstance(error, Stopped):
        return STOPPED, str(error)
    if isinstance(error, NotPushed):
        return UNPUSHED, f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, OSError):  # a full disk, a folder that is not ours to write
        return 1, f"error: {error}; what was written before is whole. Mend it and give the command again"
    return 1, None


def run(command: Callable[[], None]) -> None:
    """Run a command's main function; it ends as `last_words` says."""
    try:
        command()
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        sys.stderr.close()
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        status, words = last_words(error)
        if words is None:
            raise
        print(words, file=sys.stderr)
        sys.exit(status)
