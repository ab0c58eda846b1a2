"""APPS: problems, prompts and judgements, in the sandbox; a row for each behaviour of the reference."""

from __future__ import annotations

import json

import pytest

from data_processing.apps_prompt import apps_prompt, official_eval_prompt
from evaluation import apps_benchmark
from evaluation.apps import judge
from evaluation.apps_benchmark import CLIPPY_APPS, load, load_clippy, samples_of_codes
from evaluation.benchmark import UnknownVariant
from evaluation.problem_files import BrokenProblems
from evaluation.sandbox import Job, Limits, Outcome

T, F = True, False
READ = "print(input())"


def run(sandbox, rows, comparison="reference"):
    """Judge rows of (solution, function name or None, tests); the outcomes in the rows' order."""
    jobs = [
        Job(number, f"{judge.__module__}:judge",
            {"solution": solution, "name": name, "tests": tests, "comparison": comparison, "scale": 0.25},
            Limits(9, memory_bytes=2 << 30))
        for number, (solution, name, tests) in enumerate(rows)
    ]  # fmt: skip
    outcomes = {outcome.key: outcome for outcome in sandbox.judge(jobs)}
    return [outcomes[number] for number in range(len(rows))]


# a program that answers in the place of its far end
LIE = """
from inside.codec import encode
from inside.frames import write_frame
frame = sys._getframe()
while not hasattr(frame.f_locals.get("self"), "channel"):
    frame = frame.f_back
write_frame(frame.f_locals["self"].channel, encode({}, None, 1 << 40))
time.sleep(9)
"""

# a solution, its function or None for standard input, its tests, and the codes that the reference gives it
LOST = [-1] * 21
ROWS = [
    ("code under __main__ never runs", "if __name__ == '__main__':\n    print(1)", None, [["", "1"]], [F]),
    ("a global of a helper is unknown", "n = 1\ndef f():\n    global n\n    n += 1\nf()\nprint(n)", None, [["", "2"]],
     [-1]),
    ("a text over two lines gains a tab", "s = '''a\nb'''\nprint(len(s))", None, [["", "3"], ["", "4"]], [F, T]),
    ("nothing but imports", "import sys\nimport os", None, [["", ""]], [-2]),
    ("nothing but imports and a line end", "import sys\n", None, [["", ""]], [-2]),
    ("the future is too late", "from __future__ import annotations\nprint(1)", None, [["", "1"]], [-2]),
    ("exit is None", "print(1)\nexit()", None, [["", "1"]], [-1]),
    ("sys.exit after printing is fine", "print(1)\nsys.exit(3)", None, [["", "1"]], [T]),
    ("stdin has no buffer", "sys.stdin.buffer.read()\nprint(1)", None, [["", "1"]], [-1]),
    ("stdout has no buffer", "sys.stdout.buffer.write(b'1')", None, [["", "1"]], [-1]),
    ("open(0) works, and any other file", "print(open(0).read() + open('x').readline())", None, [["a", "aa"]], [T]),
    ("stdout by another name is not captured", "from sys import stdout\nstdout.write('1')", None, [["", "1"]], [F]),
    ("nor is the name that the transform gives", "stdout.write('1')", None, [["", "1"]], [F]),
    ("stdin by another name: lines without ends", "from sys import stdin\nprint(repr(stdin.readline()))", None,
     [["a\nb", "'a'"]], [T]),
    ("stdin by another name: no lines to loop over", "from sys import stdin\nprint(len([1 for l in stdin]))", None,
     [["a\nb", "0"]], [T]),
    ("sys.stdin is an ordinary stream", "print(repr(sys.stdin.readline()), sum(1 for _ in sys.stdin))", None,
     [["a\nb\nc", "'a\\n' 2"]], [T]),
    ("an import after other lines is indented too", "x = 4\nimport math as m\nprint(m.isqrt(x))", None, [["", "2"]],
     [T]),
    ("the prelude is there", "print(gcd(4, 6), Counter('aa')['a'], np.arange(3).sum())", None, [["", "2 2 3"]], [T]),
    ("a test that raises spoils no other", "print(1 // int(input()))", None, [["1", "1"], ["0", "0"], ["1", "1"]],
     [T, -1, T]),
    ("a test out of time spoils no other", "n = int(input())\nwhile n: pass\nprint(n)", None, [["1", "1"], ["0", "0"]],
     [-1, T]),
    ("a program that catches the alarm runs out of all time",
     "while True:\n    try:\n        sum(range(999))\n    except Exception:\n        pass", None, [["", ""]], LOST),
    ("os._exit leaves nothing", "import os\nprint(1)\nos._exit(0)", None, [["", "1"]], LOST),
    ("no such function", "def g():\n    return 1", "f", [[[], [1]]], [-2]),
    ("no Python", "def f(:", "f", [[[], [1]]], [-2]),
    ("an import that raises", "raise ValueError", "f", [[[], [1]]], [-2]),
    ("building out of time", "while True: pass", "f", [[[], [1]]], [-2]),
    ("class Solution", "class Solution:\n    def f(self, a):\n        return a", "f", [[[1], [1]]], [T]),
    ("class Solution in a comment", "# class Solution\ndef f(a):\n    return a", "f", [[[1], [1]]], [-2]),
    ("sys.exit in a call", "def f(a):\n    sys.exit(0)", "f", [[[1], [1]], [[2], [2]]], LOST),
    ("sys.exit while building", "sys.exit(0)", "f", [[[1], [1]]], LOST),
    ("state stays from test to test", "c = []\ndef f(a):\n    c.append(a)\n    return len(c)", "f",
     [[[1], [1]], [[1], [2]]], [T, T]),
    ("os.remove is gone", "import os\ndef f(a):\n    os.remove('x')", "f", [[[1], [1]]], [-1]),
    ("int keys", "def f(d):\n    return {k + 1: v for k, v in d.items()}", "f", [[[{"1": 2}], [{"2": 2}]]], [T]),
    ("an object equal to all", "class A:\n    def __eq__(s, o): return True\ndef f(a):\n    return A()", "f",
     [[[1], [1]]], [F]),
    ("a list of such objects", "class A:\n    def __eq__(s, o): return True\ndef f(a):\n    return [A()]", "f",
     [[[1], [[1]]]], [F]),
    ("an int that is equal to all", "class A(int):\n    def __eq__(s, o): return True\ndef f(a):\n    return A(5)", "f",
     [[[1], [1]], [[1], [5]]], [F, T]),
    ("numpy's numbers", "def f(a):\n    return np.int64(a)", "f", [[[1], [1]]], [T]),
    ("an array, whose == is no bool", "def f(a):\n    return np.array([1, 2])", "f", [[[1], [[1, 2]]]], [-1]),
    ("an array inside a dict", "def f(a):\n    return {1: np.array([1, 2])}", "f", [[[1], [{"1": [1, 2]}]]], [-1]),
    ("a reply whose text is a number too long to print", LIE.format("('raised', 'x', 10**6000, '', False, ())"), "f",
     [[[1], [1]]], LOST),
    ("frames hold no expected output",
     "f = sys._getframe()\nwhile f:\n    print(*[v for v in f.f_locals.values() if v == 'secret'])\n    f = f.f_back",
     None, [["", "secret"]], [F]),
]  # fmt: skip


def test_the_references_behaviours(warm_sandbox):
    outcomes = run(warm_sandbox, [row[1:4] for row in ROWS])
    found = {row[0]: outcome.detail["codes"]["reference"] for row, outcome in zip(ROWS, outcomes, strict=True)}
    assert found == {row[0]: row[4] for row in ROWS}
    for row, outcome in zip(ROWS, outcomes, strict=True):
        lengths = {kind: len(codes) for kind, codes in outcome.detail["codes"].items()}
        if row[4] == LOST:  # twenty-one is the reference's guess; strict knows how many tests there are
            assert lengths == {"reference": 21, "strict": len(row[3])}
        else:
            assert lengths["reference"] == lengths["strict"]  # no test is ever dropped
        assert outcome.passed == all(code > 0 for code in row[4])
        assert (outcome.status == "timed out") == ("all time" in row[0])
        assert outcome.detail["result"] == "passed" if outcome.passed else outcome.detail["result"] != "passed"


def test_tests_that_are_no_texts_lose_every_sample(warm_sandbox, tmp_path):
    row = OWN_ROWS["APPS/0008"] | {"input_output": '{"inputs": ["1"], "outputs": [[7]]}'}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    benchmark = load(str(tmp_path))
    (outcome,) = warm_sandbox.judge([benchmark.job(0, "APPS/0008", READ)])
    assert outcome.detail["codes"]["reference"] == LOST
    assert benchmark.fields(outcome)["result"] == "failed: the problem's tests are no texts"


OWN_ROWS = {f"APPS/{row['id']:04d}": row for row in map(json.loads, (CLIPPY_APPS / "test.jsonl").open())}


@pytest.fixture(scope="module")
def own():
    return load_clippy()


def test_our_own_problems_have_what_they_promise(own, warm_sandbox):
    """Each solution passes under both comparisons; each other program gets the codes that are written beside it."""
    assert len(own.task_ids) == 20
    assert {own.difficulties[task] for task in own.task_ids} == {"introductory", "interview", "competition"}
    jobs, expected = [], {}
    for task_id in own.task_ids:
        assert own.solutions(task_id)
        jobs += [own.job((task_id, number), task_id, text) for number, text in enumerate(own.solutions(task_id))]
        for row in OWN_ROWS[task_id]["judged"]:
            jobs.append(own.job((task_id, row["why"]), task_id, row["solution"]))
            expected[task_id, row["why"]] = {"reference": row["reference"], "strict": row["strict"]}
    assert len(expected) >= 40
    for outcome in warm_sandbox.judge(jobs):
        key = tuple(outcome.key)
        if key in expected:
            assert (key, outcome.detail["codes"]) == (key, expected[key])
        else:
            assert outcome.passed and all(all(codes) for codes in outcome.detail["codes"].values()), key


def test_scores_go_by_problem_and_difficulty_under_both_comparisons(own, warm_sandbox):
    task_id = "APPS/0014"
    texts = [own.solutions(task_id)[0], OWN_ROWS[task_id]["judged"][0]["solution"]]
    outcomes = list(warm_sandbox.judge(own.job(number, task_id, text) for number, text in enumerate(texts)))
    found = own.scores({task_id: [own.fields(outcome) for outcome in outcomes]}, ks=(1, 2))
    assert found["pass@1"] == 1.0 and found["oracle"] == 1.0
    assert found["reference"]["all"]["strict_accuracy"] == 1.0
    assert found["strict"]["interview"]["strict_accuracy"] == 0.5
    assert found["strict"]["interview"]["test_case_average"] == 0.75
    assert set(found["strict"]) == {"all", "interview"}
    strict = load_clippy(comparison="strict")
    (outcome,) = warm_sandbox.judge([strict.job(0, task_id, texts[1])])
    assert outcome.status == "failed" and outcome.detail["result"] == "failed: test 1 of 2 is wrong"


def test_a_sample_that_its_judge_could_not_finish_has_codes_too(own):
    row = own.fields(Outcome(0, "timed out", "timed out", 13.0))
    assert row == {"passed": False, "result": "timed out", "codes": {"reference": LOST, "strict": [-1]}}


def test_prompts_by_name(own):
    called, typed = "APPS/0000", "APPS/0008"
    problem = own.problem(called)
    assert own.next_prompt(called, []) == apps_prompt(problem.question, problem.starter_code)
    assert own.next_prompt(called, ["x"]) is None
    official = load_clippy(prompt="official")
    wanted = official_eval_prompt(problem.question, problem.starter_code, "clips_needed")
    assert official.next_prompt(called, []) == wanted
    assert "\n\nANSWER:\n" in load_clippy(prompt="official_train").next_prompt(typed, [])
    assert f"{problem.question}{problem.starter_code}\nUse" in load_clippy(prompt="bigcode").next_prompt(called, [])
    assert own.variant == {"prompt": "ours", "comparison": "reference", "difficulty": "all"}


def test_one_difficulty_alone():
    assert len(load_clippy(difficulty="competition").task_ids) == 6


@pytest.mark.parametrize("name", ["prompt", "comparison", "difficulty"])
def test_an_unknown_variant_is_refused(name):
    with pytest.raises(UnknownVariant, match=f"no {name} 'x'; wanted one of"):
        load_clippy(**{name: "x"})


def test_both_layouts_give_the_same_problems(own, tmp_path):
    """Ours are lines, as the Hub has them; the official layout is a folder a problem."""
    for row in OWN_ROWS.values():
        folder = tmp_path / "test" / f"{row['id']:04d}"
        folder.mkdir(parents=True)
        (folder / "question.txt").write_text(row["question"])
        (folder / "metadata.json").write_text(json.dumps({"difficulty": row["difficulty"]}))
        for name in ("solutions", "input_output"):
            (folder / f"{name}.json").write_text(row[name])
        if row["starter_code"]:
            (folder / "starter_code.py").write_text(row["starter_code"])
    (tmp_path / "test" / "0020").mkdir()
    (tmp_path / "test" / "0020" / "question.txt").write_text("A question that has no tests.")
    folders = load(str(tmp_path))
    first = tmp_path / "test" / "0000" / "input_output.json"
    kept = first.read_text()
    first.write_text(kept + " ")
    assert load(str(tmp_path)).source["sha256"] != folders.source["sha256"], "verdicts are of these tests"
    first.write_text(kept)
    assert load(str(tmp_path)).source == folders.source
    assert folders.task_ids == own.task_ids
    assert (folders.source["without_tests"], own.source["without_tests"]) == (1, 0)
    for task_id in own.task_ids:
        assert folders.next_prompt(task_id, []) == own.next_prompt(task_id, [])
        assert folders.job(0, task_id, READ) == own.job(0, task_id, READ)
    assert load(str(CLIPPY_APPS / "test.jsonl")).task_ids == own.task_ids


def test_problems_that_cannot_be_scored_are_refused(tmp_path):
    with pytest.raises(BrokenProblems, match="problem_id"):
        (tmp_path / "test.jsonl").write_text('{"question": "Q"}\n')
        load(str(tmp_path))
    with pytest.raises(BrokenProblems, match="no problem with tests"):
        (tmp_path / "test.jsonl").write_text('{"id": 1, "question": "Q"}\n')
        load(str(tmp_path))
    with pytest.raises(BrokenProblems, match="tests of problem 0001 are no JSON"):
        (tmp_path / "test.jsonl").write_text('{"id": 1, "question": "Q", "input_output": "{"}\n')
        load(str(tmp_path))


def test_the_official_scorers_input_becomes_samples():
    task_ids = ["APPS/0000", "APPS/0001"]
    assert list(samples_of_codes({"1": "a", "0": ["b", "c"]}, task_ids)) == [
        {"task_id": "APPS/0001", "completion": "a"},
        {"task_id": "APPS/0000", "completion": "b"},
        {"task_id": "APPS/0000", "completion": "c"},
    ]
    odd = {"2": "a", "x": ["a"], "9" * 5000: "a", "0": None, "1": {"a": "b"}}
    found = list(samples_of_codes(odd, task_ids))  # a reader counts them all as mistakes
    assert [row["task_id"] for row in found] == ["2", "x", "9" * 5000, "APPS/0000", "APPS/0001"]
    assert not any(isinstance(row["completion"], str) for row in found[3:])


def test_numbers_of_all_codes_count_problems_that_are_left_out_too(own, tmp_path):
    hard = load_clippy(difficulty="competition")
    assert hard.numbered == own.task_ids and len(hard.task_ids) < len(own.task_ids)
    rows = [OWN_ROWS[task_id] for task_id in own.task_ids[:3]]
    rows[1] = rows[1] | {"input_output": ""}
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    some = load(str(tmp_path))
    assert some.task_ids == [own.task_ids[0], own.task_ids[2]]
    assert [row["task_id"] for row in samples_of_codes({"2": "a"}, some.numbered)] == [own.task_ids[2]]


def test_the_published_split_is_fetched_by_its_hash(monkeypatch):
    asked = []
    file = CLIPPY_APPS / "test.jsonl"
    monkeypatch.setattr(apps_benchmark, "fetch", lambda source, cache: asked.append((source, cache)) or file)
    assert load(cache_dir="c").source["published"] and asked == [(apps_benchmark.APPS, "c")]
