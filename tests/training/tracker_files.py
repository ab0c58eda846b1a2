"""What the trackers' files hold, read without the code that wrote them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Points = dict[str, list[tuple[int, Any]]]  # name -> [(step, value)]


def events(folder: Path) -> Iterator[Any]:
    """The events of a TensorBoard folder in the order of its files: records of a length, its sum, data, its sum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def read_tensorboard(folder: Path) -> Points:
    found: Points = {}
    for event in events(folder):
        for value in event.summary.value:
            text = value.HasField("tensor")
            said = value.tensor.string_val[0].decode() if text else value.simple_value
            found.setdefault(value.tag, []).append((event.step, said))
    return found


def wandb_records(run_dir: Path) -> list[dict[str, Any]]:
    tool = Path(sys.executable).with_name("wandb")
    words = [str(tool), "leet", "inspect", "--json", str(run_dir)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_wandb(run_dir: Path) -> Points:
    found: Points = {}
    for record in wandb_records(run_dir):
        if record["type"] != "history":
            continue
        item = record["history"]["item"]
        for name, value in item.items():
            found.setdefault(name, []).append((item["step"], value))
    return found


def wandb_tables(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((run_dir / "files").rglob("*.table.json"))]
