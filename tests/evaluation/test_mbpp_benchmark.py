"""MBPP: splits, prompts and what both files of its problems call their parts; all benchmarks by name."""

from __future__ import annotations

import json

import pytest

from evaluation import named_benchmarks
from evaluation.benchmark import UnknownVariant
from evaluation.humaneval_benchmark import load_clippy
from evaluation.mbpp_benchmark import load
from evaluation.problem_files import BrokenProblems
from tests.conftest import SHARED_DATA

PUBLISHED = SHARED_DATA / "mbpp.jsonl.gz"
published = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"MBPP's problems are not at {PUBLISHED}")


def row(number, **changes):
    return {
        "task_id": number,
        "text": f"Add {number}.",
        "code": f"def f(a):\r\n  return a + {number} ",
        "test_setup_code": "",
        "test_list": [f"assert f(0) == {number}", f"assert f(1) == {number + 1}"],
        "challenge_test_list": [],
    } | changes


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mbpp.jsonl").write_text(
        "".join(json.dumps(row(number)) + "\n" for number in (2, 3, 4, 10, 11, 510, 511))
    )
    return str(tmp_path / "mbpp.jsonl")


def test_splits_are_named(file):
    assert load(file).task_ids == ["MBPP/11", "MBPP/510"]
    assert load(file, split="full").task_ids == [f"MBPP/{number}" for number in (2, 3, 4, 10, 11, 510, 511)]
    assert load(file).variant == {"prompt": "paper", "split": "test"}


def test_the_papers_prompt_shows_three_solved_tasks(file):
    task = "You are an expert Python programmer, and here is your task: Add {0}. Your code should pass these tests:\n\n"
    tests = "assert f(0) == {0}\nassert f(1) == {1}\n[BEGIN]\n"
    shots = [(task + tests + "def f(a):\n  return a + {0}\n[DONE]\n\n").format(n, n + 1) for n in (2, 3, 4)]
    benchmark = load(file)
    assert benchmark.next_prompt("MBPP/11", []) == "".join(shots) + (task + tests).format(11, 12)
    assert benchmark.next_prompt("MBPP/11", ["x"]) is None
    assert benchmark.stops == ("[DONE]",)


def test_incoders_prompt_is_a_docstring_with_one_test(file):
    benchmark = load(file, prompt="incoder")
    assert benchmark.next_prompt("MBPP/11", []) == '"""\nAdd 11.\nassert f(0) == 11\n"""\n'
    assert "\nassert" in benchmark.stops and benchmark.variant["prompt"] == "incoder"


def test_the_sanitized_file_calls_its_parts_otherwise(tmp_path, warm_sandbox):
    sanitized = row(
        11, prompt="Add eleven.", test_imports=["import math"], test_list=["assert f(0) == math.floor(11.5)"]
    )
    del sanitized["text"], sanitized["test_setup_code"], sanitized["challenge_test_list"]
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([sanitized]))
    benchmark = load(str(tmp_path), split="sanitized", prompt="incoder")
    assert benchmark.next_prompt("MBPP/11", []).startswith('"""\nAdd eleven.\n')
    jobs = [
        benchmark.job(mode, "MBPP/11", benchmark.solutions("MBPP/11")[0], mode=mode)
        for mode in ("hardened", "reference")
    ]
    jobs.append(benchmark.job("wrong", "MBPP/11", "def f(a):\n    return 12"))
    found = {outcome.key: outcome.passed for outcome in warm_sandbox.judge(jobs)}
    assert found == {"hardened": True, "reference": True, "wrong": False}
    with pytest.raises(BrokenProblems, match=r"lacks MBPP/2, MBPP/3, MBPP/4.*--prompt incoder"):
        load(str(tmp_path), split="sanitized")


@pytest.mark.parametrize("changes", [{"task_id": "2"}, {"test_list": []}, {"test_list": "assert 1"}, {"code": None}])
def test_rows_of_another_form_are_refused(tmp_path, changes):
    (tmp_path / "mbpp.jsonl").write_text(json.dumps(row(2, **changes)))
    with pytest.raises(BrokenProblems, match="row 1"):
        load(str(tmp_path))


@published
def test_the_published_file_has_974_problems_of_which_500_are_the_test_split():
    assert (len(load(str(PUBLISHED), split="full").task_ids), len(load(str(PUBLISHED)).task_ids)) == (974, 500)


# ---- by name -------------------------------------------------------------------------------------------------


def test_every_benchmark_has_its_variants_and_is_loaded_with_them(file):
    assert {name: list(named_benchmarks.variants(name)) for name in named_benchmarks.BENCHMARKS} == {
        "humaneval": ["prompt"],
        "mbpp": ["prompt", "split"],
        "apps": ["prompt", "comparison", "difficulty"],
        "mtpb": ["turns", "comparison"],
        "clippy": ["prompt"],
        "clippy-apps": ["prompt", "comparison", "difficulty"],
    }
    for name in ("clippy", "clippy-apps"):
        assert named_benchmarks.load(name).variant == named_benchmarks.variants(name)
        assert named_benchmarks.load(name).name == name
    assert named_benchmarks.load("mbpp", file, prompt="incoder").variant == {"prompt": "incoder", "split": "test"}
    assert named_benchmarks.load("clippy", prompt="stripped").stops == load_clippy(prompt="stripped").stops


def test_modules_that_are_not_installed_are_not_held_ready():
    benchmark = named_benchmarks.load("clippy-apps")
    benchmark.modules = ("numpy", "a_module_that_nobody_has")
    assert benchmark.warm() == ["numpy"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("codeforces", {}, "no benchmark 'codeforces'; wanted one of humaneval, mbpp"),
        ("humaneval", {"split": "full"}, "humaneval has no choice of split; wanted one of prompt"),
        ("mbpp", {"split": "dev"}, "no split 'dev'; wanted one of test, full, sanitized"),
        ("clippy", {"problems": "x"}, "takes no --problems"),
    ],
)
def test_what_there_is_not_is_refused(name, options, said):
    with pytest.raises(UnknownVariant, match=said):
        named_benchmarks.load(name, **options)
