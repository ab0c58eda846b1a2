"""The tables of flags in docs/flags.md and docs/commands.md, written from the dataclasses that the commands parse.

python docs/write_flags.py
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from data_processing import commands as data  # noqa: E402
from evaluation import __main__ as bits  # noqa: E402
from evaluation import commands as evaluation  # noqa: E402
from generation import __main__ as generation  # noqa: E402
from modeling import __main__ as modeling  # noqa: E402
from tokenizer_patch import __main__ as tokenizer_patch  # noqa: E402
from training import __main__ as training  # noqa: E402
from training.apps_arguments import AppsArguments  # noqa: E402
from training.streaming_arguments import StreamingArguments  # noqa: E402

# Every command but the two of training, in the order of the page.
COMMANDS: dict[str, type] = {
    "python -m data_processing corpus": data.Corpus,
    "python -m data_processing gather": data.Gather,
    "python -m data_processing filter": data.FilterStage,
    "python -m data_processing dedup": data.Map,
    "python -m data_processing decontaminate": data.DecontaminateStage,
    "python -m data_processing split": data.Split,
    "python -m data_processing datasheet": data.Datasheet,
    "python -m data_processing practice": data.Practice,
    "python -m data_processing tokenize": data.Tokenize,
    "python -m tokenizer_patch": tokenizer_patch.Patch,
    "python -m tokenizer_patch train": tokenizer_patch.Train,
    "python -m modeling convert": modeling.Convert,
    "python -m modeling merge": modeling.Merge,
    "python -m modeling describe": modeling.Describe,
    "python -m training report": training.MakeReport,
    "python -m training push": training.PushRun,
    "python -m generation": generation.Generate,
    "python -m evaluation run": evaluation.Run,
    "python -m evaluation score": evaluation.Score,
    "python -m evaluation report": evaluation.MakeReport,
    "python -m evaluation retell": evaluation.Retell,
    "python -m evaluation functions": evaluation.Functions,
    "python -m evaluation bits_per_byte": bits.BitsPerByte,
}
GROUPS = {
    "run": "Run",
    "model": "Model",
    "data": "Data",
    "optimization": "Optimization",
    "output": "Output",
    "hub": "Hub",
}
INTRODUCTION = """# Flags of the other commands

What the two training commands take is on [its own page](flags.md). `python docs/write_flags.py` writes both.
`python -m modeling hardware` has no flags; `python -m training resolve` and `resolve_apps` have those of the training
commands."""


def choices(hint: Any) -> list[str]:
    """The values of a Literal, also of an optional one; of any other type none."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Literal:
            return [str(value) for value in get_args(part)]
    return []


def row(command: type, field: dataclasses.Field, hints: dict[str, Any]) -> str:
    """A flag as a row of a table."""
    default: Any = "required"
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = "none"
    help_ = field.metadata["help"].replace("|", "\\|")
    found = choices(hints[field.name])
    values = f" ({', '.join(f'`{one}`' for one in found)})" if found else ""
    return f"| `--{field.name}` | {default} | {help_}{values} |"


def table(command: type, fields: Iterable[dataclasses.Field] | None = None) -> str:
    hints = get_type_hints(command)
    chosen = dataclasses.fields(command) if fields is None else fields
    ordered = sorted(
        chosen, key=lambda field: field.default is not dataclasses.MISSING
    )  # stable: what must be given first
    return "\n".join(
        ["| flag | default | effect |", "|---|---|---|", *(row(command, field, hints) for field in ordered)]
    )


def training_tables() -> dict[str, str]:
    """What both training commands take, by group; and what each has of its own or otherwise."""
    streaming, apps = (
        {one.name: one for one in dataclasses.fields(kind)} for kind in (StreamingArguments, AppsArguments)
    )
    own = [name for name in streaming if name not in apps]
    other = [
        name
        for name, field in apps.items()
        if name not in streaming
        or (field.default, field.metadata["help"]) != (streaming[name].default, streaming[name].metadata["help"])
    ]
    shared = [field for name, field in streaming.items() if name not in own]
    unknown = {field.metadata["group"] for field in shared} - GROUPS.keys()
    assert not unknown, f"no title for {unknown}"
    parts = [
        f"### {title}\n\n{table(StreamingArguments, [field for field in shared if field.metadata['group'] == group])}"
        for group, title in GROUPS.items()
    ]
    return {
        "both": "\n\n".join(parts),
        "streaming": table(StreamingArguments, [streaming[name] for name in own]),
        "apps": table(AppsArguments, [apps[name] for name in other]),
    }


def pages() -> dict[str, str]:
    """File name to text: flags.md with its tables renewed, commands.md as a whole."""
    flags = (DOCS / "flags.md").read_text()
    for name, text in training_tables().items():
        flags, found = re.subn(
            rf"(<!-- flags: {name} -->\n).*?(<!-- /flags -->)",
            lambda m, t=text: f"{m[1]}\n{t}\n\n{m[2]}",
            flags,
            flags=re.S,
        )
        assert found == 1, f"docs/flags.md has {found} places for the table {name}"
    sections = [f"## {name}\n\n{table(command)}" for name, command in COMMANDS.items()]
    return {"flags.md": flags, "commands.md": "\n\n".join([INTRODUCTION, *sections]) + "\n"}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text)
        print(f"wrote docs/{name}")
