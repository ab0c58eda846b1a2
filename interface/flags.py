"""Flags of a command, made from the fields of one frozen dataclass.

A command that needs jax or datasets parses first and imports them afterwards, so that `--help` answers in under two
seconds. Names, quoted numbers, bare booleans and "the last repeated flag wins" are HfArgumentParser's, because the
reference's command lines are written for it.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from interface.errors import UserError

T = TypeVar("T")


def flag(default: Any, help: str, group: str = "options", **metadata: Any) -> Any:
    """Declare a field of a command: its default, its help line and the heading that `--help` lists it under."""
    return dataclasses.field(default=default, metadata={"help": help, "group": group, **metadata})


def required(help: str, group: str = "options") -> Any:
    """Declare a field that must be given; such fields stand first in their dataclass."""
    return dataclasses.field(metadata={"help": help, "group": group})


def want_at_least(least: int, command: Any, *names: str) -> None:
    """Refuse flags of these names that are given and smaller.  Raises: UserError."""
    for name in names:
        value = getattr(command, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}; wanted at least {least}")


def parse(command: type[T], argv: Sequence[str] | None = None, *, prog: str, description: str) -> T:
    """Build `command` from `argv`; a single .json or .yaml argument is read as a file of flags.

    Exits with status 2, without a traceback, on an unknown flag (naming the nearest known one), on a value of the
    wrong type and on a UserError raised by the dataclass's own `__post_init__`.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import HfArgumentParser

    class GroupedParser(HfArgumentParser):
        def _parse_dataclass_field(self, parser: Any, field: dataclasses.Field) -> None:
            # static in transformers, but called through self; what is left in the metadata goes to add_argument
            shown = copy.copy(field)
            title = field.metadata.get("group", "options")
            ours = ("group", "secret")
            shown.metadata = MappingProxyType({k: v for k, v in field.metadata.items() if k not in ours})
            if title not in groups:
                groups[title] = self.add_argument_group(title)
            HfArgumentParser._parse_dataclass_field(groups[title], shown)

    groups: dict[str, Any] = {}
    parser = GroupedParser(command, prog=prog, description=description, allow_abbrev=False)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and not words[0].startswith("-") and Path(words[0]).suffix in (".json", ".yaml", ".yml"):
            words = _words_of_file(Path(words[0]), command) + words[1:]
        known, unknown = parser.parse_args_into_dataclasses(
            words, return_remaining_strings=True, look_for_args_file=False
        )
        if not unknown:
            return known
        mistake = _name_unknown(unknown, command)
    except UserError as error:
        mistake = str(error)
    parser.error(mistake)
    raise SystemExit(2)  # error() has left already, which its type does not say


def choose(commands: dict[str, tuple[type, str]], argv: Sequence[str] | None = None, *, prog: str) -> tuple[str, Any]:
    """Parse `prog NAME flags...`: pick the dataclass by the first word. Returns the name and the parsed command."""
    words = list(sys.argv[1:] if argv is None else argv)
    width = max(len(name) for name in commands)
    listing = "\n".join(f"  {name:{width}}  {about}" for name, (_, about) in commands.items())
    usage = f"usage: {prog} COMMAND [flags]\n\ncommands:\n{listing}\n\n{prog} COMMAND --help lists a command's flags"
    if not words or words[0] in ("-h", "--help"):
        print(usage)
        sys.exit(0 if words else 2)
    if words[0] not in commands:
        nearest = difflib.get_close_matches(words[0], commands, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(commands)}"
        print(f"{prog}: unknown command {words[0]!r}{hint}", file=sys.stderr)
        sys.exit(2)
    command, about = commands[words[0]]
    return words[0], parse(command, words[1:], prog=f"{prog} {words[0]}", description=about)


def as_json(command: Any) -> dict[str, Any]:
    """The resolved configuration as plain JSON values, without secrets."""
    return {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(command)
        if not field.metadata.get("secret")
    }


def typed(command: type) -> str:
    """The command line that this process was started with, quoted for a shell, without the values of secrets."""
    secret = {field.name for field in dataclasses.fields(command) if field.metadata.get("secret")}
    words, kept = iter(sys.orig_argv[1:]), ["python"]
    for word in words:
        name, given, _ = word.partition("=")
        if name.startswith("--") and name[2:].replace("-", "_") in secret:
            if not given:
                next(words, None)
            continue
        kept.append(word)
    return shlex.join(kept)


def _name_unknown(unknown: Sequence[str], command: type) -> str:
    names = [f"--{field.name}" for field in dataclasses.fields(command)]
    first = unknown[0]
    if not first.startswith("--"):
        return f"unexpected argument {first!r}: values follow their flag, as in --block_size 2048"
    spelled = first.split("=")[0].replace("-", "_").replace("__", "--", 1)
    nearest = difflib.get_close_matches(spelled, names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else "; --help lists the flags"
    return f"unknown flag {first.split('=')[0]}{hint}"


def _words_of_file(path: Path, command: type) -> list[str]:
    """Read a file of flags as the words that would have been typed, so that both are checked alike."""
    if not path.is_file():
        raise UserError(f"no configuration file at {path}: give an existing .json or .yaml file, or flags")
    import yaml

    try:
        values = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not readable as {path.suffix[1:]}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; wanted one object of flag names and values")
    known = {field.name for field in dataclasses.fields(command)}
    unknown = [f"--{name}" for name in values if str(name).replace("-", "_") not in known]
    if unknown:
        raise UserError(f"{path}: {_name_unknown(unknown, command)}")
    words: list[str] = []
    for name, value in values.items():
        if isinstance(value, list) and _takes_several(command, name.replace("-", "_")):
            words += [f"--{name}", *map(str, value)]
        elif isinstance(value, list):  # as a run.json has what was typed as a,b
            words.append(f"--{name}={','.join(map(str, value))}")
        elif isinstance(value, dict):
            raise UserError(f"{path}: {name} holds an object; wanted one value, or a list of them")
        elif value is not None:
            words.append(f"--{name}={value}")
    return words


def _takes_several(command: type, name: str) -> bool:
    hint = get_type_hints(command)[name]
    return any(get_origin(part) is list for part in (hint, *get_args(hint)))
