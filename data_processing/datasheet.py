"""Datasheet: what a corpus holds and how it came about, for people, from its manifest alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from data_processing.licenses import CLASSES, license_class

SHOWN = 20  # rows of a table of languages or licences; the rest is one row
BAR = 24  # characters of a full bar


def render(manifest: dict[str, Any]) -> str:
    """Spell a corpus's manifest as markdown."""
    documents, num_bytes, tokens = manifest["documents"], manifest["bytes"], manifest["tokens"]
    total = sum(num_bytes.values())
    rows = [
        [
            split,
            f"{documents[split]:,}",
            size(num_bytes[split]),
            f"{tokens[split]:,}" if tokens else "not counted",
            bar(num_bytes[split], total),
        ]
        for split in documents
    ]
    sections = [
        "# Datasheet",
        f"{sum(documents.values()):,} documents, {size(total)} of text, "
        + (f"{sum(tokens.values()):,} tokens" if tokens else "tokens not counted (no --tokenizer_name was given)")
        + f", in {len(manifest['shards'])} shards.",
        "## Splits",
        table(["split", "documents", "text", "tokens", "share of text"], rows),
        *shares("Languages", "language", manifest["languages"]),
        *shares("Licences", "licence", manifest["licenses"]),
        license_classes(manifest["licenses"]),
        *shares("Sources", "source", manifest["sources"]),
        *redacted(manifest["redacted"], manifest["stages"]),
        "## What each stage did",
        stages_table(manifest["stages"]),
        *removed(manifest["stages"]),
        "## Settings",
        *(settings(stage) for stage in manifest["stages"]),
        "## Versions",
        table(["package", "version"], [[name, number] for name, number in manifest["versions"].items()]),
        "Counts are of documents after all stages, copies by weight included. Languages and licences are what each "
        "file's own meta says. At the step `repositories` each number counts whole repositories. The rows that were "
        "rejected, and what was dropped with details, are in `reports/`.",
    ]
    return "\n\n".join(sections) + "\n"


def brief(manifest: dict[str, Any]) -> tuple[str, str]:
    """What a model card says of a corpus, as markdown below a second-level heading, and a sentence on its licences."""
    documents, num_bytes = sum(manifest["documents"].values()), sum(manifest["bytes"].values())
    steps = [step["name"] for stage in manifest["stages"] for step in stage["settings"].get("steps", [])]
    dropped = sum(manifest["dropped"].values())
    rows = [[split, f"{number:,}", size(manifest["bytes"][split])] for split, number in manifest["documents"].items()]
    sections = [
        f"{documents:,} documents, {size(num_bytes)} of text; {dropped:,} documents were left out"
        + (f" by these steps among others: {', '.join(dict.fromkeys(steps))}." if steps else "."),
        table(["split", "documents", "text"], rows),
        *shares("Languages", "language", manifest["languages"]),
        *shares("Licences", "licence", manifest["licenses"]),
        *shares("Sources", "source", manifest["sources"]),
        *redacted(manifest["redacted"], manifest["stages"]),
    ]
    licenses = f"The training code by class of licence: {license_classes(manifest['licenses'])}."
    return "\n\n".join(sections).replace("## ", "### "), licenses


def shares(title: str, name: str, counts: dict[str, Any]) -> list[str]:
    """A table of documents and bytes by name, the largest first."""
    if not counts:
        return []
    ordered = sorted(counts.items(), key=lambda item: (-item[1]["bytes"], item[0]))
    total = sum(count["bytes"] for count in counts.values())
    shown, others = ordered[:SHOWN], ordered[SHOWN:]
    if others:
        rest = {key: sum(count[key] for _, count in others) for key in ("documents", "bytes")}
        shown = [*shown, (f"{len(others)} others", rest)]
    rows = [
        [label, f"{count['documents']:,}", size(count["bytes"]), bar(count["bytes"], total)] for label, count in shown
    ]
    return [f"## {title}", table([name, "documents", "text", "share of text"], rows)]


def license_classes(counts: dict[str, Any]) -> str:
    """Documents and bytes of each class of licences."""
    classes = {kind: {"documents": 0, "bytes": 0} for kind in CLASSES}
    for license_, count in counts.items():
        for key in ("documents", "bytes"):
            classes[license_class(license_)][key] += count[key]
    return ", ".join(
        f"{kind}: {count['documents']:,} documents, {size(count['bytes'])}" for kind, count in classes.items()
    )


def redacted(counts: dict[str, int], stages: Sequence[dict[str, Any]]) -> list[str]:
    """Which scanners ran, and how many secrets and addresses are replaced, by kind."""
    steps = [step for stage in stages for step in stage["settings"].get("steps", []) if step["name"] == "redaction"]
    names = [name for step in steps for name in step["identity"]["scanners"]]
    said = f"Scanned by: {', '.join(names)}." if names else "Nothing was scanned for secrets and e-mail addresses."
    if not counts:
        return ["## What was redacted", said]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = table(["kind", "places"], [[kind, f"{number:,}"] for kind, number in ordered])
    return ["## What was redacted", said, shown]


def stages_table(stages: Sequence[dict[str, Any]]) -> str:
    """What came into each stage and what left it."""
    rows = []
    for stage in stages:
        counts = stage["counts"]
        came, left = (counts.get(way, {"documents": 0, "bytes": 0}) for way in ("in", "out"))
        changed = sum(step.get("changed", {}).get("documents", 0) for step in counts.get("steps", {}).values())
        dropped = sum(
            count["documents"]
            for step in counts.get("steps", {}).values()
            for count in step.get("dropped", {}).values()
        )
        rejected = sum(counts.get("rejected", {}).values())
        numbers = (came["documents"], left["documents"], dropped, changed, rejected)
        rows.append([stage["name"], *(f"{number:,}" for number in numbers), size(left["bytes"])])
    return table(["stage", "in", "out", "dropped", "changed", "bad rows", "text left"], rows)


def removed(stages: Sequence[dict[str, Any]]) -> list[str]:
    """Why documents were dropped or rows rejected."""
    rows = []
    for stage in stages:
        for step, counts in stage["counts"].get("steps", {}).items():
            for reason, count in counts.get("dropped", {}).items():
                rows.append([stage["name"], step, reason, f"{count['documents']:,}", size(count["bytes"])])
        for reason, number in stage["counts"].get("rejected", {}).items():
            rows.append([stage["name"], "read", f"bad row: {reason}", f"{number:,}", ""])
    if not rows:
        return ["Nothing was dropped."]
    return ["## What was removed, and why", table(["stage", "step", "reason", "documents", "text"], rows)]


def settings(stage: dict[str, Any]) -> str:
    """The settings of a stage, its steps one a line."""
    known = stage["settings"]
    lines = [f"**{stage['name']}**"]
    for step in known.get("steps", []):
        words = [f"`{step['name']}` ({step['build']})"]
        words += [f"{name} = {spell(value)}" for name, value in (step["config"] or {}).items()]
        if step["identity"] is not None:
            words.append(f"identity = {spell(step['identity'])}")
        lines.append("- " + ", ".join(words))
    lines += [f"- {name} = {spell(value)}" for name, value in known.items() if name not in ("steps", "format", "name")
              and value is not None]  # fmt: skip
    return "\n".join(lines) if len(lines) > 1 else f"{lines[0]}: none"


def spell(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 200 else f"`{text[:200]}` ..."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; the first column is text, numbers stand right."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    spelled = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([spelled[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *spelled[1:]])


def bar(part: int, total: int) -> str:
    """A share as blocks and a number: its picture in any viewer."""
    share = part / total if total else 0.0
    return f"{'█' * round(share * BAR):{BAR}} {share:6.1%}"


def size(num_bytes: int) -> str:
    """Spell a number of bytes for people.

    >>> size(950), size(1_500_000), size(2_340_000_000)
    ('950 B', '1.5 MB', '2.3 GB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes} B"
