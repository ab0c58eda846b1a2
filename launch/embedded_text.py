"""Text that a bare environment holds beside Python: prose, and folders of packages with code of other languages.

python launch/embedded_text.py OUTPUT_DIR

OUTPUT_DIR/prose.jsonl     rows: what each package says of itself, and modules' own documentation
OUTPUT_DIR/packages.txt    folders, a list as `python -m data_processing corpus --sources` takes it
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("numpy", "pyarrow", "matplotlib")  # with C, C++, Cython and JavaScript; every environment has them
SHORTEST = 200  # characters; what is shorter is a label


def main() -> None:
    output_dir = Path(sys.argv[1])
    output_dir.mkdir(parents=True, exist_ok=True)
    prose, packages = output_dir / "prose.jsonl", output_dir / "packages.txt"
    with prose.open("w") as file:
        for name, text in sorted({*descriptions(), *documentation()}):
            row = {"text": text, "meta": {"repo_name": name, "file_name": "README", "license": "unknown"}}
            file.write(json.dumps(row) + "\n")
    library = Path(sysconfig.get_paths()["purelib"])
    packages.write_text("".join(f"{library / name}\n" for name in PACKAGES))
    print(f"wrote {prose.stat().st_size / 1e6:.2f} MB of prose to {prose}, {len(PACKAGES)} folders to {packages}")


def descriptions() -> Iterator[tuple[str, str]]:
    """What each installed distribution says of itself."""
    for distribution in importlib.metadata.distributions():
        text = distribution.metadata.get_payload()
        if isinstance(text, str) and len(text) >= SHORTEST:
            yield distribution.metadata["Name"], text


def documentation() -> Iterator[tuple[str, str]]:
    """The docstrings of each module of Python's standard library, in their order."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if "site-packages" in name.parts or "test" in name.parts or "tests" in name.parts:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes: the author's business
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        text = "\n\n".join(one for one in found if one)
        if len(text) >= SHORTEST:
            yield f"python/{name.with_suffix('')}", text + "\n"


if __name__ == "__main__":
    main()
