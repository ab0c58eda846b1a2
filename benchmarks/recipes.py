"""Every recipe at tiny size, from nothing to its scores: killed once, gone on, loaded in torch.

python benchmarks/recipes.py [NAME...] [--write] [--output_dir DIR]      # --write puts the table into docs/recipes.md

Each runs in a folder of its own. `kill -9` ends all of it after the first checkpoint of its (last) training; the same
command then goes on. Afterwards that training is given once more from its start, unbroken: both must end in the same
weights, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "recipes.md"
BEGIN, END = "<!-- benchmarks/recipes.py -->", "<!-- end -->"
COLUMNS = ("runs", "resumes", "exports", "loads in torch", "scores")
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json")


class Recipe(NamedTuple):
    """A recipe, the training that is its product, and its file of bits per byte, where it has one."""

    name: str
    model: str = "model"
    bits: str = ""


RECIPES = (
    Recipe("code-clippy", bits="bits_per_byte.json"),
    Recipe("apps"),
    Recipe("codeparrot", bits="bits_per_byte.json"),
    Recipe("codegen", model="mono", bits="bits_per_byte_mono.json"),
    Recipe("codex-s"),
    Recipe("codex-d"),
    Recipe("gpt-j", bits="bits_per_byte.json"),
)
LOAD = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer("def add(a, b):", return_tensors="pt").input_ids
print(model.generate(ids, do_sample=True, max_length=50, num_beams=2, early_stopping=True,
                     eos_token_id=tokenizer.eos_token_id).shape[1])
"""


class Failed(Exception):
    """A column is no, and this is why."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all recipes")
    parser.add_argument("--write", action="store_true", help=f"put the rows into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--output_dir", type=Path, help="folder that keeps what the recipes make")
    options = parser.parse_args()
    known = [recipe.name for recipe in RECIPES]
    if unknown := set(options.names) - set(known):
        parser.error(f"no recipe {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.output_dir or Path(scratch)).resolve()
        rows = {recipe.name: row(recipe, folder) for recipe in RECIPES if recipe.name in (options.names or known)}
    print(table(rows))
    if options.write:
        write(rows)
        print(f"wrote {', '.join(rows)} to {PAGE.relative_to(ROOT)}")
    if any(" no" in line for line in rows.values()):
        raise SystemExit(1)


def row(recipe: Recipe, folder: Path) -> str:
    """A row of the table; what is no is said with its reason."""
    started = time.perf_counter()
    cells = []
    tests = examine(recipe, folder / recipe.name)
    for column in COLUMNS:
        try:
            cells.append(next(tests))
        except Failed as error:
            print(f"{recipe.name}: {column}: no: {error}", flush=True)
            return f"| `{recipe.name}` | {' | '.join([*cells, *['no'] * (len(COLUMNS) - len(cells))])} | |"
        print(f"{recipe.name}: {column}: {cells[-1]}", flush=True)
    return f"| `{recipe.name}` | {' | '.join(cells)} | {(time.perf_counter() - started) / 60:.1f} min |"


def examine(recipe: Recipe, folder: Path) -> Iterator[str]:
    """The cells of a row, one by one.  Raises: Failed."""
    model = folder / recipe.model
    if folder.exists():
        raise Failed(f"{folder} is there already; name another --output_dir")
    killed_at = run_until_checkpoint(recipe, folder)
    said = run(recipe, folder)
    if not (folder / "report.html").is_file():
        raise Failed("no report.html")
    yield "yes"

    resumed = re.findall(r"resume at step (\d+)", said)
    if not resumed or int(resumed[-1]) < killed_at:
        raise Failed(f"killed after step {killed_at}, resumed at {resumed or 'none'}")
    broken = weights(model)
    model.rename(folder / "killed")
    (folder / ".done" / recipe.model).unlink()
    run(recipe, folder)
    if weights(model) != broken:
        raise Failed(f"resumed at step {resumed[-1]}, and the weights are not those of an unbroken run")
    yield f"yes, from step {resumed[-1]}"

    if missing := [name for name in MODEL_FILES if not (model / name).is_file()]:
        raise Failed(f"{model} lacks {', '.join(missing)}")
    yield "yes"

    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(model)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(done.stderr[-2000:])
    yield "yes"

    yield f"yes: {scores(recipe, folder)}"


def start(recipe: Recipe, folder: Path) -> subprocess.Popen[bytes]:
    """The recipe as a user gives it, what it prints into FOLDER.log."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, "SIZE": "tiny", "OUTPUT_DIR": str(folder), "LOG_DIR": str(folder.with_name("logs")),
        "CODE_CLIPPY_VENV": str(Path(sys.executable).parent.parent), "ACCELERATOR": "cpu",
    }  # fmt: skip
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(
            ["./run.sh", recipe.name], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def log_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def run_until_checkpoint(recipe: Recipe, folder: Path) -> int:
    """Kill a recipe and all that it started when the first checkpoint is there; the checkpoint's step."""
    process = start(recipe, folder)
    while process.poll() is None:
        found = sorted((folder / recipe.model).glob("ckpt-*"))
        if found:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return int(found[0].name.split("-")[1])
        time.sleep(0.02)
    raise Failed(f"it ended before its first checkpoint: {tail(folder)}")


def run(recipe: Recipe, folder: Path) -> str:
    """Run a recipe to its end; what it printed.  Raises: Failed."""
    before = log_of(folder).stat().st_size if log_of(folder).exists() else 0
    process = start(recipe, folder)
    if process.wait():
        raise Failed(f"status {process.returncode}: {tail(folder)}")
    return log_of(folder).read_bytes()[before:].decode(errors="replace")


def tail(folder: Path) -> str:
    return "\n".join(log_of(folder).read_text(errors="replace").splitlines()[-15:])


def weights(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


def scores(recipe: Recipe, folder: Path) -> str:
    """What the recipe says of its model.  Raises: Failed where that is no number."""
    metrics = json.loads((folder / "scores" / "results.json").read_text())["metrics"]
    values = {"pass@1": metrics.get("pass@1")}
    if recipe.bits:
        results = json.loads((folder / recipe.bits).read_text())["results"]
        values["bits a byte"] = results[str(folder / recipe.model)]["bits_per_byte"]
    if wrong := [name for name, value in values.items() if not isinstance(value, int | float)]:
        raise Failed(f"no number for {', '.join(wrong)} of {metrics}")
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def table(rows: dict[str, str]) -> str:
    return "\n".join([f"| recipe | {' | '.join(COLUMNS)} | took |", "|---" * (len(COLUMNS) + 2) + "|", *rows.values()])


def write(rows: dict[str, str]) -> None:
    """Put rows into the page's table, in the place of those of the same recipes."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    kept = {line.split("`")[1]: line for line in old.splitlines() if line.startswith("| `")}
    merged = {recipe.name: (kept | rows)[recipe.name] for recipe in RECIPES if recipe.name in kept | rows}
    PAGE.write_text(f"{before}{BEGIN}\n{table(merged)}\n{END}{after}")


if __name__ == "__main__":
    main()
