"""The set of functions: each reason provoked, nothing unstable kept, kept ones' tests tell right from wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from data_processing import standalone
from data_processing.document import Dropped
from data_processing.functions import NO_DOCSTRING
from data_processing.literal_calls import literal_calls
from data_processing.pair_rows import example_of
from data_processing.pairs import Pairs
from data_processing.shard_writer import HashedFile, ShardWriter
from data_processing.standalone import parse, pick
from evaluation import function_set, function_tests, humaneval, humaneval_benchmark, tracing
from evaluation.function_set import OtherFunctions, build, build_isolated, rows_of, table
from evaluation.function_tests import Demands, Subject, decide
from evaluation.literals import NO_VALUE, TOO_LARGE
from evaluation.sandbox import Sandbox
from evaluation.score import CannotJudge
from interface.files import lock
from tests.conftest import ROOT, command, succeed
from tests.evaluation.conftest import sandbox_or_skip

DEMANDS = Demands(timeout=0.5)


@pytest.fixture(scope="module")
def rooms(sandbox: Sandbox) -> Iterator[tuple[Sandbox, Sandbox]]:
    with sandbox_or_skip(2) as plain:
        other = Sandbox(2, hash_seed=1)
        with other:
            yield plain, other


def body(*lines: str, parameters: str = "n: int", doc: str = "Doc.", name: str = "f") -> str:
    return "\n    ".join([f"def {name}({parameters}):", f'"""{doc}"""', *lines]) + "\n"


def subject(text: str, number: int = 0) -> Subject:
    module = parse(text)
    *_, (name, found) = pick(text, module)
    assert not isinstance(found, Dropped), found
    return Subject(f"train/0/{number}/{name}", found, literal_calls(module), {})


def decided(text: str, rooms: tuple[Sandbox, Sandbox], demands: Demands = DEMANDS) -> dict:
    return decide([subject(text)], *rooms, demands)[0]


UNSTABLE = [
    body("return hash(s)", parameters="s: str"),
    body("return list(set(words))", parameters="words: list[str]"),
    body("return [id(object()) % 1000 for _ in range(n % 5 + 9)]"),
    body("return str(object()) + str(n)"),
    body("seen.append(n)", "return len(seen)", parameters="n: int, seen=[]"),
    body("import enum", "return enum.sys.modules['random'].random() + n"),
    body("import functools", "return functools.GenericAlias.__class__ and str(iter([])) + str(n)"),
    body("import enum", "enum.sys.modules.setdefault('seen', []).append(n)", "return len(enum.sys.modules['seen'])"),
    body("import json", "return json.codecs.builtins.__import__('time').perf_counter_ns() + n"),
]


def test_nothing_unstable_is_kept(rooms):
    made = decide([subject(text) for text in UNSTABLE], *rooms, DEMANDS)
    assert [one.get("dropped") for one in made] == [function_tests.UNSTABLE] * len(UNSTABLE)


HOSTILE = [
    (body("while n:", "    pass", "return 1"), tracing.TIMED_OUT),
    (body("return bytes(1 << 40)"), tracing.MEMORY),
    (body("return [[]] * 10**9"), tracing.MEMORY),
    (body("import enum", "enum.sys.stdout.write('spam')", "return n + 1"), tracing.PRINTS),
    (body("import enum", "return enum.sys.modules['os'].fork()"), tracing.RAISES),
    (body("import enum", "return enum.sys.modules['os']._exit(n)"), tracing.GONE),
    (body("import enum", "return enum.bltns.open(f'/root/{n}', 'w')"), tracing.RAISES),
    (body("return 'a' * 10**7"), TOO_LARGE),
    (body("return list(range(10**4 + n))"), TOO_LARGE),
    (body("return float('nan') * n"), NO_VALUE),
    (body("return iter([n])"), NO_VALUE),
    (body("raise ValueError(n)"), tracing.RAISES),
    (body("raise SystemExit(n)"), tracing.RAISES),
    (body("return 1 + 1"), function_tests.TOO_FEW),
    (body("return f(n)"), tracing.RAISES),
    (body("return n", parameters="n: int.real.x"), tracing.LOADS_NOT),
    (body("return n + 1", doc=">>> f(1)\n    3\n"), tracing.GIVEN),
    (body("return 1 // n", doc=">>> f(0)\n    3\n"), tracing.GIVEN),
    (body("return names[n]", parameters="names: list, n: int = 0"), function_tests.NO_MUTANT),
    (body("if n > 77777: return (n * 2 + 3) // 4 - 5", "return n"), function_tests.SURVIVED),
]


def test_every_hostile_or_useless_function_is_dropped_with_its_reason(rooms):
    made = decide([subject(text) for text, _ in HOSTILE], *rooms, DEMANDS)
    assert [one.get("dropped") for one in made] == [reason for _, reason in HOSTILE]


def test_a_tests_solution_fails_where_the_name_of_its_function_is_that_of_the_tests(rooms):
    assert decided(body("return n + 1", name="check"), rooms) == {"dropped": function_tests.FAILS}


GOOD = {
    "given": body("return n + 1", doc=">>> f(1)\n    2\n    >>> f(n=41)\n    42\n"),
    "called": "assert f(1000, 2) == 3000\nf(7, b=1)\n" + body("return a + a * b", parameters="a, b"),
    "words": body("return sorted(w.lower() for w in set(words) if w)", parameters="words: list[str]"),
    "import": "from math import sqrt as root\n" + body("return root(x) + 1", parameters="x: float"),
    "set": body("return {c: {c} for c in text if c.isalpha()}", parameters="text"),
    "recursive": body("return 1 if n < 2 or n > 12 else n * f(n - 1)"),
}


@pytest.fixture(scope="module")
def kept(rooms) -> dict[str, dict]:
    made = decide([subject(text) for text in GOOD.values()], *rooms, DEMANDS)
    return {name: one["row"] for name, one in zip(GOOD, made)}


def test_good_functions_are_kept_with_pairs_enough(kept):
    for row in kept.values():
        calls, values = zip(*((pair["input"], pair["output"]) for pair in row["examples"]))
        assert len(set(calls)) == len(calls) >= 3 and len(set(values)) >= 2
        assert row["mutants"]["failed"] * 2 >= row["mutants"]["tried"] > 0
    given = [pair for pair in kept["given"]["examples"] if pair["source"] == "given"]
    assert [(pair["input"], pair["output"]) for pair in given] == [("1", "2"), ("n=41", "42")]
    assert {"input": "1000, 2", "output": "3000", "source": "given"} in kept["called"]["examples"]
    assert {"input": "7, b=1", "output": "14", "source": "called"} in kept["called"]["examples"]


def test_their_tests_pass_on_the_solution_and_fail_on_others(kept, sandbox):
    bodies = {"solution": None, "nothing": "    pass\n", "first": "    return [][0]\n", "zero": "    return 0\n"}
    jobs = [
        humaneval.job((name, what), row, row["canonical_solution"] if code is None else code)
        for name, row in kept.items()
        for what, code in bodies.items()
    ]
    passed = {outcome.key: outcome.passed for outcome in sandbox.judge(jobs)}
    assert passed == {(name, what): what == "solution" for name in kept for what in bodies}


def test_rows_teach_both_directions(kept):
    for row in kept.values():
        solved, described = example_of(row, "codex_s"), example_of(row, "codex_d")
        assert (solved.prompt, solved.answer) == (row["prompt"], row["canonical_solution"])
        assert described.prompt.endswith(row["canonical_solution"]) and '"""' not in described.prompt
        assert described.answer.strip() in row["prompt"]


def test_more_examples_can_be_asked_for(rooms):
    text = body("return not flag", parameters="flag: bool")
    assert decided(text, rooms, Demands(min_examples=2))["row"]["mutants"] == {"tried": 1, "failed": 1}
    assert decided(text, rooms, Demands(min_examples=3)) == {"dropped": function_tests.TOO_FEW}


# ---- the whole set ------------------------------------------------------------------------------------------------


def write_shard(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ShardWriter(HashedFile(file))
        for row in rows:
            writer.write(orjson.dumps(row))
        writer.end_frame()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Two train shards, a validation one and a test one; the same function in all of them, others in one each."""
    folder = tmp_path_factory.mktemp("functions") / "corpus"
    shared = body("return n * n + 7", name="shared")
    for number, shard in enumerate(("train/0", "train/1", "validation/0", "test/0")):
        own = [body(f"return n * {number + 2} + {part}", name=f"own_{part}") for part in range(5)]
        text = shared + "".join(own) + UNSTABLE[0] + "def g(n):\n    return n\n" + GOOD["given"].replace("f(", "h(")
        rows = [
            {"text": text, "meta": {"file_name": "a.py", "repo_name": f"repo/{number}", "license": "mit"}},
            {"text": "x = = 1", "meta": {"repo_language": "Python"}},
            {"text": shared, "meta": {"file_name": "b.js"}},
            {"text": shared, "meta": {"repo_language": "C"}},
            {"code": "no row"},
        ]
        write_shard(folder / f"{shard}.jsonl.zst", rows)
    return folder


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory, rooms) -> Path:
    """Made by the command."""
    folder = tmp_path_factory.mktemp("set")
    said = succeed("-m", "evaluation", "functions", "--data_dir", corpus, "--output_dir", folder, "--workers", 2)
    assert "  kept " in said and "unstable" in said and "a second" in said
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_splits_do_not_mix_and_a_function_is_kept_once(built):
    names = {split: [row["task_id"] for row in rows_of(built, split)] for split in ("train", "validation", "test")}
    for split, found in names.items():
        assert found and all(name.startswith(f"{split}/") for name in found)
    codes = [row["canonical_solution"] for split in names for row in rows_of(built, split)]
    assert len(set(codes)) == len(codes)
    holders = [split for split, found in names.items() if any(name.endswith("/shared") for name in found)]
    assert holders == ["test"]  # held-out sets stay whole
    assert [name.split("/")[1] for name in names["train"]] == ["0"] * 5 + ["1"] * 5


def test_the_yield_counts_everything_once(built):
    found = json.loads((built / "yield.json").read_text())["splits"]
    assert found["test"] == {
        "documents": 5,
        "documents_dropped": {function_set.OTHER_LANGUAGE: 2, standalone.NOT_PYTHON: 1, function_set.NO_ROW: 1},
        "functions": 9, "kept": 7, "dropped": {function_tests.UNSTABLE: 1, NO_DOCSTRING: 1},
        "pairs": found["test"]["pairs"], "mutants": found["test"]["mutants"],
    }  # fmt: skip
    assert found["train"]["dropped"] == {function_set.REPEATED: 6, NO_DOCSTRING: 2}
    for split in found.values():
        assert split["functions"] == split["kept"] + sum(split["dropped"].values())
    assert table({"splits": found}).count("\n") == 4


def test_the_test_split_is_a_benchmark_whose_own_solutions_pass(built, sandbox):
    benchmark = humaneval_benchmark.load(str(built / "problems.jsonl"))
    assert len(benchmark.task_ids) == 7
    jobs = [
        benchmark.job(name, name, solution) for name in benchmark.task_ids for solution in benchmark.solutions(name)
    ]
    assert [outcome.passed for outcome in sandbox.judge(jobs)] == [True] * 7


def test_the_pairs_builder_reads_them(built, tmp_path):
    for kind in ("codex_s", "codex_d"):
        builder = Pairs(config_name=kind, data_dir=str(built), cache_dir=str(tmp_path))
        builder.download_and_prepare()
        rows = list(builder.as_dataset(split="train"))
        assert len(rows) == 10 and all(row["prompt"] and row["answer"] for row in rows)


def test_a_run_that_was_cut_off_anywhere_goes_on_to_the_same_bytes(built, corpus, tmp_path, rooms):
    whole = files_of(built)
    decisions = {name: data for name, data in whole.items() if name.startswith("decisions/")}
    order = sorted(decisions, key=lambda name: ("test" not in name, "validation" not in name, name))
    for cut in (3, 400, 900, len(decisions[order[0]]) - 2):
        folder = tmp_path / str(cut)
        for name in order[: 1 + cut % 3]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(decisions[name])
        last = folder / order[cut % 3]
        last.write_bytes(decisions[order[cut % 3]][:cut] + b"\0\0\n" * (cut == 400))
        (folder / ".problems.jsonl.1.partial").touch()
        build(corpus, folder, Demands(), *rooms)
        assert files_of(folder) == whole


@pytest.mark.long
def test_killed_again_and_again_it_ends_with_the_same_bytes(built, corpus, tmp_path):
    words = [sys.executable, "-m", "evaluation", "functions", "--data_dir", str(corpus), "--output_dir", str(tmp_path)]
    for kill in range(8):
        process = subprocess.Popen([*words, "--workers", "2"], cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(0.4 * (kill + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    succeed(*words[1:])
    assert files_of(tmp_path) == files_of(built)


def test_other_flags_and_other_files_are_refused_in_a_folder_of_decisions(built, corpus, tmp_path, rooms):
    with pytest.raises(OtherFunctions, match=r'"min_examples": 4.* Give another --output_dir'):
        build(corpus, built, Demands(min_examples=4), *rooms)
    path = tmp_path / "decisions" / "test" / "0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"something": "else"}\n')
    with pytest.raises(OtherFunctions, match="something"):
        build(corpus, tmp_path, Demands(), *rooms)
    assert path.read_text() == '{"something": "else"}\n'


def test_a_train_split_without_a_function_is_an_error_that_says_where_the_reasons_are(corpus, tmp_path, rooms):
    write_shard(tmp_path / "corpus" / "train" / "0.jsonl.zst", [{"text": body("return n")}])
    with pytest.raises(function_set.NothingKept, match=r"of 1 functions in the train split .* none was kept"):
        build(tmp_path / "corpus", tmp_path / "set", Demands(), *rooms)
    found = json.loads((tmp_path / "set" / "yield.json").read_text())["splits"]["train"]
    assert found["dropped"] == {function_tests.NO_MUTANT: 1}


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [("min_examples", 1, "wanted at least 2"), ("mutants", 0, "wanted at least 1"), ("workers", 0, "at least 1"),
     ("timeout", 0, "more than 0")],
)  # fmt: skip
def test_flags_that_mean_nothing_are_refused(flag, value, wanted):
    from evaluation.commands import Functions
    from interface.errors import UserError

    with pytest.raises(UserError, match=wanted):
        Functions("corpus", "set", **{flag: value})


def test_two_runs_do_not_write_into_one_folder(corpus, tmp_path):
    handle = lock(tmp_path)
    done = command("-m", "evaluation", "functions", "--data_dir", corpus, "--output_dir", tmp_path)
    os.close(handle)
    assert done.returncode == 2 and "another run is writing" in done.stderr and "Traceback" not in done.stderr


def test_without_a_sandbox_nothing_is_run(corpus, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotJudge, match="bubblewrap"):
        build_isolated(corpus, tmp_path, DEMANDS, 1)
    assert not list(tmp_path.iterdir()) and capfd.readouterr().err == ""
