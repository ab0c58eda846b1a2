"""Parsing: a command line put to the command's own parser, in this process, and nothing after that."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import pytest

import interface.flags
from tests.conftest import ROOT

PARSE = interface.flags.parse


class Parsed(BaseException):
    """Carries a parsed command out of its main function."""


class Listed(BaseException):
    """Carries out which commands a program offers."""


def _main(words: list[str]) -> None:
    if words[:2] == ["python", "-m"]:
        sys.argv = [words[2], *words[3:]]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [words[0], *words[1:]]
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def parsed(words: list[str]) -> Any:
    """The dataclass that the words give; a mistake in them fails the test with the parser's own words."""

    def stop(*args: Any, **keywords: Any) -> None:
        raise Parsed(PARSE(*args, **keywords))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interface.flags, "parse", stop)
        patch.setattr(sys, "argv", [])
        for package in words[2:3]:  # whether it was imported before is no matter here
            patch.delitem(sys.modules, f"{package}.__main__", raising=False)
        try:
            _main(words)
        except Parsed as end:
            return end.args[0]
        except SystemExit as end:
            pytest.fail(f"{' '.join(words)} ends with status {end.code}; its parser's message is on stderr")
    raise AssertionError(f"{words} parsed nothing")


def subcommands(package: str) -> list[str]:
    """The words that `python -m package` takes first; none where it takes flags at once."""

    def stop(commands: dict[str, Any], *_: Any, **__: Any) -> None:
        raise Listed(list(commands))

    def none(*_: Any, **__: Any) -> None:
        raise Listed([])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interface.flags, "choose", stop)
        patch.setattr(interface.flags, "parse", none)
        patch.setattr(sys, "argv", [])
        patch.delitem(sys.modules, f"{package}.__main__", raising=False)
        try:
            _main(["python", "-m", package])
        except Listed as end:
            return end.args[0]
    raise AssertionError(f"{package} has no parser")
