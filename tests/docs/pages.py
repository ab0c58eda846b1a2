"""Pages: the commands that README, CONTRIBUTING and docs/ show, each as words."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

SHELL = ("sh", "bash", "console")
OTHERS = ("json", "python", "text", "yaml")  # blocks that hold no commands


class Shown(NamedTuple):
    """A command of a page: variables before it, then its words."""

    page: str
    variables: dict[str, str]
    words: list[str]

    def __str__(self) -> str:
        given = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return f"{self.page}: {' '.join([*given, shlex.join(self.words)])}"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block; an indented block outside of them has the language `indented`."""
    text = path.read_text()
    fenced = re.findall(r"^```(\S*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?<=\n\n)((?:    .*\n)+)", rest)
    return [*fenced, *(("indented", block) for block in indented)]


def commands_of(page: str, text: str) -> list[Shown]:
    """The commands of a block of shell lines."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        variables: dict[str, str] = {}
        while words and re.match(r"^[A-Z_]+=", words[0]):
            name, _, variables[name] = words.pop(0).partition("=")
        if words:
            found.append(Shown(page, variables, words))
    return found


def shown() -> list[Shown]:
    """Every command of every page."""
    return [
        command
        for path in pages()
        for language, text in blocks(path)
        if language in (*SHELL, "indented")
        for command in commands_of(str(path.relative_to(ROOT)), text)
        if language != "indented" or command.words[0].startswith(("python", "./", "launch/", "training/", "sbatch"))
    ]


def inline_flags(path: Path) -> list[list[str]]:
    """Words of the code spans in a page's text that are a command of ours with flags."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"(?<!`)`((?:python -m|training/run_clm)[^`]*--[^`]*)`", prose)
    return [shlex.split(span.replace("\\|", "|").replace("...", "")) for span in spans]
