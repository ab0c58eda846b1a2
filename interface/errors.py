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


def run(command: Callable[[], None]) -> None:
    """Run a command's main function.

    It ends with status 2 on a UserError, 1 on a fault of the system, 130 on Ctrl-C, STOPPED where it could save first,
    UNPUSHED where all is done but the last push.
    """
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(STOPPED)
    except NotPushed as left:
        print(f"error: {left}", file=sys.stderr)
        sys.exit(UNPUSHED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that is not ours to write
        print(f"error: {error}; what was written before is whole. Mend it and give the command again", file=sys.stderr)
        sys.exit(1)
