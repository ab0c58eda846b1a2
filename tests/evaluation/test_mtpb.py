"""MTPB: conversations, the executed history and its last print; a row for each behaviour of the reference."""

from __future__ import annotations

import doctest
import json

import pytest

from evaluation import mtpb_equivalence
from evaluation.benchmark import UnknownVariant
from evaluation.mtpb import judge
from evaluation.mtpb_benchmark import PREFIX, load
from evaluation.mtpb_equivalence import SERIES, Printed, equivalent
from evaluation.problem_files import BrokenProblems
from evaluation.sandbox import Job, Limits
from tests.conftest import ROOT, SHARED_DATA

PUBLISHED = SHARED_DATA / "mtpb.jsonl.gz"
published = pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"MTPB's problems are not at {PUBLISHED}")

# a program, the expected value, whether the reference accepts it, whether `strict` does
T, F = True, False
ROWS = [
    ("the last print counts", "print(1)\nprint(2)", 2, T, T),
    ("and not the first", "print(1)\nprint(2)", 1, F, F),
    ("of it the first argument", "print(3, 4, sep='')", 3, T, T),
    ("an expression at the end is printed", "x = 5\nx", 5, T, T),
    ("so is what is assigned at the end", "x = 5", 5, T, T),
    ("and what is added, though it then fails", "x = 5\nx += 2", 2, T, F),
    ("nothing else is", "for i in [1]:\n    pass", 1, F, F),
    ("a call of any name that begins with print is one", "def printed():\n    print(9)\nprinted()", 9, T, T),
    ("a loop may print", "for i in range(4):\n    print(i)", 3, T, T),
    ("a crash after the print is forgiven", "print(7)\nprint(1 / 0)", 7, T, F),
    ("a crash before it is none", "1 / 0\nprint(7)", 7, F, F),
    ("no Python prints nothing", "print(7", 7, F, F),
    ("an empty print has no argument", "print(7)\nprint()", 7, F, F),
    ("sys.exit gives the sample up, and only it", "import sys\nprint(7)\nsys.exit()", 7, F, F),
    ("exit is None", "print(7)\nexit()", 7, T, F),
    ("os._exit", "import os\nprint(7)\nos._exit(0)", 7, F, F),
    ("time over after the print", "print(7)\nwhile True:\n    pass\n", 7, T, F),
    ("time over before it", "while True:\n    pass\nprint(7)", 7, F, F),
    ("__main__ runs", "if __name__ == '__main__':\n    print(7)", 7, T, T),
    ("a function of that name", "def print(x):\n    pass\nprint(7)", 7, F, F),
    ("a float is cut to an int", "print(3.9)", 3, T, F),
    ("a float that is whole", "print(3.0)", 3, T, T),
    ("text to an int", "print('3')", 3, T, T),
    ("text that is no number", "print('x')", 3, F, F),
    ("True is 1", "print(True)", 1, T, F),
    ("1 is not True", "print(1)", True, F, F),
    ("the text True is", "print('True')", True, T, T),
    ("numpy's True", "import numpy as np\nprint(np.bool_(True))", True, T, T),
    ("a number to text", "print(5)", "5", T, T),
    ("an object to text", "class A:\n    def __str__(self):\n        return 'a'\nprint(A())", "a", T, T),
    ("a near float", "print(0.1 + 0.2)", 0.3, T, T),
    ("one that is not", "print(0.30001)", 0.3, F, F),
    ("floats in a list are exact", "print([0.1 + 0.2])", [0.3], F, T),
    ("tuples in a list are lists", "print([(1, 2), (3, 4)])", [[1, 2], [3, 4]], T, T),
    ("a tuple is cast", "print((1, 2))", [1, 2], T, T),
    ("so is any iterable", "print(map(abs, [-1, 2]))", [1, 2], T, T),
    ("and a dict, to its keys", "print({1: 2})", [1], T, F),
    ("and a text, to its letters", "print('ab')", ["a", "b"], T, F),
    ("a set has no order that would be sure", "print({1})", [1], T, T),
    ("an array is a list", "import numpy as np\nprint(np.eye(2))", [[1, 0], [0, 1]], T, T),
    ("an array of one to a number", "import numpy as np\nprint(np.float32(0.5))", 0.5, T, T),
    ("an array inside a list is none", "import numpy as np\nprint([np.array([1, 2])])", [[1, 2]], F, F),
    ("a dict never passes", "print({'a': 1})", {"a": 1}, F, T),
    ("another dict neither", "print({'a': 2})", {"a": 1}, F, F),
    ("None never passes", "print(None)", None, F, T),
    ("nor does its text", "print('x')", None, F, F),
    ("a list is compared by ==", "print([1, 2.0, True])", [1, 2, 1], T, F),
    ("a deep list", "x = []\nfor i in range(900):\n    x = [x]\nprint(x)", [1], F, F),
    ("infinite to an int", "print(float('inf'))", 3, F, F),
    ("an object that is equal to all", "class A:\n    def __eq__(s, o): return True\nprint(A())", [1], F, F),
    ("an int that is equal to all", "class A(int):\n    def __eq__(s, o): return True\nprint(A(2))", 1, F, F),
    ("an int of that kind with the value", "class A(int):\n    def __eq__(s, o): return True\nprint(A(2))", 2, T, T),
]  # fmt: skip


def run(sandbox, rows, equivalence="reference", scale=0.05):
    jobs = [
        Job(number, f"{judge.__module__}:judge",
            {"program": program, "expected": expected, "equivalence": equivalence, "scale": scale},
            Limits(9, memory_bytes=2 << 30))
        for number, (program, expected) in enumerate(rows)
    ]  # fmt: skip
    outcomes = {outcome.key: outcome for outcome in sandbox.judge(jobs)}
    return [outcomes[number] for number in range(len(rows))]


def test_the_references_behaviours(warm_sandbox):
    outcomes = run(warm_sandbox, [row[1:3] for row in ROWS])
    found = {row[0]: outcome.detail["verdicts"] for row, outcome in zip(ROWS, outcomes, strict=True)}
    assert found == {row[0]: {"reference": row[3], "strict": row[4]} for row in ROWS}
    assert [outcome.passed for outcome in outcomes] == [row[3] for row in ROWS]
    results = {row[0]: outcome.detail["result"] for row, outcome in zip(ROWS, outcomes, strict=True)}
    assert results["time over before it"] == "timed out"
    assert results["and not the first"] == "failed: printed 2"
    assert results["a crash before it is none"] == "failed: ZeroDivisionError: division by zero"


LIE = """
import sys, time
from inside.codec import encode
from inside.frames import write_frame
frame = sys._getframe()
while not hasattr(frame.f_locals.get("self"), "channel"):
    frame = frame.f_back
write_frame(frame.f_locals["self"].channel, encode({}, None, 1 << 40))
time.sleep(9)
"""


def test_lies_of_the_programs_side_are_failures_of_few_words(warm_sandbox):
    lies = [
        "('raised', 'x', 10**6000, '', False, ())", "('raised', 'x', 'y' * 7000000, '', False, ())",
        "('value', ('y' * 7000000, None), '', False, ())",
        "('value', ('', ('other', None, '', {'int': 10**6000})), '', False, ())",
    ]  # fmt: skip
    for outcome in run(warm_sandbox, [(LIE.format(lie), 1) for lie in lies], scale=1.0):
        assert outcome.status == "failed" and len(str(outcome.detail)) < 5000


def test_a_pandas_series_is_an_array_that_may_be_near(warm_sandbox):
    pytest.importorskip("pandas")
    program = "import pandas as pd\nprint(pd.DataFrame({'a': [1, 2], 'b': [3, 5]}).mean())"
    near, far = run(warm_sandbox, [(program, [1.5, 4.00001]), (program, [1.5, 4.1])], scale=1.0)
    assert near.passed and not far.passed
    series = Printed(SERIES, [1.5, 4.0], "a 1.5", {})
    expected = [([1.5, 4.0], T), ([1.5, 4.0, 0], F), ([1.5], F), (4.0, F), (["1.5", "4"], F), ("a 1.5", F)]
    assert [equivalent(series, value, "reference") for value, _ in expected] == [accepted for _, accepted in expected]
    assert equivalent(Printed(SERIES, [2, 2], "", {}), 2, "reference")  # one number stands against any length


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(mtpb_equivalence).attempted and not doctest.testmod(mtpb_equivalence).failed


@pytest.fixture
def two_problems(tmp_path):
    rows = [
        {
            "id": "2",
            "prompts": ["Say {a}.", "Print {a}."],
            "inputs": [{"a": [1, 2]}, {"a": 3}],
            "outputs": [[1, 2], 3, 4],
        },
        {"id": "10", "prompts": ["Print {{{a}}}."], "inputs": [{"a": 1}], "outputs": [{"1": 2}], "max_gen_length": 7},
    ]
    path = tmp_path / "mtpb.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    return str(path)


def test_turns_follow_one_another(two_problems):
    benchmark = load(two_problems)
    assert benchmark.task_ids == ["MTPB/2/0", "MTPB/2/1", "MTPB/10/0"]  # an output without an input is left out
    first = benchmark.next_prompt("MTPB/2/0", [])
    assert first == PREFIX + "# Say [1, 2].\n" and PREFIX == "# Import libraries.\n\nimport numpy as np\n\n"
    answers = [benchmark.answer("x = [1, 2]\n\n\n\ny"), benchmark.answer("print(x)\nprint(1)\nprint(2)")]
    assert answers == ["x = [1, 2]", "print(x)\n"]
    second = benchmark.next_prompt("MTPB/2/0", answers[:1])
    assert second == first + "x = [1, 2]\n\n# Print [1, 2].\n"
    assert benchmark.next_prompt("MTPB/2/0", answers) is None
    assert benchmark.completion("MTPB/2/0", answers) == second + "print(x)\n\n\n"
    assert [benchmark.max_new_tokens(task_id) for task_id in benchmark.task_ids] == [256, 256, 7]


def test_all_turns_in_one_prompt(two_problems):
    benchmark = load(two_problems, turns="single")
    assert benchmark.next_prompt("MTPB/2/1", []) == PREFIX + "# Say 3.\n# Print 3.\n"
    assert benchmark.next_prompt("MTPB/2/1", ["x"]) is None
    assert benchmark.max_new_tokens("MTPB/2/1") == 2 * 256
    whole = "def f():\n    pass\ndef g():\n    pass\nprint(1)\nprint(2)"
    assert benchmark.answer(whole + "\n\n\nmore") == whole
    assert benchmark.variant == {"turns": "single", "comparison": "reference"}


def test_scores_say_what_can_be_reached(two_problems, warm_sandbox):
    benchmark = load(two_problems)
    completions = {"MTPB/2/0": "print([1, 2])", "MTPB/2/1": "print(3.7)", "MTPB/10/0": "print({'1': 2})"}
    rows = {
        outcome.key: [benchmark.fields(outcome)]
        for outcome in warm_sandbox.judge(benchmark.job(task, task, text) for task, text in completions.items())
    }
    found = benchmark.scores(rows, ks=(1,))
    assert found["pass_rate_reference"] == found["pass@1"] == pytest.approx(2 / 3)
    assert found["pass_rate_strict"] == pytest.approx(2 / 3)  # another case than the reference's
    assert found["ceiling"]["reference"] == {
        "reachable": 2, "of": 3, "unreachable": {"MTPB/10/0": "the reference compares no dict"}
    }  # fmt: skip
    assert found["ceiling"]["strict"]["reachable"] == 3


def test_problems_that_do_not_fill_and_unknown_variants_are_refused(tmp_path, two_problems):
    (tmp_path / "bad.jsonl").write_text('{"id": "1", "prompts": ["{b}"], "inputs": [{"a": 1}], "outputs": [1]}\n')
    with pytest.raises(BrokenProblems, match=r"problem 1 of .* has no prompts that its inputs fill"):
        load(str(tmp_path / "bad.jsonl"))
    for name in ("turns", "comparison"):
        with pytest.raises(UnknownVariant, match=f"no {name} 'x'"):
            load(two_problems, **{name: "x"})


@published
def test_the_published_problems_and_their_ceiling():
    benchmark = load(str(PUBLISHED))
    assert len(benchmark.task_ids) == 115 * 5
    answers = {task_id: [] for task_id in benchmark.task_ids}
    for task_id, given in answers.items():
        while benchmark.next_prompt(task_id, given) is not None:
            given.append("x")
    assert sum(map(len, answers.values())) == 2570
    ceiling = benchmark.ceiling("reference")
    assert (ceiling["reachable"], ceiling["of"]) == (558, 575)
    problems = [task_id.split("/")[1] for task_id in ceiling["unreachable"]]
    assert {name: problems.count(name) for name in problems} == {"38": 5, "41": 2, "46": 5, "89": 5}
    assert benchmark.ceiling("strict")["reachable"] == 565


# by problem, a program of the case's inputs
SOLUTIONS = {
    "1": "print(sorted(set({A!r}.lower())))",
    "2": "n = {numbers}\nprint([format(x / sum(n) * 100, '.1f') for x in n])",
    "3": "print({a1} * 3600 + {a2} * 60)",
    "4": "a, b = 0, 1\nfor _ in range({a1}):\n    a, b = b, a + b\nprint(a ** 2)",
    "5": "n = {A}\nprint(max(sum(x < 0 for x in n), sum(x > 0 for x in n)))",
    "7": "def f(x):\n    return 'fizz' * (x % {a1} == 0) + 'buzz' * (x % {a2} == 0) or x\n"
    "print([f(x) for x in range({a3}, {a4} + 1)])",
    "8": "w = {a1!r}.split()\nprint(list(zip(w, w[1:])))",
    "16": "print(len(set([{a2}] if '{a1}' == 'id' else ['A', 'B', '{a3}'])))",
    "21": "e = {numbers}\nprint([sum(x for x in e if x % 2 == 0), sum(x for x in e if x % 2)])",
    "25": "print(max({A}) - min({A}))",
    "41": "n = {lst}\nbest = max(n, key=n.count, default=0)\nprint(best if n.count(best) * 2 > len(n) else None)",
    "88": "x = {x}\nv = sorted(set(x))\nf = np.zeros((len(x), len(v)), dtype=int)\n"
    "for i, e in enumerate(x):\n    f[i, v.index(e)] = 1\nprint(f)",
    "89": "r = {{}}\nfor e in {x}:\n    k = ({fun})(e)\n"
    "    r.setdefault(getattr(k, '__name__', str(k)), []).append(e)\nprint(r)",
    "92": "print(({{*range(1, {N} + 1)}} - {{*{nums}}}).pop())",
    "97": "s = ''.join({x})\nd = s.count('>') - s.count('<')\nprint('>' * d if d > 0 else '<' * -d)",
    "98": "a = {x}\nprint(max(a) - min(a) in a)",
    "108": "a, k = {A}, {K}\nfor _ in range(k):\n    a = a[-1:] + a[:-1]\nprint(a)",
    "114": "print(np.array({A}).shape[0] + np.array({A}).shape[1])",
}


@published
def test_solutions_by_hand_pass_every_case_that_can_be_passed(warm_sandbox):
    """Both verdicts of 90 cases; those of problems 41 and 89 that the reference never passes, pass under strict."""
    from evaluation.mtpb_benchmark import MTPB
    from evaluation.problem_files import load_rows

    benchmark = load(str(PUBLISHED))
    unreachable = benchmark.ceiling("reference")["unreachable"]
    jobs = []
    for row in load_rows(MTPB, str(PUBLISHED)).rows:
        if row["id"] in SOLUTIONS:
            for number, given in enumerate(row["inputs"]):
                task_id = f"MTPB/{row['id']}/{number}"
                jobs.append(benchmark.job(task_id, task_id, PREFIX + SOLUTIONS[row["id"]].format(**given)))
    found = {outcome.key: outcome.detail["verdicts"] for outcome in warm_sandbox.judge(jobs)}
    assert len(found) == 5 * len(SOLUTIONS)
    wrong = {key: both for key, both in found.items() if both != {"reference": key not in unreachable, "strict": True}}
    assert not wrong


def test_the_answers_of_our_own_problems_pass_and_a_turn_less_does_not(warm_sandbox):
    """Those that the recipe `codegen` scores a tiny model on."""
    path = ROOT / "evaluation" / "problems" / "clippy_mtpb.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ours = load(str(path))
    assert ours.ceiling("reference")["unreachable"] == {} and len(ours.task_ids) == sum(len(r["inputs"]) for r in rows)
    jobs = []
    for task_id in ours.task_ids:
        row = rows[int(task_id.split("/")[1])]
        answers = [answer.format(**row["inputs"][int(task_id.split("/")[2])]) for answer in row["answers"]]
        assert all(ours.answer(answer) == answer for answer in answers)  # one turn each, by the rule that cuts them
        for number in (len(answers), len(answers) - 1):
            jobs.append(
                ours.job((task_id, number == len(answers)), task_id, ours.completion(task_id, answers[:number]))
            )
    for outcome in warm_sandbox.judge(jobs):
        assert outcome.passed == outcome.key[1], outcome
