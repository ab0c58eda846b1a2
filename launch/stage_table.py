"""Bits per byte of several models on several held-out sets, as a table.

python launch/stage_table.py OUTPUT.md bits_per_byte_nl.json bits_per_byte_multi.json bits_per_byte_mono.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    output, *files = map(Path, sys.argv[1:])
    sets = {path.stem.removeprefix("bits_per_byte_"): json.loads(path.read_text())["results"] for path in files}
    models = next(iter(sets.values()))
    lines = [f"| after | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    for model in models:
        values = " | ".join(f"{results[model]['bits_per_byte']:.3f}" for results in sets.values())
        lines.append(f"| {Path(model).name} | {values} |")
    output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
