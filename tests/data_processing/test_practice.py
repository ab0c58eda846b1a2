"""Practice tasks: solutions that pass their tests, steps that all matter, pairs of steps that training never shows."""

from __future__ import annotations

import json

import pytest

from data_processing.operations import OPERATIONS
from data_processing.practice import (
    PROBLEMS,
    TooManyTasks,
    compatible_pairs,
    held_out_pairs,
    pairs_of,
    train_tasks,
    unseen_tasks,
    write_tasks,
)
from data_processing.shards import read_texts, shards_of
from tests.conftest import succeed

VALUES = {
    "numbers": ([], [0], [-7, 3, 3, 12, 5]),
    "text": ("", "a", "Ice  Net tea"),
    "words": ([], ["a"], ["tea", "Net", "tea"]),
    "number": (0, -13, 907),
}


@pytest.fixture(scope="module")
def tasks():
    return list(train_tasks(400, 5)), list(unseen_tasks(60, 5))


def run(source: str, name: str):
    space: dict[str, object] = {}
    exec(source, space)
    return space[name]


def test_there_are_operations_enough_and_each_is_total_and_gives_what_it_says():
    assert len(OPERATIONS) >= 40 and len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    kinds = {"numbers": list, "words": list, "text": str, "number": int}
    for operation in OPERATIONS:
        for value in VALUES[operation.takes]:
            code = operation.code.replace("{k}", str((operation.choices or (0,))[0]))
            result = eval(code, {operation.takes: value})
            assert isinstance(result, kinds[operation.gives]), operation.name
            if isinstance(result, list):
                assert all(isinstance(x, int if operation.gives == "numbers" else str) for x in result), operation.name


def test_solutions_pass_their_tests_and_a_chain_without_one_of_its_lines_fails_them(tasks):
    for task in [*tasks[0][:150], *tasks[1]]:
        check = run(task.test, "check")
        check(run(task.prompt + task.solution, task.name))
        lines = task.solution.splitlines(keepends=True)
        for left_out in range(len(lines) - 1):
            if task.steps[left_out].operation.takes == task.steps[left_out].operation.gives:
                shorter = "".join(lines[:left_out] + lines[left_out + 1 :])
                with pytest.raises(AssertionError):
                    check(run(task.prompt + shorter, task.name))


def test_every_unseen_task_holds_a_pair_that_no_train_task_holds(tasks):
    train, unseen = tasks
    shown = set().union(*(pairs_of(task.steps) for task in train))
    held_out = held_out_pairs(5)
    assert not shown & held_out and 0.1 < len(held_out) / len(compatible_pairs()) < 0.2
    assert all(pairs_of(task.steps) & held_out for task in unseen)
    assert {len(task.steps) for task in train} == {1, 2, 3} and {len(task.steps) for task in unseen} == {2, 3}
    assert len({task.prompt for task in train + unseen}) == len(train) + len(unseen)


def test_the_same_seed_gives_the_same_tasks_and_another_one_others(tasks):
    assert [task.test for task in train_tasks(20, 5)] == [task.test for task in tasks[0][:20]]
    assert [task.prompt for task in train_tasks(20, 6)] != [task.prompt for task in tasks[0][:20]]
    assert held_out_pairs(6) != held_out_pairs(5)


def test_more_tasks_than_there_are_is_refused():
    with pytest.raises(TooManyTasks, match="100000 practice tasks are wanted"):
        list(unseen_tasks(100_000, 5, lengths=(1,)))


def test_the_command_writes_shards_and_problems(tmp_path):
    said = succeed(
        "-m", "data_processing", "practice", "--output_dir", tmp_path / "tasks", "--num_train", 30,
        "--num_validation", 7, "--num_test", 11, "--seed", 5,
    )  # fmt: skip
    assert "30 tasks" in said and str(tmp_path / "tasks" / PROBLEMS) in said
    texts = list(read_texts(shards_of(tmp_path / "tasks", "train")))
    wanted = list(train_tasks(37, 5))
    assert texts == [task.prompt + task.solution for task in wanted[:30]]
    lines = (tmp_path / "tasks" / PROBLEMS).read_text().splitlines()
    problem = json.loads(lines[0])
    assert len(lines) == 11 and problem["test"] == next(iter(unseen_tasks(11, 5))).test
    write_tasks(tmp_path / "again", 30, 7, 11, 5)
    assert (tmp_path / "again" / PROBLEMS).read_text().splitlines() == lines
