"""Results: what a scored sample file comes to, in results.json, with all that it depends on.

{"benchmark": NAME, "metrics": {NAME: NUMBER}, ...}: model cards and reports read these two; the rest says how.
"""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from evaluation.benchmark import Benchmark
from evaluation.bleu import NoBleu, bleu_by_verdict, overlap
from interface.errors import UserError
from interface.files import write_json
from interface.report import versions

RESULTS = "results.json"
MOST_BLEU = 2_000  # samples of which BLEU is computed: each takes a millisecond
LONGEST_BLEU = 20_000  # characters of one of them
WANTED = {"benchmark", "metrics", "details", "settings", "tasks", "reasons", "num_tasks", "variant", "source"}
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


class NoResults(UserError):
    """A folder holds no results."""


@dataclass(frozen=True)
class Result:
    """A results.json, and the folder that it lies in."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What tells this result from others: model, variant, temperature."""
        sampling = self.content["settings"].get("sampling") or {}
        temperature = f", T {sampling['temperature']:g}" if "temperature" in sampling else ""
        return f"{self.content['settings'].get('model') or self.folder.name}{temperature}"


def write_results(
    output_dir: Path,
    benchmark: Benchmark,
    rows: Rows,
    *,
    settings: Mapping[str, Any],
    mistakes: Mapping[str, int],
    reranked: Mapping[str, float] | None,
    ceiling: Mapping[str, Any] | None,
    bleu: Mapping[str, Any] | None,
    seconds: float,
) -> dict[str, Any]:
    """Compute the scores of judged rows and write them to output_dir/results.json."""
    scores = benchmark.scores(rows)
    counts = [len(task) for task in rows.values()]
    content = {
        "benchmark": benchmark.name,
        "metrics": {name: value for name, value in scores.items() if isinstance(value, int | float)},
        "details": {name: value for name, value in scores.items() if not isinstance(value, int | float)},
        "reranking": reranked,
        "ceiling": ceiling,
        "bleu": bleu,
        "reasons": dict(reasons(rows).most_common()),
        "tasks": {task_id: task_summary(task) for task_id, task in rows.items()},
        "num_tasks": len(rows),
        "num_samples": sum(counts),
        "samples_a_task": [min(counts), max(counts)],
        "mistakes": dict(mistakes),
        "variant": dict(benchmark.variant),
        "source": dict(benchmark.source),
        "settings": dict(settings),
        "seconds": round(seconds, 2),
        "versions": versions(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": len(os.sched_getaffinity(0)),
            "load": [round(load, 2) for load in os.getloadavg()],
        },
    }
    write_json(output_dir / RESULTS, content)
    return content


def read_result(folder: Path) -> Result:
    """Read a folder's results.json.  Raises: NoResults."""
    try:
        content = json.loads((folder / RESULTS).read_text())
        if missing := WANTED - content.keys():
            raise ValueError(f"without {', '.join(sorted(missing))}")
        if not all({"samples", "passed", "mostly"} <= task.keys() for task in content["tasks"].values()):
            raise ValueError("with tasks of another form")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise NoResults(
            f"{folder / RESULTS} cannot be read ({error}); wanted the --output_dir of `python -m evaluation score`"
        ) from error
    return Result(folder, content)


def reason(row: Mapping[str, Any]) -> str:
    """A verdict in few words: what was raised, without its particulars.

    >>> reason({"passed": False, "result": "failed: name 'x' is not defined (<string>, line 4)"})
    "failed: name '...' is not defined"
    """
    if row["passed"]:
        return "passed"
    text = str(row["result"]).split("\n")[0][:200].split(" (<string>")[0]
    text = "'".join(part if place % 2 == 0 else "..." for place, part in enumerate(text.split("'")))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)  # a program's own words, for a terminal
    return text[:80].strip() if text.strip() != "failed:" else "failed: a test, which says no more"


def reasons(rows: Rows) -> Counter[str]:
    return Counter(reason(row) for task in rows.values() for row in task)


def task_summary(task: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many of a task's samples passed, and why the others mostly did not."""
    failing = Counter(reason(row) for row in task if not row["passed"])
    return {
        "samples": len(task),
        "passed": sum(bool(row["passed"]) for row in task),
        "mostly": failing.most_common(1)[0][0] if failing else "",
    }


def bleu_of(benchmark: Benchmark, results: Path) -> dict[str, Any] | None:
    """BLEU of passing and of failing samples against the tasks' solutions, as in the Codex paper (section 2.2)."""
    found: dict[str, list[float]] = {"passed": [], "failed": []}
    try:
        with results.open("rb") as file:
            every = -(-sum(1 for _ in file) // MOST_BLEU)  # from all tasks
            file.seek(0)
            for line in islice(file, 0, None, max(every, 1)):
                row = json.loads(line)
                solutions = benchmark.solutions(row["task_id"])
                if len(row["completion"]) > LONGEST_BLEU:
                    continue
                if solutions and not any("\ud800" <= c <= "\udfff" for c in row["completion"]):
                    one = bleu_by_verdict([(row["completion"], bool(row["passed"]))], solutions[:5])
                    for verdict, values in one.items():
                        found[verdict] += [round(value, 2) for value in values]
    except NoBleu:
        return None
    if not any(found.values()):
        return None
    return {**found, "failing_above_passing": overlap(found["passed"], found["failed"])}
