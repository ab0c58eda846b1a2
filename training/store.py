"""Store: copies of a run's checkpoints behind a URL (gs://, s3://), where nothing can be renamed.

    URL/ckpt-N/...              sent file by file
    URL/ckpt-N/run_state.json   the commit marker: sent last and removed first, so a checkpoint counts where it is there
    URL/metrics.jsonl           as it was when the newest checkpoint was sent

The marker lists size and checksum of all other files, by which what is fetched is judged as on a disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interface.errors import UserError
from interface.files import claim, move_aside, remove_tree
from interface.progress import say
from training.checkpoints import (
    RUN_STATE,
    checkpoints_in,
    fault_of,
    is_checkpoint,
    number_of,
    outdated_states,
    run_state_of,
)

METRICS = "metrics.jsonl"


class StoreUnusable(UserError):
    """A store cannot be opened, read or written, or holds another run."""


class StoreBehind(OSError):
    """At a run's end its store lacks a checkpoint."""


class Store:
    """The checkpoints of one run behind a URL, `keep` of them and the best."""

    def __init__(self, url: str, keep: int | None = None) -> None:
        """Raises: StoreUnusable, before any long work, where nothing may be written there."""
        import fsspec

        self.url = url
        self._keep = keep
        self._fault: str | None = None
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
            self._root = self._root.rstrip("/")
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(f"{self._root}/.probe", b"")
            self._files.rm_file(f"{self._root}/.probe")
        except ImportError as error:
            extra = "pip install -e '.[gcs]'" if urlsplit(url).scheme in ("gs", "gcs") else str(error)
            raise StoreUnusable(f"--checkpoint_store {url} needs another package: {extra}") from error
        except Exception as error:  # each store raises its own kinds
            raise StoreUnusable(
                f"--checkpoint_store {url} cannot be written to ({_line(error)}); look at the address, and at "
                "who you are there"
            ) from error

    def names(self) -> list[str]:
        """The committed checkpoints, oldest first."""
        found = {Path(path).parent.name for path in self._files.glob(f"{self._root}/ckpt-*/{RUN_STATE}")}
        return sorted(filter(is_checkpoint, found), key=lambda name: number_of(Path(name)))

    def require_nothing_after(self, step: int) -> None:
        """Refuse checkpoints of another way than that of a run that begins after `step`.  Raises: StoreUnusable."""
        if later := [name for name in self.names() if number_of(Path(name)) > step]:
            raise StoreUnusable(
                f"--checkpoint_store {self.url} holds {later[-1]}, and this run begins after step {step}; go on "
                "from that one with --resume_from_checkpoint auto, or give another store"
            )

    def fetch(self, output_dir: Path) -> None:
        """Bring into output_dir what is newer than all that it holds, and the best.  Raises: StoreUnusable."""
        here = [path.name for path in checkpoints_in(output_dir) if not fault_of(path)]
        newest = number_of(Path(here[-1])) if here else -1
        try:
            there = self.names()
            wanted = [name for name in there if number_of(Path(name)) > newest]
            best = set(there) - set(self._outdated(there, 1)) if wanted else set()
            for name in best - {
                *here,
                *wanted[-1:],
            }:  # first: once the newest is here nothing is fetched
                self._fetch(name, output_dir)
            for name in reversed(wanted):
                if self._fetch(name, output_dir) is None:
                    break
            if wanted and self._files.exists(f"{self._root}/{METRICS}"):  # what lies here ends before what was fetched
                claim(output_dir, METRICS)
                partial = output_dir / f".{METRICS}.partial"
                self._files.get_file(f"{self._root}/{METRICS}", str(partial))
                partial.replace(output_dir / METRICS)
        except UserError:
            raise
        except Exception as error:
            raise StoreUnusable(f"--checkpoint_store {self.url} cannot be read ({_line(error)})") from error

    def _fetch(self, name: str, output_dir: Path) -> str | None:
        """Bring one into output_dir; what is wrong with it, if anything."""
        output_dir.mkdir(parents=True, exist_ok=True)
        partial = output_dir / f".{name}.partial"
        remove_tree(partial)
        for file in [*self._marker(name)["files"], RUN_STATE]:
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(f"{self._root}/{name}/{file}", str(partial / file))
        claim(output_dir, name)
        if (output_dir / name).exists():  # broken, or it would count
            move_aside(output_dir, name)
        partial.rename(output_dir / name)
        fault = fault_of(output_dir / name)
        say(f"fetched {name} from {self.url}" + (f"; it is broken ({fault})" if fault else ""))
        return fault

    def mirror(self, output_dir: Path) -> None:
        """Send what is missing and remove what is outdated; a failure is said, and made up for at the next call."""
        try:
            there = self.names()
            for path in checkpoints_in(output_dir):
                if path.name not in there:
                    self._send(path)
                elif path.name == there[-1]:  # the one that a run goes on from, and makes up for
                    self._send_evaluation(path)
            if (output_dir / METRICS).is_file():
                self._files.put_file(str(output_dir / METRICS), f"{self._root}/{METRICS}")
            there = self.names()
            if self._keep:
                for name in self._outdated(there, self._keep):
                    self._remove(name)
            self._fault = None
        except Exception as error:
            self._fault = _line(error)
            say(f"warning: {self.url} did not get all checkpoints ({self._fault}); the next save tries again")

    def finish(self, output_dir: Path) -> None:
        """Make up for what failed.  Raises: StoreBehind."""
        self.mirror(output_dir)
        if self._fault:
            raise StoreBehind(f"{self.url} lacks checkpoints that {output_dir} holds ({self._fault})")

    def _send(self, checkpoint: Path) -> None:
        for file in [*json.loads((checkpoint / RUN_STATE).read_text())["files"], RUN_STATE]:
            target = f"{self._root}/{checkpoint.name}/{file}"
            self._files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self._files.put_file(str(checkpoint / file), target)

    def _send_evaluation(self, checkpoint: Path) -> None:
        """Send the marker again where an evaluation that was cut off has been made up for."""
        here, there = run_state_of(checkpoint), self._marker(checkpoint.name)
        if here != there and here == there | {name: here.get(name) for name in ("eval_loss", "evaluated_on")}:
            self._files.put_file(str(checkpoint / RUN_STATE), f"{self._root}/{checkpoint.name}/{RUN_STATE}")

    def _remove(self, name: str) -> None:
        self._files.rm_file(f"{self._root}/{name}/{RUN_STATE}")
        self._files.rm(f"{self._root}/{name}", recursive=True)

    def _marker(self, name: str) -> dict[str, Any]:
        marker: dict[str, Any] = json.loads(self._files.cat_file(f"{self._root}/{name}/{RUN_STATE}"))
        return marker

    def _outdated(self, names: Sequence[str], keep: int) -> list[str]:
        return outdated_states([(name, self._marker(name)) for name in names], keep)


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
