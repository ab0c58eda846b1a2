"""Source trees: folders and git repositories as documents."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_processing.document import Document
from data_processing.filters import MAX_BYTES, decode, drop_reason
from data_processing.languages import language_of
from interface.errors import UserError

SKIPPED_FOLDERS = {".git", "__pycache__", "node_modules", "site-packages", "dist-packages", ".venv", "venv", ".tox"}
LARGEST_CLUSTER = 0.5  # of a tree's bytes: beyond that its clusters are taken one folder deeper


class MissingSource(UserError):
    """A source folder is not there, or holds no code."""


@dataclass(frozen=True)
class SourceTree:
    """A folder of code that counts as one repository."""

    root: Path
    name: str
    license: str | None = None
    excluded: tuple[str, ...] = ()  # top-level names

    def files(self) -> list[tuple[str, int]]:
        """Code files as (path relative to the root, bytes), sorted; what git tracks, where the root is a repository."""
        found = []
        for name in self._tracked() or self._walk():
            path = self.root / name
            if language_of(name) and not path.is_symlink() and path.is_file():
                found.append((name, path.stat().st_size))
        return sorted(found)

    def _tracked(self) -> list[str]:
        if not (self.root / ".git").exists():
            return []
        try:
            listing = subprocess.run(
                ["git", "-C", str(self.root), "ls-files", "-z"], capture_output=True, timeout=600, check=True
            )
        except (OSError, subprocess.SubprocessError):  # no git here, or a repository that it does not want to read
            return []
        return [name for name in os.fsdecode(listing.stdout).split("\0") if name]

    def _walk(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.root):  # does not follow symlinks, so a loop ends nothing
            relative = Path(folder).relative_to(self.root)
            top = relative == Path()
            folders[:] = sorted(
                name
                for name in folders
                # a repository inside is a tree of its own
                if name not in SKIPPED_FOLDERS
                and not (top and name in self.excluded)
                and not (Path(folder) / name / ".git").exists()
            )
            for name in names:
                yield (relative / name).as_posix()

    def clusters(self, files: list[tuple[str, int]]) -> dict[str, str]:
        """Map each file to its cluster: the shortest leading folders that do not put half the bytes in one.

        For Python's library that is the top-level package; for a repository with everything under src/ it is the
        packages inside; at worst it is the file.
        """
        total = sum(size for _, size in files)
        deepest = max((name.count("/") + 1 for name, _ in files), default=1)
        for depth in range(1, deepest + 1):
            clusters = {name: "/".join(PurePosixPath(name).parts[:depth]) for name, _ in files}
            sizes: Counter[str] = Counter()
            for name, size in files:
                sizes[clusters[name]] += size
            if len(sizes) >= 3 and max(sizes.values()) <= LARGEST_CLUSTER * total:
                return clusters
        return {name: name for name, _ in files}

    def documents(self, dropped: Counter[str], single: bool) -> Iterator[Document]:
        """Yield the documents that the filters keep; count the others by reason in `dropped`.

        With `single`, this tree is all there is, and its clusters are what a split keeps together; else it is one
        cluster as a whole.
        """
        files = self.files()
        clusters = self.clusters(files) if single else {}
        for name, _ in files:
            text = self._read(name, dropped)
            if text is None:
                continue
            language, mime_type = language_of(name) or ("", "")
            meta = {
                "repo_name": self.name,
                "stars": None,
                "repo_language": language,
                "file_name": name,
                "mime_type": mime_type,
                "license": self.license,
            }
            yield Document(text, meta, f"{self.name}/{clusters[name]}" if single else self.name)

    def texts(self) -> Iterator[str]:
        """The texts that the filters keep."""
        return (document.text for document in self.documents(Counter(), single=True))

    def _read(self, name: str, dropped: Counter[str]) -> str | None:
        try:
            name.encode()  # a name that is no UTF-8 cannot be written into the meta
            with (self.root / name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, UnicodeEncodeError):  # it vanished since it was listed, or is not ours to read
            dropped["unreadable"] += 1
            return None
        text = None if len(data) > MAX_BYTES else decode(data)
        if len(data) > MAX_BYTES:
            reason: str | None = "too_large"
        else:
            reason = "undecodable" if text is None else drop_reason(text)
        if reason:
            dropped[reason] += 1
            return None
        return text


def embedded_corpus() -> SourceTree:
    """The standard library of the running interpreter: real code that is on every machine.

    Left out is CPython's own `test` package, more than half of the text, which Debian does not install.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    root = Path(sysconfig.get_paths()["stdlib"])
    return SourceTree(root, f"python/cpython-{version}", "PSF-2.0", excluded=("test", "config"))


def source_trees(folder: str | Path) -> list[SourceTree]:
    """The git repositories below a folder, one tree each, and what lies beside them as a tree of its own."""
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise MissingSource(f"no folder at {folder}; wanted a folder of code or a git repository")
    if (root / ".git").exists():
        return [SourceTree(root, root.name)]
    repositories = sorted(p.parent for depth in ("*", "*/*") for p in root.glob(f"{depth}/.git"))
    trees = [SourceTree(path, path.relative_to(root).as_posix()) for path in repositories]
    beside = SourceTree(root, root.name)
    return trees if trees and not beside.files() else [*trees, beside]
