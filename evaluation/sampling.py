"""Sampling a benchmark: every task asked as often as wanted, turn by turn, into an append-only file.

OUT/samples.jsonl                  {"task_id", "sample", "completion", ...} a line, a task's samples together
OUT/samples.jsonl.settings.json    what they were sampled with; another setting wants another folder
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.backends import Answer, Asked, Backend, Sampling
from evaluation.benchmark import Benchmark
from interface.errors import UserError
from interface.files import append, open_atomically, write_json

SAMPLES = "samples.jsonl"


class OtherSamples(UserError):
    """The folder holds samples that were drawn another way."""


def sample(
    benchmark: Benchmark,
    backend: Backend,
    sampling: Sampling,
    output_dir: Path,
    *,
    task_ids: Sequence[str],
    num_samples: int,
    max_new_tokens: int | None,
    settings: Mapping[str, Any],
    on_sample: Callable[[int], None] = lambda count: None,
) -> Path:
    """Append the samples that are still missing; returns the file.  Raises: OtherSamples.

    Where no `max_new_tokens` is given, a task's own count, and at most three quarters of the model's positions.
    """
    path = output_dir / SAMPLES
    _agree(output_dir / f"{SAMPLES}.settings.json", path, settings)
    done = _whole_tasks(path, num_samples)
    if foreign := sorted(done - set(task_ids)):
        raise OtherSamples(
            f"{path} holds samples of {foreign[0]} too, which is no task of this command (of {len(foreign)} such); "
            "give as many --num_tasks as before, or more, or another --output_dir"
        )
    on_sample(num_samples * sum(task_id in done for task_id in task_ids))
    waiting = defaultdict(list)
    for task_id in task_ids:
        if task_id not in done:
            own = benchmark.max_new_tokens(task_id)
            waiting[max_new_tokens or min(own, 3 * (backend.positions or own * 2) // 4)].append(task_id)
    a_time = max(1, backend.at_once // num_samples)
    with path.open("ab", buffering=0) as file:
        for length, tasks in sorted(waiting.items()):
            for some in (tasks[place : place + a_time] for place in range(0, len(tasks), a_time)):
                rows = _ask(benchmark, backend, sampling, some, num_samples, length)
                append(file, b"".join((json.dumps(row) + "\n").encode() for row in rows))
                on_sample(num_samples * len(some))
    return path


def _ask(
    benchmark: Benchmark, backend: Backend, sampling: Sampling, task_ids: Sequence[str], num_samples: int, length: int
) -> Iterator[dict[str, Any]]:
    """All samples of some tasks. The first prompts are shared by a task's samples; later turns are each one's own."""
    firsts = [Asked(task_id, _prompt(benchmark, task_id, []), num_samples) for task_id in task_ids]
    drawn = backend.complete(firsts, length, sampling)
    talks = {
        (task_id, number): [answer]
        for task_id, answers in zip(task_ids, drawn, strict=True)
        for number, answer in enumerate(answers)
    }

    def said(key: tuple[str, int]) -> list[str]:
        return [benchmark.answer(answer.text) for answer in talks[key]]

    while True:
        turn = [
            (key, Asked(f"{key[0]} {key[1]} {len(talks[key])}", prompt, 1))
            for key in talks
            if (prompt := benchmark.next_prompt(key[0], said(key))) is not None
        ]
        if not turn:
            break
        for (key, _), (answer,) in zip(turn, backend.complete([asked for _, asked in turn], length, sampling)):
            talks[key].append(answer)
    for (task_id, number), answers in talks.items():
        completion = benchmark.completion(task_id, said((task_id, number)))
        yield {"task_id": task_id, "sample": number, "completion": completion, **_about(answers)}


def _about(answers: Sequence[Answer]) -> dict[str, Any]:
    """What is known of an answer, or of those of all turns together."""
    tokens = [answer.num_tokens for answer in answers]
    chances = [answer.mean_log_probability for answer in answers]
    about: dict[str, Any] = {"ended_by": answers[-1].ended_by}
    if None not in tokens and None not in chances:
        total = sum(n or 0 for n in tokens)
        about["num_tokens"] = total
        about["mean_log_probability"] = sum((c or 0.0) * (n or 0) for c, n in zip(chances, tokens)) / max(total, 1)
    if any(answer.prompt_tokens_cut for answer in answers):
        about["prompt_tokens_cut"] = max(answer.prompt_tokens_cut for answer in answers)
    return about


def _prompt(benchmark: Benchmark, task_id: str, answers: Sequence[str]) -> str:
    prompt = benchmark.next_prompt(task_id, answers)
    assert prompt is not None, "every task has a first prompt"
    return prompt


def _agree(path: Path, samples: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings beside the samples, or see that they are the same."""
    wanted = json.loads(json.dumps(settings))
    if not path.is_file():
        if samples.is_file():  # somebody's own: nothing of theirs is to be taken out of it
            raise OtherSamples(f"{samples} was not sampled here ({path.name} is missing); give another --output_dir")
        write_json(path, wanted)
        return
    try:
        found = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise OtherSamples(f"{path} cannot be read ({error}); give another --output_dir") from error
    differing = [f"{key} was {found.get(key)!r}, is now {wanted.get(key)!r}"
                 for key in sorted(found.keys() | wanted.keys()) if found.get(key) != wanted.get(key)]  # fmt: skip
    if differing:
        raise OtherSamples(
            f"{path.parent} holds samples of another run ({'; '.join(differing)}); give another --output_dir"
        )


def _whole_tasks(path: Path, num_samples: int) -> set[str]:
    """Tasks that have all their samples; those of others, and a line that a kill cut short, are taken out."""
    if not path.is_file():
        return set()
    lines = path.read_bytes().splitlines(keepends=True)
    rows = [(line, task_id) for line in lines if line.endswith(b"\n") and (task_id := _task_of(line)) is not None]
    counts = Counter(task_id for _, task_id in rows)
    whole = {task_id for task_id, count in counts.items() if count == num_samples}
    kept = [line for line, task_id in rows if task_id in whole]
    if len(kept) < len(lines):
        with open_atomically(path) as file:
            file.write(b"".join(kept))
    return whole


def _task_of(line: bytes) -> str | None:
    """The task of a line; None where a full disk or a power cut broke it."""
    try:
        return str(json.loads(line)["task_id"])
    except (ValueError, TypeError, KeyError):
        return None
