"""Trackers: real event files and offline runs read back; what breaks in the middle ends a tracker, not a run."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
import wandb

from tests.training.tracker_files import events, read_tensorboard, read_wandb, wandb_records
from training import trackers as trackers_module
from training.arguments import BadArguments
from training.metrics import MetricLog, read_metrics
from training.streaming_arguments import StreamingArguments
from training.trackers import TensorBoard, TrackerFailed, Trackers, WandB, open_trackers

ROWS = [
    {"step": 4, "kind": "train", "loss": 2.5, "bits_per_byte": 1.25, "learning_rate": 0.5},
    {"step": 5, "kind": "eval", "loss": 3.5, "perplexity": 33.0, "bits_per_byte": 1.75},
]
SAMPLES = [{"step": 5, "prompt": "def f():\n", "completion": "    return 7\n"}]


def arguments(folder, report_to):
    return StreamingArguments(output_dir=str(folder), model_name_or_path="m", report_to=report_to)


class Broken:
    def __init__(self, at):
        self.seen, self._at = [], at

    def log(self, row):
        self.seen.append(row)
        if len(self.seen) == self._at:
            raise RuntimeError("the disk is full\nat line 7")

    def show(self, samples):
        self.seen.append(samples)

    def close(self):
        self.seen.append("closed")


def test_a_tracker_that_raises_is_dropped_with_one_warning_and_the_others_get_everything(tmp_path, capsys):
    broken, sound = Broken(at=2), Broken(at=99)
    log = MetricLog(tmp_path, Trackers({"broken": broken, "sound": sound}), 0)
    for step in range(5):
        log.write({"step": step, "kind": "train", "loss": 1.0})
    log.close()
    assert len(broken.seen) == 2 and len(sound.seen) == 6 and sound.seen[-1] == "closed"
    assert len(read_metrics(tmp_path)) == 5
    said = capsys.readouterr().out
    assert said.count("warning") == 1 and "tracker broken has failed (the disk is full) and gets nothing more" in said


def test_a_tracker_that_fails_at_its_end_does_not_fail_the_run(tmp_path, capsys):
    class Last(Broken):
        def close(self):
            raise OSError("gone")

    MetricLog(tmp_path, Trackers({"last": Last(at=99)}), 0).close()
    assert "the tracker last has failed (gone)" in capsys.readouterr().out


def test_what_cannot_be_started_is_an_error_that_names_it(tmp_path):
    (tmp_path / "tensorboard").write_text("a file of this name")
    (tmp_path / "written.json").write_text('["tensorboard"]')
    with pytest.raises(TrackerFailed, match=r"tracker tensorboard cannot be started .* leave it out of --report_to"):
        open_trackers(arguments(tmp_path, "tensorboard"))


def test_all_means_what_is_installed_and_a_name_that_is_not_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("training.arguments.find_spec", lambda module: None if module == "wandb" else object())
    assert arguments(tmp_path, "all").trackers() == ("tensorboard",)
    with pytest.raises(BadArguments, match="wandb, which is not installed; pip install wandb"):
        arguments(tmp_path, "tensorboard wandb")


def test_only_the_primary_process_has_trackers(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers_module, "is_primary", lambda: False)
    open_trackers(arguments(tmp_path, "all")).log(ROWS[0])
    assert not list(tmp_path.iterdir())


def test_event_files_hold_each_number_at_its_step_and_a_resumed_run_takes_back_later_ones(tmp_path):
    for resumed_at in (0, 4):
        board = TensorBoard(tmp_path, resumed_at)
        for row in ROWS:
            board.log(row)
            kept = read_tensorboard(tmp_path / "tensorboard")[f"{row['kind']}_loss"]  # on disk before it is closed
            assert len(kept) == (2 if resumed_at else 1)
        board.show(SAMPLES)
        board.close()
    found = read_tensorboard(tmp_path / "tensorboard")
    assert found["train_loss"] == [(4, 2.5)] * 2 and found["eval_loss"] == [(5, 3.5)] * 2
    assert found["train_bits_per_byte"] == [(4, 1.25)] * 2 and found["eval_bits_per_byte"] == [(5, 1.75)] * 2
    assert found["samples/0/text_summary"][0] == (5, "    def f():\n        return 7\n    \n")
    starts = [event.step for event in events(tmp_path / "tensorboard") if event.HasField("session_log")]
    assert starts == [5]


@pytest.fixture
def wandb_server(monkeypatch):
    """A server that opens a run where `opens` says so, and then never answers again."""
    state = {"opens": False}
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if not state["opens"]:
                self.send_error(401)
                return
            if b"RunResumeStatus" in body:
                found = {"model": None}  # a run that nobody has seen
            elif b"UpsertBucket" in body:
                project = {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}}
                bucket = {"id": "b", "name": "run", "displayName": "n", "project": project, "historyLineCount": 0}
                found = {"upsertBucket": {"bucket": bucket, "inserted": True}}
            else:
                done.wait(60)
                return
            answer = json.dumps({"data": found}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()  # it reads the environment once
    yield state
    done.set()
    wandb.teardown()
    server.shutdown()
    server.server_close()


def test_a_key_that_is_not_taken_means_offline_under_the_same_id_and_again_after_a_restart(
    tmp_path, wandb_server, capsys
):
    for row in ROWS:
        tracker = WandB(tmp_path, "name", {"seed": 1})
        tracker.log(row)
        tracker.close()
    said = capsys.readouterr().out
    assert said.count("no run could be opened online") == 2 and f"`wandb sync {tmp_path}/wandb/offline-run-*`" in said
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    run_id = (tmp_path / "wandb_run_id.txt").read_text()
    first, second = runs
    assert first.name.endswith(run_id) and second.name.endswith(run_id)
    assert read_wandb(first)["train_loss"] == [(4, 2.5)] and read_wandb(second)["eval_perplexity"] == [(5, 33.0)]
    (described,) = (record["run"] for record in wandb_records(second) if record["type"] == "run")
    assert described["display_name"] == "name" and described["config"]["update"]["seed"] == 1


def test_a_server_that_stops_answering_does_not_hold_up_the_end(tmp_path, wandb_server, monkeypatch):
    wandb_server["opens"] = True
    monkeypatch.setattr(trackers_module, "WANDB_FINISH_SECONDS", 0.5)
    closed = threading.Event()

    def run():
        tracker = WandB(tmp_path, "name", {})
        tracker.log(ROWS[0])
        tracker.close()
        closed.set()

    threading.Thread(target=run, daemon=True).start()
    assert closed.wait(30)
    wandb.teardown()  # as the interpreter's end does
    (kept,) = (tmp_path / "wandb").glob("run-*")
    assert read_wandb(kept)["train_loss"] == [(4, 2.5)]  # on disk, for `wandb sync`
