"""Sampling a benchmark by each backend, and going on after a kill."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest

from evaluation import named_benchmarks
from evaluation.backends import Answer, Asked, Backend, Jax, NoBackend, Sampling, Served, Torch, open_backend
from evaluation.benchmark import Benchmark
from evaluation.results import read_result
from evaluation.sampling import SAMPLES, OtherSamples, sample
from tests.conftest import succeed

HOW = Sampling(0.8, 0.95, 0, 7, ("\ndef",))
GREEDY = Sampling(0.0, 1.0, 0, 7, ("\ndef",))
ASKED = [Asked("a", "def add(a, b):\n", 3), Asked("b", "import os\n", 3)]


class Talk(Benchmark):
    """Two tasks of two turns each."""

    name, variant, source, task_ids = "talk", {}, {}, ("x", "y")

    def next_prompt(self, task_id, answers):
        return None if len(answers) == 2 else f"{task_id}:{'|'.join(answers)}"

    def max_new_tokens(self, task_id):
        return 5

    def completion(self, task_id, answers):
        return "|".join(answers)

    def job(self, key, task_id, completion, *, mode="hardened", scale=1.0):
        raise NotImplementedError


class Echo(Backend):
    """Answers with what it was asked; dies when it was asked `most` times."""

    facts, at_once = {"backend": "echo"}, 2

    def __init__(self, most=10**9):
        self.asked, self.most = [], most

    def complete(self, asked, max_new_tokens, sampling):
        if len(self.asked) >= self.most:
            raise KeyboardInterrupt
        self.asked += asked
        return [[Answer(f"<{one.prompt}#{n}>", "stop", 2, -float(n + 1)) for n in range(one.num_samples)]
                for one in asked]  # fmt: skip


def draw(folder, backend, settings=None, **changed):
    asked = {"task_ids": Talk.task_ids, "num_samples": 2, "max_new_tokens": None, "settings": settings or {"seed": 7}}
    return sample(Talk(), backend, HOW, folder, **asked | changed)


def test_turns_follow_each_samples_own_answers_and_their_likelihoods_add_up(tmp_path):
    rows = [json.loads(line) for line in draw(tmp_path, Echo()).read_text().splitlines()]
    assert [(row["task_id"], row["sample"]) for row in rows] == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]
    assert rows[1]["completion"] == "<x:#1>|<x:<x:#1>#0>"
    assert rows[1]["num_tokens"] == 4 and rows[1]["mean_log_probability"] == -1.5  # (2 * -2 + 2 * -1) / 4


def test_a_broken_off_sampling_goes_on_with_the_tasks_that_are_missing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "broken", Echo(most=3))  # dies in the second task
    whole = draw(tmp_path / "whole", Echo()).read_text()
    path = tmp_path / "broken" / SAMPLES
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:2])
    with path.open("a") as file:
        file.write(whole.splitlines(keepends=True)[2] + '{"task_id": "y", "sa')  # as a kill leaves it
    backend = Echo()
    assert draw(tmp_path / "broken", backend).read_text() == whole
    assert {one.prompt[0] for one in backend.asked} == {"y"}
    with pytest.raises(OtherSamples, match="seed was 7, is now 8"):
        draw(tmp_path / "broken", backend, {"seed": 8})


def test_an_answer_leaves_a_quarter_of_the_models_positions_to_its_prompt(tmp_path):
    """MTPB's single turns ask for 3,072 new tokens, and most models have 2,048 positions."""
    lengths = []

    class Short(Echo):
        positions = 4

        def complete(self, asked, max_new_tokens, sampling):
            lengths.append(max_new_tokens)
            return super().complete(asked, max_new_tokens, sampling)

    draw(tmp_path / "own", Short())
    draw(tmp_path / "given", Short(), max_new_tokens=2)
    assert set(lengths[:4]) == {3} and set(lengths[4:]) == {2}


def test_a_folder_that_holds_anything_else_is_left_alone(tmp_path):
    (tmp_path / SAMPLES).write_text("mine\n")
    with pytest.raises(OtherSamples, match="was not sampled here"):
        draw(tmp_path, Echo())
    assert (tmp_path / SAMPLES).read_text() == "mine\n" and len(list(tmp_path.iterdir())) == 1
    whole = draw(tmp_path / "ours", Echo()).read_text()
    with pytest.raises(OtherSamples, match="samples of y too"):
        draw(tmp_path / "ours", Echo(), task_ids=("x",))
    assert (tmp_path / "ours" / SAMPLES).read_text() == whole
    (tmp_path / "ours" / SAMPLES).write_text("\0\0\n" + whole)  # as a power cut leaves it
    assert draw(tmp_path / "ours", Echo()).read_text() == whole
    (tmp_path / "ours" / f"{SAMPLES}.settings.json").write_text("[1]")
    with pytest.raises(OtherSamples, match="cannot be read"):
        draw(tmp_path / "ours", Echo())


@pytest.fixture(scope="module")
def ours(model_dir):
    return Jax(str(model_dir), None, None, "float32")


def test_a_resumed_talk_with_a_model_is_that_of_an_unbroken_one(ours, tmp_path):
    class Dying(Backend):
        facts, at_once = ours.facts, 2

        def __init__(self, most):
            self.left = most

        def complete(self, asked, max_new_tokens, sampling):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return ours.complete(asked, max_new_tokens, sampling)

    whole = draw(tmp_path / "whole", ours).read_text()  # all tasks in one batch
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "broken", Dying(3))  # a batch for each task; ends in the second turn of the second
    assert len((tmp_path / "broken" / SAMPLES).read_text().splitlines()) == 2
    assert draw(tmp_path / "broken", Dying(9)).read_text() == whole
    assert len({json.loads(line)["completion"] for line in whole.splitlines()}) == 4


def test_ours_and_torch_agree_on_greedy_answers_and_their_likelihood(ours, model_dir):
    pytest.importorskip("torch", reason="torch is the peer; ./run.sh test installs it")
    theirs = Torch(str(model_dir), None, None, "float32")
    one = [Asked(each.name, each.prompt, 1) for each in ASKED]
    for mine, other in zip(ours.complete(one, 12, GREEDY), theirs.complete(one, 12, GREEDY), strict=True):
        assert mine[0].text == other[0].text and mine[0].ended_by == other[0].ended_by
        assert mine[0].num_tokens == other[0].num_tokens
        np.testing.assert_allclose(mine[0].mean_log_probability, other[0].mean_log_probability, atol=1e-4)
    again = theirs.complete(ASKED, 12, HOW)
    assert again == theirs.complete(ASKED, 12, HOW) and len({answer.text for answer in again[0]}) > 1
    (many,) = theirs.complete([Asked("a", "def add(a, b):\n", 10)], 12, HOW)
    assert len(many) == 10 and many[8:] != many[:2], "drawn a few at a time, each from a seed of its own"
    assert len(set(theirs.complete([ASKED[0]], 12, GREEDY)[0])) == 1


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoBackend, match="cannot load"):
        Torch(str(tmp_path), None, None, "float32")
    with pytest.raises(NoBackend, match="needs --base_url"):
        open_backend("openai", "m", base_url=None, revision=None, cache_dir=None, dtype="float32")


class Server(BaseHTTPRequestHandler):
    """A server with OpenAI's completions that fails at first."""

    requests: ClassVar[list[dict]] = []
    failures: ClassVar[list[int]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.failures.pop() if self.failures else 200
        type(self).requests.append(body | {"path": self.path, "authorization": self.headers["Authorization"]})
        data = json.dumps({"choices": [{"text": " pass\ndef x", "finish_reason": "length"}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def test_a_served_model_is_asked_once_a_sample_again_after_a_failure_and_cut_here(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    slept: list[float] = []
    backend = Served("m", f"http://127.0.0.1:{server.server_port}/v1/", sleep=slept.append)
    try:
        Server.failures[:] = [503, 429]
        found = backend.complete(ASKED, 12, HOW)
        assert [[answer.text for answer in each] for each in found] == [[" pass"] * 3] * 2
        assert found[0][0].ended_by == "stop" and len(slept) == 2
        bodies = Server.requests
        assert len(bodies) == 6 + 2 and {body["path"] for body in bodies} == {"/v1/completions"}
        assert len({body["seed"] for body in bodies}) == 6 and bodies[0]["authorization"] == "Bearer k"
        assert bodies[0]["max_tokens"] == 12 and bodies[0]["top_p"] == 0.95 and bodies[0]["stop"] == ["\ndef"]
        Server.failures[:] = [404]
        with pytest.raises(NoBackend, match="status 404"):
            backend.complete(ASKED[:1], 12, HOW)
    finally:
        server.shutdown()
        server.server_close()


def test_the_command_samples_judges_and_reports_and_a_second_time_only_reads(model_dir, tmp_path):
    words = [
        "-m", "evaluation", "run", "--benchmark", "clippy", "--model", model_dir, "--num_samples", 2, "--num_tasks", 3,
        "--max_new_tokens", 16, "--output_dir", tmp_path / "out", "--dtype=float32", "--ceiling=false",
    ]  # fmt: skip
    said = succeed(*words)
    found = read_result(tmp_path / "out").content
    assert found["metrics"]["pass@1"] == 0 and found["num_tasks"] == 3 and found["samples_a_task"] == [2, 2]
    assert found["settings"]["sampling"]["temperature"] == 0.2 and found["settings"]["backend"] == "jax"
    assert str(tmp_path / "out" / "report.html") in said
    before = (tmp_path / "out" / SAMPLES).read_bytes()
    succeed(*words)
    assert (tmp_path / "out" / SAMPLES).read_bytes() == before
    ours = named_benchmarks.load("clippy")
    assert {json.loads(line)["task_id"] for line in before.splitlines()} == set(ours.task_ids[:3])


def test_docstrings_are_graded_by_the_code_that_is_written_from_them(model_dir, tmp_path):
    said = succeed(
        "-m", "evaluation", "retell", "--benchmark", "clippy", "--model", model_dir, "--num_tasks", 3,
        "--max_new_tokens", 12, "--output_dir", tmp_path / "out", "--dtype=float32",
    )  # fmt: skip
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["benchmark"] == "clippy-retold" and found["metrics"]["pass@1"] == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "retold.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and all(row["passed"] is False for row in rows) and str(tmp_path / "out") in said
