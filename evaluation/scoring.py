"""Scoring: every sample of a file judged once, whatever happens in between.

OUT/verdicts.jsonl           grows by a line a verdict, in the order in which they come; a killed command goes on
OUT/NAME_results.jsonl       in the end the input's rows in their order, with `result` and `passed`
OUT/results.json             the scores, and everything that they depend on
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from evaluation.benchmark import Benchmark
from evaluation.reranking import NoLogProbability, Ranked, rerank
from evaluation.sample_file import Mistakes, fingerprint, read_samples
from evaluation.sandbox import Job, Sandbox
from interface.errors import UserError
from interface.files import append, open_atomically

VERDICTS = "verdicts.jsonl"


READ = ("passed", "result", "codes", "verdicts", "mean_log_probability", "num_tokens")  # by scores


class OtherVerdicts(UserError):
    """The folder holds verdicts that were reached another way."""


class ChangedSamples(UserError):
    """The sample file is another one than when its judgement began."""


def results_name(samples: Path) -> str:
    return f"{samples.name.removesuffix('.gz')}_results.jsonl"


def judge(
    benchmark: Benchmark,
    samples: Path,
    output_dir: Path,
    sandbox: Sandbox,
    *,
    mode: str,
    scale: float,
    on_verdict: Callable[[], None] = lambda: None,
) -> Path:
    """Judge what has no verdict yet and write the results file; returns its path. The caller holds the folder's lock.

    Raises: OtherVerdicts, ChangedSamples; InfrastructureFailure where a program could not be judged; the rest is kept.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    how = {"benchmark": benchmark.name, "variant": dict(benchmark.variant), "mode": mode, "scale": scale,
           "unsafe": sandbox.unsafe, "python": platform.python_version(), "modules": benchmark.warm(),
           "problems": benchmark.source.get("sha256") or str(benchmark.source.get("path"))}  # fmt: skip
    path = output_dir / VERDICTS
    with _open(path, how) as file:
        known = {key for key, _ in _read(path)}

        def jobs() -> Iterator[Job]:
            for number, row in read_samples(samples, benchmark.task_ids, Mistakes(), benchmark.numbered):
                key = (number, fingerprint(row))
                if key in known:
                    on_verdict()
                else:
                    yield benchmark.job(key, row["task_id"], row["completion"], mode=mode, scale=scale)

        for outcome in sandbox.judge(jobs()):
            verdict = {"seconds": round(outcome.seconds, 4), **benchmark.fields(outcome)}
            line = {"row": outcome.key[0], "sample": outcome.key[1], **verdict}
            append(file, (json.dumps(line) + "\n").encode())
            on_verdict()
    verdicts = dict(_read(path))
    with open_atomically(output_dir / results_name(samples)) as out:
        for number, row in read_samples(samples, benchmark.task_ids, Mistakes(), benchmark.numbered):
            found = verdicts.get((number, fingerprint(row)))
            if found is None:
                raise ChangedSamples(f"row {number} of {samples} changed while it was judged; give the command again")
            out.write((json.dumps(row | found) + "\n").encode())
    return output_dir / results_name(samples)


def judged_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What scores read of the rows of a results file, by task."""
    tasks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            tasks[row["task_id"]].append({key: row[key] for key in READ if key in row})
    return dict(tasks)


def reranked(tasks: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float] | None:
    """pass@1 of each task's likeliest sample, where the samples say how likely they are and there is a choice."""
    ranked = {
        task_id: [Ranked(_likelihood(row), bool(row["passed"])) for row in rows] for task_id, rows in tasks.items()
    }
    if all(len(rows) == 1 for rows in ranked.values()):
        return None
    try:
        return rerank(ranked)
    except NoLogProbability:
        return None


def _likelihood(row: Mapping[str, Any]) -> float | None:
    """The mean of no tokens says nothing, and as the sum that it is, 0, would beat every text: it comes last."""
    if row.get("num_tokens") == 0:
        return -math.inf
    found = row.get("mean_log_probability")
    return found if type(found) is float or (type(found) is int and abs(found) < 1 << 53) else None


def ceiling(benchmark: Benchmark, sandbox: Sandbox, *, mode: str, scale: float) -> dict[str, Any]:
    """How many problems the benchmark's own solutions solve here, each problem's first: no model can be asked for more.

    A number below all of them tells of a broken machine, or of a broken problem.
    """
    solutions = {task_id: benchmark.solutions(task_id)[:1] for task_id in benchmark.task_ids}
    jobs = (
        benchmark.job(task_id, task_id, solution, mode=mode, scale=scale)
        for task_id, found in solutions.items()
        for solution in found
    )
    failed = sorted(outcome.key for outcome in sandbox.judge(jobs) if not outcome.passed)
    tried = sum(map(len, solutions.values()))
    return {"solved": tried - len(failed), "tried": tried, "of": len(solutions), "failed": failed[:20]}


def _open(path: Path, how: Mapping[str, Any]) -> IO[bytes]:
    """Open the verdicts to append to, unbuffered; a first line says how they are reached."""
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]
    head = (json.dumps({"judged": how, "digest": digest}) + "\n").encode()
    data = path.read_bytes() if path.is_file() else b""
    whole = data[: data.rfind(b"\n") + 1]  # a kill, or a full disk, cuts the last line short
    if whole:
        try:
            before = json.loads(whole[: whole.index(b"\n")])
            found, was = before["digest"], dict(before["judged"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise OtherVerdicts(
                f"{path} was not written by this toolkit; give another --output_dir, or move that file away"
            ) from None
        if found != digest:
            differing = [f"{key} was {was.get(key)!r}, is now {how[key]!r}" for key in how if was.get(key) != how[key]]
            raise OtherVerdicts(
                f"{path} holds verdicts reached another way ({'; '.join(differing)}); give another --output_dir"
            )
    opened = path.open("ab", buffering=0)
    opened.truncate(len(whole))
    if not whole:
        append(opened, head)
    return opened


def _read(path: Path) -> Iterator[tuple[tuple[int, str], dict[str, Any]]]:
    """Every verdict by the place and fingerprint of its sample; a line that is broken has none."""
    with path.open("rb") as file:
        next(file)
        for line in file:
            try:
                row = json.loads(line)
                key, _ = (row.pop("row"), row.pop("sample")), row["passed"]
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # a power cut leaves zeros
            yield key, row
