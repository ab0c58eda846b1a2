"""The launch of the zygote: from a small process that is to stay small, so without `subprocess`."""

from __future__ import annotations

import ctypes
import fcntl
import os

# The user that programs run as where the toolkit runs as root: files of root's are not theirs, and limits bind them.
UNPRIVILEGED = 61001
FIRST = 3  # the zygote's first descriptor beside the standard ones
STAGE = "/tmp"  # where root lays out, in mounts that only the sandbox sees, folders that others may not reach

_NEW_MOUNTS, _BIND, _RECURSIVE, _PRIVATE = 0x00020000, 4096, 16384, 1 << 18


def launch(
    words: list[str], environment: dict[str, str], binds: dict[str, str], handed: tuple[int, int], errors: int
) -> int:
    """Start a program with two sockets from FIRST on and a file that takes what it says; its process.

    With `binds` (root's: where to -> from where) the folders are laid out first, and it is started as UNPRIVILEGED.
    """
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor, standard in ((nothing, 0), (nothing, 1), (errors, 2)):
            os.dup2(descriptor, standard)
        apart = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, FIRST + len(handed)) for descriptor in handed]
        for place, descriptor in enumerate(apart, FIRST):  # none is dup2'd onto itself or another: it would close
            os.dup2(descriptor, place)
        os.closerange(FIRST + len(handed), 256)
        if binds:
            _lay_out(binds)
            os.setgroups([])
            os.setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
            os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        os.chdir("/")
        os.execve(words[0], words, environment)
    except OSError as error:
        os.write(2, f"starting {words[0]}: {error}".encode())
    finally:
        os._exit(1)


def _lay_out(binds: dict[str, str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), f"laying out folders as root: {os.strerror(ctypes.get_errno())}")

    checked(libc.unshare(_NEW_MOUNTS))
    checked(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
    # opened before STAGE is covered, since a folder may lie in there, and after unshare: a bind wants its own mounts
    opened = {target: os.open(source, os.O_PATH) for target, source in binds.items()}
    checked(libc.mount(b"tmpfs", STAGE.encode(), b"tmpfs", 0, None))
    for target, descriptor in opened.items():
        os.mkdir(target)  # noqa: PTH102
        checked(libc.mount(f"/proc/self/fd/{descriptor}".encode(), target.encode(), None, _BIND | _RECURSIVE, None))
