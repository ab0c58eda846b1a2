"""Several processes through the commands: what one run is, how it stops, and how all end where one cannot go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time

import pytest

from interface.errors import STOPPED
from tests.conftest import TINY, succeed
from tests.data_processing.apps_data import write_folders, write_lines
from training.checkpoints import checkpoints_in
from training.metrics import read_metrics

STREAMING, APPS = "training/run_clm_streaming_flax.py", "training/run_clm_apps.py"
MESH = ("--placement=mesh", "--mesh=fsdp=2,tensor=2")


@pytest.fixture(scope="module")
def small(tokenizer_dir, tmp_path_factory):
    """A config whose widths four devices can cut."""
    folder = tmp_path_factory.mktemp("config")
    sizes = {"hidden_size": 24, "num_heads": 4, "intermediate_size": 52, "max_position_embeddings": 193,
             "num_layers": 2, "attention_types": [[["global", "local"], 1]]}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(TINY | sizes))
    return [
        "--config_name", folder / "config.json", "--tokenizer_name", tokenizer_dir, "--do_train", "--do_eval",
        "--per_device_train_batch_size=1", "--per_device_eval_batch_size=2", "--preprocessing_num_workers=1",
        "--learning_rate=1e-2", "--logging_steps=2", "--gradient_accumulation_steps=4", "--eval_completions=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def streaming(small, corpus, tmp_path_factory):
    """Twelve steps of eight blocks on the devices that there are, a checkpoint every fourth."""
    cache = tmp_path_factory.mktemp("cache")
    return [
        STREAMING, *small, "--data_dir", corpus, "--block_size=32", "--max_steps=12", "--warmup_steps=2",
        "--save_steps=4", "--max_eval_samples=11", "--token_cache_dir", cache,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def apps(small, tmp_path_factory):
    data_dir = write_lines(write_folders(tmp_path_factory.mktemp("apps"), "train"), "test", range(1000, 1007))
    cache = tmp_path_factory.mktemp("apps_cache")
    return [
        APPS, *small, "--dataset_name", "data_processing/apps.py", "--data_dir", data_dir, "--block_size=193",
        "--num_train_epochs=2", "--save_strategy=epoch", "--max_eval_samples=5", "--token_cache_dir", cache,
    ]  # fmt: skip


def losses(folder):
    rows = read_metrics(folder)
    assert len({(row["step"], row["kind"]) for row in rows}) == len(rows)
    return {(row["step"], row["kind"]): row["loss"] for row in rows}


def assert_one_run(ranks, count, folder, wanted):
    """What several processes left in `folder` is what one process with as many devices left in `wanted`."""
    found = losses(folder)
    assert found == pytest.approx(losses(wanted), rel=1e-5)
    names = {path.name for path in folder.iterdir()}
    logs = {name for name in names if name.startswith("tokenize-")}
    assert names - logs == {path.name for path in wanted.iterdir() if not path.name.startswith("tokenize-")}
    assert len(logs) <= 2 * count
    events = [len(list((one / "tensorboard").glob("events.out.tfevents.*"))) for one in (folder, wanted)]
    assert events[0] == events[1]
    for name in (path.name for path in checkpoints_in(wanted)):
        assert {path.name for path in (folder / name).iterdir()} == {path.name for path in (wanted / name).iterdir()}
    for rank in range(count):
        assert f"process {rank} of {count}: {4 // count} of 4 devices" in ranks.said(rank)
        assert bool(re.search(r"^step ", ranks.said(rank), re.M)) == (rank == 0)
        assert ranks.told(rank) == ""


@pytest.fixture(scope="module")
def one_process(streaming, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "out"
    succeed(*streaming, "--output_dir", folder, "--report_to=tensorboard", XLA_FLAGS=four_devices())
    return folder


def four_devices() -> str:
    return "--xla_force_host_platform_device_count=4"


def test_two_processes_are_one_run(streaming, one_process, start_ranks, tmp_path):
    """Law 2 through the command: losses, checkpoints and trackers of one process; each has a token cache of its own."""
    ranks = start_ranks(
        tmp_path / "ranks", 2, *streaming, "--output_dir", tmp_path / "out", "--token_cache_dir",
        tmp_path / "cache-{rank}", "--overwrite_cache", "--report_to=tensorboard", devices=4,
    )  # fmt: skip
    ranks.succeed()
    assert_one_run(ranks, 2, tmp_path / "out", one_process)


@pytest.mark.long
@pytest.mark.parametrize(("count", "words"), [(4, ()), (2, MESH), (4, MESH)], ids=["4 pmap", "2 mesh", "4 mesh"])
def test_any_processes_and_placement_are_one_run(count, words, streaming, one_process, start_ranks, tmp_path):
    """Law 2; here all share a token cache, which is cleared once."""
    whole = one_process
    if words:
        whole = tmp_path / "whole"
        succeed(*streaming, *words, "--output_dir", whole, "--report_to=tensorboard", XLA_FLAGS=four_devices())
    shared = ("--token_cache_dir", tmp_path / "cache", "--overwrite_cache", "--report_to=tensorboard")
    ranks = start_ranks(
        tmp_path / "ranks", count, *streaming, *words, *shared, "--output_dir", tmp_path / "out", devices=4
    )
    ranks.succeed()
    assert_one_run(ranks, count, tmp_path / "out", whole)


@pytest.mark.long
@pytest.mark.parametrize(("count", "words"), [(2, ()), (4, MESH)], ids=["2 pmap", "4 mesh"])
def test_the_apps_command_too(count, words, apps, start_ranks, tmp_path):
    succeed(*apps, *words, "--output_dir", tmp_path / "whole", XLA_FLAGS=four_devices())
    ranks = start_ranks(tmp_path / "ranks", count, *apps, *words, "--output_dir", tmp_path / "out", devices=4)
    ranks.succeed()
    assert_one_run(ranks, count, tmp_path / "out", tmp_path / "whole")


def weights(checkpoint):
    return (checkpoint / "model.safetensors").read_bytes()


def steps_said(ranks):
    return [int(step) for step in re.findall(r"^step +(\d+)", ranks.said(0), re.M)]


@pytest.mark.long
@pytest.mark.parametrize("words", [(), MESH], ids=["pmap", "mesh"])
def test_a_signal_to_one_stops_all_at_one_step_and_others_go_on(words, streaming, start_ranks, tmp_path):
    """Law 4; with as many processes to the same bits, with one or four to the same batches."""
    out, more = tmp_path / "out", ("--max_steps=300", "--decay_steps=300", "--save_steps=1000", "--eval_steps=1000")
    mine = [*streaming, *words, *more]
    ranks = start_ranks(tmp_path / "first", 2, *mine, "--output_dir", out, devices=4)
    ranks.until(lambda: steps_said(ranks) != [])
    ranks.signal(signal.SIGTERM, 1)
    assert ranks.ends() == [STOPPED, STOPPED]
    (saved,) = checkpoints_in(out)
    step = int(saved.name.split("-")[1])
    assert 2 <= step < 300
    for rank in (0, 1):
        assert f"stopped at step {step} of 300" in ranks.told(rank) and "Traceback" not in ranks.told(rank)
        assert "process 1 of 2: SIGTERM" in ranks.told(0) and "SIGTERM: saving a checkpoint" in ranks.told(1)
    goal = ("--max_steps", step + 4, "--decay_steps=300", "--resume_from_checkpoint=auto")
    found = {}
    for name, count in (("same", 2), ("one", 1), ("four", 4)):
        shutil.copytree(out, tmp_path / name)
        again = start_ranks(tmp_path / f"{name}-said", count, *mine, *goal, "--output_dir", tmp_path / name, devices=4)
        again.succeed()
        assert f"resume at step {step}" in again.said(0)
        found[name] = {key: loss for key, loss in losses(tmp_path / name).items() if key[0] > step}
    assert found["one"] == pytest.approx(found["same"], rel=1e-5)
    assert found["four"] == pytest.approx(found["same"], rel=1e-5)
    unbroken = start_ranks(
        tmp_path / "unbroken-said", 2, *mine, *goal, "--output_dir", tmp_path / "unbroken", devices=4
    )
    unbroken.succeed()
    assert weights(tmp_path / "unbroken") == weights(tmp_path / "same")


@pytest.mark.long
def test_ctrl_c_to_all_saves_once_also_where_it_comes_twice_within_a_second(streaming, start_ranks, tmp_path):
    more = ("--max_steps=3000", "--decay_steps=3000", "--save_steps=20", "--save_total_limit=2")
    first = start_ranks(
        tmp_path / "first", 2, *streaming, *more, "--output_dir", tmp_path / "out", devices=4, one_group=True
    )
    first.until(lambda: steps_said(first) != [])
    os.killpg(first.processes[0].pid, signal.SIGINT)
    assert first.ends() == [STOPPED, STOPPED]
    saved = checkpoints_in(tmp_path / "out")
    again = start_ranks(
        tmp_path / "again", 2, *streaming, *more, "--output_dir", tmp_path / "out", "--resume_from_checkpoint=auto",
        devices=4, one_group=True,
    )  # fmt: skip
    again.until(lambda: checkpoints_in(tmp_path / "out")[-1].name != saved[-1].name)
    os.killpg(again.processes[0].pid, signal.SIGINT)
    time.sleep(0.05)  # less than SAME_NOTICE: it came by two ways
    os.killpg(again.processes[0].pid, signal.SIGINT)
    assert again.ends(30) == [STOPPED, STOPPED]
    for rank in (0, 1):
        assert "Traceback" not in again.told(rank) and "F1" not in again.told(rank)
    last = start_ranks(
        tmp_path / "last", 2, *streaming, *more, "--output_dir", tmp_path / "out", "--resume_from_checkpoint=auto",
        "--max_steps", int(checkpoints_in(tmp_path / "out")[-1].name.split("-")[1]) + 1, devices=4,
    )  # fmt: skip
    last.succeed()


@pytest.mark.long
def test_a_signal_while_it_sets_up_or_compiles_ends_all_at_once(streaming, start_ranks, tmp_path):
    for number, moment in enumerate((r"^process 1 of 2", r"^\[Gloo\]")):  # tokenising comes between
        ranks = start_ranks(
            tmp_path / f"{number}-said", 2, *streaming, "--output_dir", tmp_path / f"{number}", devices=4
        )
        ranks.until(lambda ranks=ranks, moment=moment: re.search(moment, ranks.said(1), re.M) is not None)
        ranks.signal(signal.SIGTERM, 1)
        assert ranks.ends(30) == [STOPPED, STOPPED]
        assert "process 1 of 2: SIGTERM: ending at once" in ranks.told(0)
        assert "Traceback" not in ranks.told(0) + ranks.told(1)
        assert not checkpoints_in(tmp_path / f"{number}")


@pytest.mark.long
def test_signals_at_any_moment_leave_whole_checkpoints_and_the_same_end(streaming, start_ranks, tmp_path):
    """While saving, while evaluating, at the last step, while publishing: the same command goes on from there."""
    whole = start_ranks(tmp_path / "whole-said", 2, *streaming, "--output_dir", tmp_path / "whole", devices=4)
    whole.succeed()
    out = tmp_path / "out"
    moments = [
        lambda ranks: (out / ".ckpt-4.partial").exists(),
        lambda ranks: "eval: " in ranks.said(0),
        lambda ranks: (out / ".ckpt-12.partial").exists(),
        lambda ranks: "estimated memory" in ranks.said(0),  # nothing is left but to publish
    ]
    for number, moment in enumerate(moments):
        ranks = start_ranks(
            tmp_path / f"{number}-said", 2, *streaming, "--output_dir", out, "--resume_from_checkpoint=auto", devices=4
        )
        try:
            ranks.until(lambda ranks=ranks, moment=moment: moment(ranks))
        except AssertionError:
            assert ranks.ends() == [0, 0]  # over before the moment was seen
        ranks.signal(signal.SIGTERM, number % 2)
        statuses = ranks.ends()
        assert statuses in ([STOPPED, STOPPED], [0, 0]), ranks.words()
        assert "Traceback" not in ranks.told(0) + ranks.told(1)
    last = start_ranks(
        tmp_path / "last-said", 2, *streaming, "--output_dir", out, "--resume_from_checkpoint=auto", devices=4
    )
    last.succeed()
    assert weights(out) == weights(tmp_path / "whole") == weights(out / "ckpt-12")
    assert losses(out) == losses(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_is_killed_ends_the_others_and_the_run_goes_on(victim, streaming, start_ranks, tmp_path):
    out = tmp_path / "out"
    more = ("--max_steps=3000", "--decay_steps=3000", "--save_steps=20", "--save_total_limit=2")
    ranks = start_ranks(tmp_path / "first", 2, *streaming, *more, "--output_dir", out, devices=4)
    ranks.until(lambda: len(checkpoints_in(out)) == 2)
    ranks.signal(signal.SIGKILL, victim)
    statuses = ranks.ends(150)  # jax takes one that is silent for 100 s for dead
    assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] not in (0, STOPPED)
    step = int(checkpoints_in(out)[-1].name.split("-")[1])
    again = start_ranks(
        tmp_path / "again", 2, *streaming, *more, "--output_dir", out, "--resume_from_checkpoint=auto",
        "--max_steps", step + 2, devices=4,
    )  # fmt: skip
    again.succeed()
    assert f"resume at step {step}" in again.said(0)


# --- refusals: the one that found it says why, and all end ----------------------------------------------------------


def test_an_output_folder_of_each_machine_is_refused_by_all_before_the_long_work(streaming, start_ranks, tmp_path):
    ranks = start_ranks(tmp_path / "said", 2, *streaming, "--output_dir", tmp_path / "out-{rank}", devices=4)
    assert ranks.ends() == [2, 2]
    for rank, before in ((0, "process 1 of 2: "), (1, "")):
        assert f"{before}error: process 1 does not see what process 0 writes to --output_dir {tmp_path}" in ranks.told(
            rank
        )
    assert not list((tmp_path / "out-0").iterdir()) and not list((tmp_path / "out-1").glob("*.*"))


@pytest.mark.long
def test_processes_that_would_not_train_the_same_are_refused(streaming, corpus, start_ranks, tmp_path):
    (tmp_path / "corpus-0").symlink_to(corpus)
    shutil.copytree(corpus, tmp_path / "corpus-1")
    next((tmp_path / "corpus-1" / "train").iterdir()).unlink()
    for words, wanted in (
        (("--save_steps=1{rank}",), "--save_steps is 10 there and 11 here"),
        (("--data_dir", tmp_path / "corpus-{rank}"), "corpus is '3 shards"),
        (("--data_dir", tmp_path / "nowhere-{rank}"), "no data folder at"),
    ):
        ranks = start_ranks(tmp_path / "said", 2, *streaming, *words, "--output_dir", tmp_path / "out", devices=4)
        assert ranks.ends() == [2, 2]
        assert wanted in ranks.told(0) and wanted in ranks.told(1) and "Traceback" not in ranks.told(0)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.long
def test_a_checkpoint_that_only_process_0_sees_is_refused(streaming, one_process, start_ranks, tmp_path):
    shutil.copytree(one_process, tmp_path / "out-0")
    words = ("--output_dir", tmp_path / "out-{rank}", "--resume_from_checkpoint=auto")
    ranks = start_ranks(tmp_path / "said", 2, *streaming, *words, devices=4)
    assert ranks.ends() == [2, 2]
    for rank in (0, 1):
        assert f"error: process 1 does not see {tmp_path / 'out-1' / 'ckpt-12'}: each machine" in ranks.told(rank)
    assert not (tmp_path / "out-1").exists()
