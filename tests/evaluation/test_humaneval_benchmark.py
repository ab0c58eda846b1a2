"""HumanEval and our own problems in its form; files of problems; docstrings graded by code."""

from __future__ import annotations

import ast
import doctest
import gzip
import hashlib
import json
import sys
from dataclasses import replace

import pytest

from evaluation import codex_d, humaneval_benchmark
from evaluation.benchmark import UnknownVariant
from evaluation.codex_d import COPIED, NO_DOCSTRING, NotDescribable, describable, function_of, retell
from evaluation.humaneval_benchmark import FIELDS, HUMANEVAL, load, load_clippy
from evaluation.problem_files import BrokenProblems, NoProblems, Source, fetch, load_rows
from tests.conftest import SHARED_DATA
from tests.data_processing.range_server import serve

PUBLISHED = SHARED_DATA / "HumanEval.jsonl.gz"
published = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"HumanEval's problems are not at {PUBLISHED}")

ROW = {
    "task_id": "T/0",
    "prompt": '\ndef f(a):\n    """One more."""\n',
    "entry_point": "f",
    "canonical_solution": "    return a + 1\n",
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
}


@pytest.fixture(scope="module")
def own():
    return load_clippy()


@pytest.mark.parametrize("mode", ["hardened", "reference"])
def test_our_own_solutions_pass(own, warm_sandbox, mode):
    assert len(own.task_ids) >= 24 and own.source["published"]
    jobs = [own.job(task_id, task_id, own.solutions(task_id)[0], mode=mode) for task_id in own.task_ids]
    assert {outcome.key for outcome in warm_sandbox.judge(jobs) if outcome.passed} == set(own.task_ids)


def test_our_own_examples_are_true(own):
    """A prompt's examples hold for its solution, so that it asks for what its tests want."""
    for row in own.problems.values():
        names: dict = {}
        exec(row["prompt"] + row["canonical_solution"], names)
        (found,) = doctest.DocTestFinder().find(names[row["entry_point"]], row["entry_point"], globs=names)
        assert found.examples and not doctest.DocTestRunner(verbose=False).run(found).failed, row["task_id"]


OTHERS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.LtE: ast.Lt,
          ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
          ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Div: ast.Mult, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip


class OneOperator(ast.NodeTransformer):
    """Puts another operator in the place of the n-th one."""

    def __init__(self, number: int) -> None:
        self.left = number

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if type(node) in OTHERS:
            self.left -= 1
            if self.left == -1:
                return OTHERS[type(node)]()
        return super().generic_visit(node)


def mutants(row):
    tree = ast.parse(row["prompt"] + row["canonical_solution"])
    count = sum(type(node) in OTHERS for node in ast.walk(tree))
    return [ast.unparse(OneOperator(n).visit(ast.parse(ast.unparse(tree)))) for n in range(count)]


def test_our_own_tests_catch_changed_operators(own, warm_sandbox):
    """Each solution with another operator in one place: at least one such program of each problem fails."""
    jobs = []
    for task_id, row in own.problems.items():
        # the program defines the function once more, whole
        texts = ["    pass\n" + text for text in mutants(row)]
        jobs += [own.job((task_id, number), task_id, text, scale=0.3) for number, text in enumerate(texts)]
    caught: dict[str, list[bool]] = {}
    for outcome in warm_sandbox.judge(jobs):
        caught.setdefault(outcome.key[0], []).append(not outcome.passed)
    assert len(caught) == len(own.task_ids) and all(map(any, caught.values()))
    every = [one for found in caught.values() for one in found]
    assert len(every) == 126 and sum(every) >= 121  # changes at five places change no result


def test_variants_change_prompt_stops_and_what_is_judged(tmp_path, warm_sandbox):
    """A completion that begins where the stripped prompt ends is judged with the stripped prompt."""
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(ROW) + "\n")
    plain, stripped = load(str(tmp_path)), load(str(tmp_path), prompt="stripped")
    assert plain.next_prompt("T/0", []) == ROW["prompt"] and plain.next_prompt("T/0", ["x"]) is None
    assert stripped.next_prompt("T/0", []) == 'def f(a):\n    """One more."""'
    assert plain.stops == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    assert {"\n@", "<file_sep>"} < set(stripped.stops)
    assert (plain.variant, stripped.variant) == ({"prompt": "unstripped"}, {"prompt": "stripped"})
    jobs = [plain.job("plain", "T/0", "    return a + 1"), stripped.job("stripped", "T/0", "    return a + 1"),
            stripped.job("solution", "T/0", stripped.solutions("T/0")[0])]  # fmt: skip
    assert {outcome.key: outcome.passed for outcome in warm_sandbox.judge(jobs)} == {
        "plain": True, "stripped": False, "solution": True
    }  # fmt: skip
    with pytest.raises(UnknownVariant, match="no prompt 'x'; wanted one of unstripped, stripped"):
        load(str(tmp_path), prompt="x")


def test_scores_are_pass_at_k_and_the_oracle(own):
    rows = {"a": [{"passed": True}, {"passed": False}], "b": [{"passed": False}, {"passed": False}]}
    assert own.scores(rows) == {"pass@1": 0.25, "oracle": 0.5}


@published
def test_the_published_file_is_known_by_its_hash():
    benchmark = load(str(PUBLISHED))
    assert len(benchmark.task_ids) == 164 and benchmark.source["published"]
    assert benchmark.task_ids[:2] == ["HumanEval/0", "HumanEval/1"]


# ---- files of problems ---------------------------------------------------------------------------------------------


def test_a_file_may_be_packed_and_may_be_one_list(tmp_path):
    rows = [ROW, ROW | {"task_id": "T/1"}]
    lines = "".join(json.dumps(row) + "\n\n" for row in rows).encode()
    for name, data in {"a": lines, "b": gzip.compress(lines), "c": json.dumps(rows).encode()}.items():
        (tmp_path / name).write_bytes(data)
        file = load_rows(HUMANEVAL, str(tmp_path / name))
        assert (file.rows, file.sha256) == (rows, hashlib.sha256(data).hexdigest())
        assert file.facts == {"path": str(tmp_path / name), "sha256": file.sha256, "published": False}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"{", "cannot be parsed"),
        (b"\xff", "cannot be parsed"),
        (b"\x1f\x8b no archive", "cannot be parsed"),
        (b"[1]", "row 1 of .* is no JSON object"),
        (b'{"task_id": "T/0"}', "row 1 has no text 'prompt'"),
        (json.dumps(ROW | {"test": 5}).encode(), "row 1 has no text 'test'"),
        ((json.dumps(ROW) + "\n").encode() * 2, "two problems called T/0"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, data, said):
    (tmp_path / "problems.jsonl").write_bytes(data)
    with pytest.raises(BrokenProblems, match=said):
        load(str(tmp_path / "problems.jsonl"))


def test_a_place_without_problems_is_refused(tmp_path):
    with pytest.raises(NoProblems, match=r"wanted a file such as HumanEval\.jsonl\.gz"):
        load(str(tmp_path))
    with pytest.raises(NoProblems, match="no problems at"):
        load(str(tmp_path / "nothing"))


def test_the_published_file_is_fetched_once_and_checked(tmp_path, monkeypatch):
    data = gzip.compress((json.dumps(ROW) + "\n").encode())
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "x.gz").write_bytes(data)
    cache = str(tmp_path / "cache")
    with serve(tmp_path / "served") as server:
        source = Source("HumanEval.jsonl.gz", f"{server.url}/x.gz", hashlib.sha256(data).hexdigest())
        monkeypatch.setattr(humaneval_benchmark, "HUMANEVAL", source)
        assert load(cache_dir=cache).source["published"] and load(cache_dir=cache).task_ids == ["T/0"]
        assert len(server.requests) == 1
        with pytest.raises(BrokenProblems, match=r"wanted 0000.*as published"):
            fetch(replace(source, sha256="0" * 64), cache)
        assert len(list((tmp_path / "cache").iterdir())) == 1  # nothing of what was refused stays
        with pytest.raises(NoProblems, match="--problems"):
            fetch(replace(source, url=f"{server.url}/none", sha256="1" * 64), cache, sleep=lambda _: None)


# ---- docstrings graded by code ---------------------------------------------------------------------------------------


def test_a_function_is_three_parts_that_join_to_its_source(own):
    problems = list(own.problems.values())
    if PUBLISHED.is_file():
        kept, left_out = describable(list(load(str(PUBLISHED)).problems.values()))
        assert left_out == ["HumanEval/115"]  # an import stands before its docstring
        problems += kept
    for row in problems:
        function = function_of(row)
        assert function.signature + function.docstring + function.body == row["prompt"] + row["canonical_solution"]
        assert codex_d.docstring_of(function.docstring + "\nx = 1") == function.docstring
        assert function.docstring not in function.prompt and function.body.strip() in function.prompt


def test_the_loop_grades_docstrings_by_the_code_that_they_lead_to(own, warm_sandbox):
    """A describer that gives the true docstring and a writer that knows the answer to it pass everything."""
    problems = list(own.problems.values())[:5]
    functions = [function_of(row) for row in problems]
    true = {function.prompt: function.docstring for function in functions}
    bodies = {function.signature + function.docstring: function.body for function in functions}

    def describe(prompt):
        if prompt == functions[1].prompt:
            return "    no docstring at all"
        if prompt == functions[2].prompt:
            return f'    """{functions[2].body}"""'
        if prompt == functions[3].prompt:
            return '    """Something else."""'
        return true[prompt] + "\nrubbish after it"

    retold = list(retell(problems, describe, lambda prompt: bodies.get(prompt, "    return None\n")))
    assert [one.refused for one in retold] == ["", NO_DOCSTRING, COPIED, "", ""]
    jobs = [one.job(own.problems[one.task_id]) for one in retold if not one.refused]
    passed = {outcome.key: outcome.passed for outcome in warm_sandbox.judge(jobs)}
    assert passed == {"Clippy/0": True, "Clippy/3": False, "Clippy/4": True}
    found = codex_d.scores(retold, passed, own.problems)
    assert found["pass@1"] == pytest.approx(2 / 5) and found["refused"] == pytest.approx(2 / 5)
    assert 0 < found["bleu"] < 100
    everything = list(retell(problems, true.__getitem__, bodies.__getitem__))
    assert codex_d.scores(everything, {}, own.problems)["bleu"] == pytest.approx(100)


def test_a_problem_without_a_docstring_cannot_be_described():
    with pytest.raises(NotDescribable, match="T/0 ends with no function to describe"):
        function_of(ROW | {"prompt": "def f(a):\n"})


def test_docstrings_are_graded_without_sacrebleu_too(monkeypatch):
    """It is an extra that a recipe does not install: the scores come after everything was sampled."""
    own = load_clippy()
    problems = [own.problems[name] for name in own.task_ids[:2]]
    told = list(retell(problems, lambda prompt: '    """Text."""', lambda prompt: "    return None\n"))
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    assert codex_d.scores(told, {}, own.problems) == {"pass@1": 0.0, "refused": 0.0}


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(codex_d).attempted and not doctest.testmod(codex_d).failed
    assert set(FIELDS) == set(ROW)
