"""Supply of tokens: the processes that write token files while the trainer starts, compiles and trains.

They are started with exec, never forked.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_processing.blocks import windows_of_a_batch
from data_processing.encoders import encoder_of
from data_processing.row_source import RowSource
from data_processing.token_files import TokenFiles, TokenFilesError
from data_processing.token_readers import Reader
from data_processing.tokens import plan_token_files
from interface.progress import say
from tokenizer_patch.tokenizer import Tokenizer
from training.arguments import TrainingArguments

POLL_SECONDS = 0.05


class Supply:
    """One split's token files and, once started and where windows are missing, the process that writes them.

    The split that trains is read window after window, on a disk that --cache_limit_gb bounds; the one that evaluates
    is kept whole.  Raises: TokenFilesError, MissingData, EmptySplit, Unreachable.
    """

    def __init__(
        self,
        arguments: TrainingArguments,
        source: RowSource,
        tokenizer: Tokenizer,
        tokenizer_dir: Path,
        split: str,
        log: Path,
        *,
        global_batch: int = 1,
        max_blocks: int | None = None,
        max_rows: int | None = None,
    ) -> None:
        cache_dir = Path(arguments.token_cache_dir).expanduser()
        self.split = split
        self.files: TokenFiles = plan_token_files(
            tokenizer=tokenizer,
            encoder=encoder_of(source, tokenizer_dir, arguments.block_size),
            source=source,
            split=split,
            block_size=arguments.block_size,
            cache_dir=cache_dir,
            max_blocks=max_blocks,
            max_rows=max_rows,
        )
        room = arguments.cache_limit_gb if split == "train" else None
        windows = max(2, windows_of_a_batch(global_batch, self.files.identity.window_blocks))
        if room is not None and room * 1e9 < windows * self.files.identity.window_bytes:
            raise TokenFilesError(
                f"--cache_limit_gb is {room}; wanted at least {windows * self.files.identity.window_bytes / 1e9:.3f}, "
                f"{windows} windows: those that one step's blocks may lie in"
            )
        flags = asdict(source) | {
            "tokenizer_name": tokenizer_dir,
            "block_size": arguments.block_size,
            "token_cache_dir": cache_dir,
            "split": split,
            "preprocessing_num_workers": arguments.preprocessing_num_workers,
            "cache_limit_gb": room,
            "max_blocks": max_blocks,
            "max_rows": max_rows,
        }
        self._words = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        self._log = log
        self._said_before = 0  # bytes of the log that are other processes' words
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: Reader | None = None

    def start(self, place: dict[str, Any] | None = None) -> None:
        """Start to read, and to write what is missing. `place` is what a checkpoint kept of these files."""
        if place is not None:
            self.files.adopt(place)
        line = place["line"] if place is not None else None
        # before the writer, which would take the folder for unread, and at the window that is wanted first
        self._reader = Reader(self.files.folder, line["window"] if line else 0)
        atexit.register(self.close)
        if not self.files.are_whole():
            self._write()

    def move_to(self, window: int) -> None:
        """Say that the windows before this one are done with."""
        if self._reader is not None:
            self._reader.move_to(window)

    def wait(self) -> None:
        """Return after a moment.  Raises: TokenFilesError where nobody can write the files."""
        time.sleep(POLL_SECONDS)
        status = None if self._process is None else self._process.poll()
        if self._process is not None and status is None:
            return
        if status:
            said = self._log.read_bytes()[self._said_before :].decode(errors="replace").strip().splitlines()
            last = said[-1].removeprefix("error: ") if said else f"it ended with status {status}"
            raise TokenFilesError(f"tokenising the {self.split} split failed: {last} (all of it: {self._log})")
        if not self.files.are_whole():
            self._write()  # they were whole when we came: another run on a bounded disk, or somebody, removed some

    def wait_until_whole(self) -> TokenFiles:
        while not self.files.are_whole():
            self.wait()
        return self.files

    def num_blocks(self) -> int:
        """The blocks of an epoch; waits until all of it is tokenised."""
        say("tokenising: the schedule of an epoch run needs the number of its blocks")
        found = self.wait_until_whole().num_blocks()
        assert found is not None, "the files are whole"
        return found

    def close(self) -> None:
        """End the process that writes, and reading."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        if self._reader is not None:
            self._reader.close()

    def _write(self) -> None:
        with self._log.open("ab") as file:
            self._said_before = file.tell()
            # not of our group: a signal to all of that is the trainer's, which wants tokens up to its checkpoint
            self._process = subprocess.Popen(
                [sys.executable, "-m", "data_processing", "tokenize", *self._words], stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
