"""Push: files of a model folder to a repository of the Hugging Face Hub.

A command opens the repository before its work, so that a token that may not write is known in the first second, and
pushes after it. Token, endpoint and the transfer itself are the Hugging Face client's own business: what is there
already is not sent again, and the same push goes on where an earlier one stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from interface.errors import UserError

MAIN = "main"
OPEN_PATIENCE_SECONDS = 60.0
PATIENCE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 60.0
SILENCE_SECONDS = 300.0  # the client itself would wait for ever for a server that does not answer

T = TypeVar("T")


class PushRefused(UserError):
    """The Hub did not take what was to be pushed."""


def full_id(name: str, *, tell: Callable[[str], None] = print) -> str:
    """OWNER/NAME of a repository: where only NAME is given, its owner is the token's user.  Raises: PushRefused."""
    from huggingface_hub import HfApi

    if "/" in name:
        return name
    return f"{_insist(lambda: HfApi().whoami()['name'], name, OPEN_PATIENCE_SECONDS, tell)}/{name}"


def open_repository(
    repo_id: str, *, private: bool = False, revision: str = MAIN, tell: Callable[[str], None] = print
) -> str:
    """Make a model repository and its branch where they are not there yet; return its URL.

    One that is there stays private or public as it is.  Raises: PushRefused, also where it may only be read.
    """
    from huggingface_hub import HfApi

    def attempt() -> str:
        # False would be public even where an organisation's default is private, so it is left out
        url = HfApi().create_repo(repo_id, private=private or None, exist_ok=True)
        HfApi().auth_check(repo_id, write=True)  # the line above is content with one that can only be read
        if revision != MAIN:
            HfApi().create_branch(repo_id, branch=revision, exist_ok=True)
        return str(url)

    return _insist(attempt, repo_id, OPEN_PATIENCE_SECONDS, tell)


def push(
    folder: str | Path,
    repo_id: str,
    names: Sequence[str],
    *,
    message: str,
    revision: str = MAIN,
    replaced: Sequence[str] = (),
    tell: Callable[[str], None] = print,
) -> str:
    """Commit the files and folders `names` of `folder` to a repository that is open; return the commit's URL.

    Only those: a folder may hold what is nobody else's business. Files of the repository that are not among them stay,
    but for those in the folders `replaced`. What may be over in a while (a dropped connection, a limit on the rate, a
    fault of the Hub) is tried again for PATIENCE_SECONDS, each time told to `tell`.  Raises: PushRefused.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    patterns = [f"{name}/**" if (folder / name).is_dir() else name for name in names if (folder / name).exists()]
    if not patterns:
        raise PushRefused(f"{folder} holds none of {', '.join(names)}; wanted something to push to {repo_id}")

    def attempt() -> str:
        commit = HfApi().upload_folder(
            repo_id=repo_id, folder_path=folder, allow_patterns=patterns, revision=revision,
            commit_message=message, delete_patterns=[f"{name}/**" for name in replaced] or None,
        )  # fmt: skip
        return str(commit.commit_url)

    return _insist(attempt, repo_id, PATIENCE_SECONDS, tell)


def push_all(
    folder: str | Path, repo_id: str, *, message: str, replaced: Sequence[str] = (), tell: Callable[[str], None] = print
) -> str:
    """`push` of everything in a folder, to the main branch."""
    names = sorted(path.name for path in Path(folder).iterdir())
    return push(folder, repo_id, names, message=message, replaced=replaced, tell=tell)


def push_and_tell(connection: Connection, folder: str, repo_id: str, message: str, replaced: Sequence[str]) -> None:
    """`push_all` in a process of its own; sends what becomes of it, as pairs of told, pushed or refused and a text."""
    from huggingface_hub.utils import disable_progress_bars, logging

    disable_progress_bars()
    logging.set_verbosity_error()  # the client's own retries; ours are told
    with connection:

        def tell(text: str) -> None:
            connection.send(("told", text))

        try:
            url = push_all(folder, repo_id, message=message, replaced=replaced, tell=tell)
            connection.send(("pushed", f"pushed {message} to {url}"))
        except PushRefused as error:
            connection.send(("refused", str(error)))


def _insist(attempt: Callable[[], T], repo_id: str, patience_seconds: float, tell: Callable[[str], None]) -> T:
    """Try until it works, cannot work, or has taken too long; pauses double, and are no shorter than the Hub asks."""
    from huggingface_hub import get_session

    started, pause = time.monotonic(), 1.0
    while True:
        try:
            get_session().timeout = SILENCE_SECONDS
            return attempt()
        except Exception as error:  # the client raises many kinds: a bad id, no token, no right, no network
            if _is_final(error):
                _refuse(repo_id, error)
            wanted = max(pause, _retry_after(error))
            taken = time.monotonic() - started
            if taken + wanted > patience_seconds:
                raise PushRefused(
                    f"the Hub did not take {repo_id} in {taken:.0f} s of trying: {_said(error)}. Look at the network "
                    "and at https://status.huggingface.co, and give the command again"
                ) from error
            tell(f"{repo_id}: {_said(error)}; trying again in {wanted:.0f} s")
        time.sleep(wanted)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _is_final(error: Exception) -> bool:
    """Whether another attempt cannot end otherwise: the Hub understood and said no, or the mistake is on our side."""
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in (408, 409, 412, 425, 429)
    ours = (ValueError, TypeError, LocalTokenNotFoundError, OfflineModeIsEnabled, FileNotFoundError, PermissionError)
    return isinstance(error, ours)


def _retry_after(error: Exception) -> float:
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    words = headers.get("Retry-After", "")
    return float(words) if words.isdecimal() else 0.0


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _refuse(repo_id: str, error: Exception) -> NoReturn:
    raise PushRefused(
        f"the Hub did not take {repo_id}: {_said(error)}; wanted an id OWNER/NAME and a token that may write there. "
        "Set HF_TOKEN or run `hf auth login`, check the id, and give the command again"
    ) from error
