"""The pages of flags are what docs/write_flags.py writes, and hold every command."""

from __future__ import annotations

import runpy

from tests.conftest import ROOT
from tests.docs.parsing import subcommands

WRITER = runpy.run_path(str(ROOT / "docs" / "write_flags.py"))
# Without flags, or with those of the training commands.
ELSEWHERE = {"python -m modeling hardware", "python -m training resolve", "python -m training resolve_apps"}


def test_the_pages_of_flags_are_as_the_dataclasses_say():
    for name, text in WRITER["pages"]().items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is old: python docs/write_flags.py"


def test_every_command_has_its_table():
    packages = ("data_processing", "evaluation", "generation", "modeling", "tokenizer_patch", "training")
    found = {f"python -m {package} {word}".strip() for package in packages for word in subcommands(package) or [""]}
    assert found - ELSEWHERE == set(WRITER["COMMANDS"]) - {"python -m tokenizer_patch train"}
