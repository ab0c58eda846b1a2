"""Practice tasks: small functions made of chains of operations, with pairs of operations that training never shows.

A task is a docstring, a function and tests of it. A test task holds at least one pair of neighbouring operations that
no train task holds, so that solving it wants the two put together, not one task remembered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import orjson

from data_processing.operations import OPERATIONS, Kind, Operation
from data_processing.shard_writer import HashedFile, ShardWriter
from data_processing.shards import SUFFIX
from interface.errors import UserError
from interface.files import open_atomically

NAMES: dict[Kind, tuple[str, ...]] = {
    "numbers": ("process_numbers", "transform_list", "change_numbers", "handle_values"),
    "text": ("transform_text", "edit_text", "rewrite", "change_text"),
    "words": ("process_words", "arrange_words", "change_words", "edit_words"),
    "number": ("compute", "transform_number", "calculate", "change_number"),
}
WORDS = ("apple", "Bear", "cat", "drum", "Echo", "fig", "green", "hat", "Ice", "jar", "kite", "lemon", "moon", "Net",
         "oak", "pear", "Queen", "river", "sun", "tea")  # fmt: skip
PROBLEMS = "problems.jsonl"
INPUTS = 8  # of a task's tests
TRIES = 50  # draws for one more task before its kind counts as used up
Pair = tuple[str, str]


class TooManyTasks(UserError):
    """More tasks were asked for than there are."""


@dataclass(frozen=True)
class Step:
    """An operation with its number or letter, and the way it is said."""

    operation: Operation
    choice: int | str | None
    saying: int

    def say(self) -> str:
        return self.operation.sayings[self.saying].replace("{k}", str(self.choice))

    def code(self) -> str:
        return self.operation.code.replace("{k}", str(self.choice))


@dataclass(frozen=True)
class Task:
    """A chain of steps as a function in HumanEval's parts."""

    steps: tuple[Step, ...]
    name: str
    prompt: str
    solution: str
    test: str

    def row(self, number: int) -> dict[str, Any]:
        """One row of a shard, in the Code Clippy format; `text` is the whole function."""
        operations = [step.operation.name for step in self.steps]
        meta = {"repo_name": f"practice/{number}", "file_name": f"{self.name}.py", "repo_language": "Python",
                "license": "apache-2.0", "operations": operations}  # fmt: skip
        return {"text": self.prompt + self.solution, "meta": meta}

    def problem(self, number: int) -> dict[str, Any]:
        """One problem in HumanEval's format."""
        return {
            "task_id": f"practice/{number}", "prompt": self.prompt, "entry_point": self.name,
            "canonical_solution": self.solution, "test": self.test, "num_operations": len(self.steps),
        }  # fmt: skip


def compatible_pairs() -> list[Pair]:
    """Every pair of operations of which the second takes what the first gives."""
    return [(a.name, b.name) for a in OPERATIONS for b in OPERATIONS if a.gives == b.takes]


def held_out_pairs(seed: int, share: float = 0.15) -> frozenset[Pair]:
    """The pairs that only test tasks hold."""
    pairs = compatible_pairs()
    return frozenset(random.Random(f"pairs {seed}").sample(pairs, round(share * len(pairs))))


def train_tasks(count: int, seed: int) -> Iterator[Task]:
    """Different tasks of one to three steps without a held-out pair.  Raises: TooManyTasks."""
    held_out = held_out_pairs(seed)
    return _different(count, random.Random(f"train {seed}"), (1, 2, 3), lambda pairs: not pairs & held_out)


def unseen_tasks(count: int, seed: int, lengths: Sequence[int] = (2, 3)) -> Iterator[Task]:
    """Different tasks that each hold a held-out pair.  Raises: TooManyTasks."""
    held_out = held_out_pairs(seed)
    return _different(count, random.Random(f"test {seed}"), lengths, lambda pairs: bool(pairs & held_out))


def write_tasks(output_dir: Path, num_train: int, num_validation: int, num_test: int, seed: int) -> None:
    """Write train and validation as corpus shards and the unseen tasks as problems in HumanEval's format."""
    tasks = train_tasks(num_train + num_validation, seed)
    for split, count in (("train", num_train), ("validation", num_validation)):
        with open_atomically(output_dir / split / f"0{SUFFIX}") as file:
            writer = ShardWriter(HashedFile(file))
            for number, task in enumerate(islice(tasks, count)):
                writer.write(orjson.dumps(task.row(number)))
            writer.end_frame()
    with open_atomically(output_dir / PROBLEMS) as file:
        for number, task in enumerate(unseen_tasks(num_test, seed)):
            file.write(orjson.dumps(task.problem(number), option=orjson.OPT_APPEND_NEWLINE))


def _different(
    count: int, draw: random.Random, lengths: Sequence[int], wanted: Callable[[set[Pair]], bool]
) -> Iterator[Task]:
    seen: set[str] = set()
    tries = 0
    while len(seen) < count:
        tries += 1
        if tries > TRIES * (len(seen) + 100):
            raise TooManyTasks(f"{count} practice tasks are wanted; only {len(seen)} different ones were found")
        steps = _chain(draw, draw.choice(lengths))
        if steps is None or not wanted(pairs_of(steps)):
            continue
        task = _task(steps, draw)
        if task is not None and task.prompt not in seen:
            seen.add(task.prompt)
            yield task


def pairs_of(steps: Sequence[Step]) -> set[Pair]:
    """The neighbouring operations of a chain."""
    names = [step.operation.name for step in steps]
    return set(pairwise(names))


def _chain(draw: random.Random, length: int) -> tuple[Step, ...] | None:
    """Steps that fit; None where an operation would come twice."""
    steps: list[Step] = []
    for _ in range(length):
        fitting = [o for o in OPERATIONS if not steps or o.takes == steps[-1].operation.gives]
        operation = draw.choice(fitting)
        if any(step.operation is operation for step in steps):
            return None
        choice = draw.choice(operation.choices) if operation.choices else None
        steps.append(Step(operation, choice, draw.randrange(len(operation.sayings))))
    return tuple(steps)


def _task(steps: tuple[Step, ...], draw: random.Random) -> Task | None:
    """The task of a chain; None where leaving out a step changes no result, or where all results are alike."""
    takes = steps[0].operation.takes
    inputs = [_value(takes, draw) for _ in range(INPUTS)]
    results = [_run(steps, value) for value in inputs]
    if len({repr(result) for result in results}) < 3:
        return None
    for left_out in range(len(steps)):
        rest = steps[:left_out] + steps[left_out + 1 :]
        fits = all(a.operation.gives == b.operation.takes for a, b in pairwise(rest))
        if rest and fits and rest[0].operation.takes == takes and [_run(rest, value) for value in inputs] == results:
            return None
    name = draw.choice(NAMES[takes])
    said = ", then ".join(step.say() for step in steps)
    prompt = f'def {name}({takes}):\n    """{said[0].upper()}{said[1:]}."""\n'
    *before, last = steps
    lines = [f"    {step.operation.gives} = {step.code()}\n" for step in before] + [f"    return {last.code()}\n"]
    asserts = "".join(f"    assert candidate({value!r}) == {result!r}\n" for value, result in zip(inputs, results))
    return Task(steps, name, prompt, "".join(lines), f"def check(candidate):\n{asserts}")


def _run(steps: Sequence[Step], value: Any) -> Any:
    for step in steps:
        value = eval(step.code(), {step.operation.takes: value})  # our own table's expressions
    return value


def _value(kind: Kind, draw: random.Random) -> Any:
    if kind == "numbers":
        return [draw.randint(-9, 20) for _ in range(draw.randint(4, 9))]
    if kind == "number":
        return draw.randint(-50, 999)
    words = [draw.choice(WORDS) for _ in range(draw.randint(3, 7))]
    return words if kind == "words" else " ".join(words)
