"""Supply of tokens: the processes that write token files while the trainer starts, compiles and trains.

They are started with exec, never forked, and before jax is imported.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import time
from pathlib import Path

from data_processing.token_files import TokenFiles, TokenFilesError
from data_processing.tokens import plan_token_files
from tokenizer_patch.tokenizer import Tokenizer
from training.arguments import TrainingArguments

POLL_SECONDS = 0.05


class Supply:
    """One split's token files and, where they are not complete, the process that writes them."""

    def __init__(
        self,
        arguments: TrainingArguments,
        tokenizer: Tokenizer,
        tokenizer_dir: Path,
        split: str,
        log: Path,
        max_blocks: int | None = None,
    ) -> None:
        cache_dir = Path(arguments.token_cache_dir).expanduser()
        self.split = split
        self.files: TokenFiles = plan_token_files(
            tokenizer=tokenizer,
            dataset_name=arguments.dataset_name,
            data_dir=arguments.data_dir,
            split=split,
            text_column=arguments.text_column_name,
            block_size=arguments.block_size,
            cache_dir=cache_dir,
            max_blocks=max_blocks,
        )
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        if self.files.facts() is None:
            flags = {
                "tokenizer_name": tokenizer_dir,
                "block_size": arguments.block_size,
                "token_cache_dir": cache_dir,
                "dataset_name": arguments.dataset_name,
                "data_dir": arguments.data_dir,
                "split": split,
                "text_column_name": arguments.text_column_name,
                "max_blocks": max_blocks,
                "preprocessing_num_workers": arguments.preprocessing_num_workers,
            }
            words = [f"--{name}={value}" for name, value in flags.items() if value is not None]
            with log.open("wb") as file:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "data_processing", "tokenize", *words], stdout=file, stderr=file
                )
            atexit.register(self._stop)

    def wait(self) -> None:
        """Return after a moment.  Raises: TokenFilesError where nobody writes the files any more."""
        time.sleep(POLL_SECONDS)
        if self._process is None or self._process.poll() is None or self.files.facts() is not None:
            return
        said = self._log.read_text(errors="replace").strip().splitlines()
        last = said[-1].removeprefix("error: ") if said else f"it ended with status {self._process.returncode}"
        raise TokenFilesError(f"tokenising the {self.split} split failed: {last} (all of it: {self._log})")

    def wait_until_complete(self) -> TokenFiles:
        while self.files.facts() is None:
            self.wait()
        return self.files

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
