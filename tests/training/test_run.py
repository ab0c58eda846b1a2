"""Whole runs of run_clm_streaming_flax.py on a tiny model: law 3, checkpoints, metrics, trackers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import modeling
from interface.errors import STOPPED, UserError
from tests.conftest import ROOT, TINY, command, succeed
from tests.training.test_preparation import arguments
from tests.training.tracker_files import read_tensorboard, read_wandb, wandb_tables
from training.checkpoints import checkpoints_in, find_checkpoint, run_state_of
from training.completions import read_samples
from training.metrics import read_metrics
from training.preparation import prepare

SCRIPT = "training/run_clm_streaming_flax.py"


@pytest.fixture(scope="module")
def flags(model_dir, corpus, tmp_path_factory):
    """The reference's flags with small values; output_dir is left to each test."""
    cache = tmp_path_factory.mktemp("cache")
    return [
        "--model_name_or_path", model_dir, "--dataset_name", "data_processing/code_clippy.py", "--data_dir", corpus,
        "--text_column_name=text", "--do_train", "--do_eval", "--block_size=32", "--per_device_train_batch_size=3",
        "--per_device_eval_batch_size=5", "--preprocessing_num_workers=1", "--learning_rate=1e-2", "--max_steps=20",
        "--warmup_steps=3", "--decay_steps=40", "--adam_beta1=0.9", "--adam_beta2=0.95", "--weight_decay=0.1",
        "--overwrite_output_dir", "--logging_steps=4", "--eval_steps=8", "--push_to_hub=False", "--dtype=bfloat16",
        "--skip_memory_metrics=False", "--save_steps=5", "--save_total_limit=3", "--gradient_accumulation_steps=2",
        "--max_eval_samples=23", "--save_optimizer=true", "--run_name=tiny", "--token_cache_dir", cache,
        "--eval_completions=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    """20 steps without a break, with both trackers."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    said = succeed(SCRIPT, *flags, "--output_dir", folder, "--report_to=all", "--eval_completions=2")
    return folder, said


def equal_weights(one: Path, two: Path) -> bool:
    return (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


def test_a_run_leaves_a_model_checkpoints_and_says_where(whole):
    """S12: the reference's last checkpoint had no optimizer's state, and each was named for the step before."""
    folder, said = whole
    assert all((path / "train_state").is_dir() for path in checkpoints_in(folder))
    assert [path.name for path in checkpoints_in(folder)] == ["ckpt-10", "ckpt-15", "ckpt-20"]  # the newest three
    assert equal_weights(folder, folder / "ckpt-20") and not equal_weights(folder, folder / "ckpt-15")
    assert not list(folder.glob(".ckpt*"))
    assert str(folder) in said and "estimated memory" in said and "tokens a step" in said
    lines = [line for line in said.splitlines() if line.startswith("step ")]
    assert len(lines) == 5 and all(word in lines[0] for word in ("loss", "lr", "grad norm", "tokens/s", "left"))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).is_file() and (folder / "ckpt-20" / name).is_file()


def test_the_model_learnt_and_loads_in_torch_with_the_same_logits(whole, model_dir):
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = whole
    losses = [row["loss"] for row in read_metrics(folder) if row["kind"] == "train"]
    assert losses[-1] < losses[0] - 0.5
    oracle = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("def add(a, b):\n    return a + b\n", return_tensors="pt")["input_ids"]
    model = modeling.load(folder)
    found = np.asarray(modeling.logits(model.config, model.params, ids.numpy()))
    with torch.no_grad():
        wanted = oracle(ids).logits.numpy()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    # the model card's own snippet
    snippet = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(snippet.replace("repo = 'tiny'", f"repo = {str(folder)!r}"), names)
    assert names["input_ids"].shape[1] < names["output"].shape[1] <= 50


def test_the_run_describes_itself_with_the_line_that_made_it(whole, flags):
    folder, _ = whole
    (typed,) = re.findall(r"```bash\n(.*)\n```", (folder / "README.md").read_text())
    wanted = [SCRIPT, *flags, "--output_dir", folder, "--report_to=all", "--eval_completions=2"]
    assert shlex.split(typed) == ["python", *map(str, wanted)]
    page = (folder / "report.html").read_text()
    assert page.count("<details") == len({row["step"] for row in read_samples(folder)}) + 1 and "parameters" in page


def test_metrics_hold_each_interval_and_evaluation_once(whole):
    rows = read_metrics(whole[0])
    assert [row["step"] for row in rows if row["kind"] == "train"] == [4, 8, 12, 16, 20]
    # at saves and at eval_steps
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [5, 8, 10, 15, 16, 20]
    train = [row for row in rows if row["kind"] == "train"]
    assert all(row["eval_tokens"] == 23 * 32 for row in rows if row["kind"] == "eval")  # S5: samples, not batches
    assert train[-1]["tokens"] == 20 * 6 * 32 and train[-1]["skipped"] == 0
    assert train[0]["learning_rate"] == pytest.approx(1e-2)  # step 4 used the schedule at 3, the end of warmup
    assert train[-1]["peak_host_gb"] > 0
    assert all(row["tokens_per_second"] > 0 and 0 <= row["data_wait"] < 1 and row["mfu"] is None for row in train)
    for row in rows:
        assert row["perplexity"] == pytest.approx(np.exp(row["loss"]))
        assert 0 < row["bits_per_byte"] < row["loss"] / np.log(2)  # a token is more than a byte
    assert all(row["gradient_norm"] > 0 and row["parameter_norm"] > 1 for row in train)


def test_both_trackers_got_every_number_and_every_sample(whole):
    folder, _ = whole
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert run.name.endswith((folder / "wandb_run_id.txt").read_text())
    rows = read_metrics(folder)
    for kind in ("train", "eval"):
        wanted = [(row["step"], pytest.approx(row["loss"])) for row in rows if row["kind"] == kind]
        assert read_tensorboard(folder / "tensorboard")[f"{kind}_loss"] == wanted
        assert read_wandb(run)[f"{kind}_loss"] == wanted
    samples = read_samples(folder)
    steps = [row["step"] for row in rows if row["kind"] == "eval"]
    assert [row["step"] for row in samples] == [step for step in steps for _ in range(2)]
    texts = read_tensorboard(folder / "tensorboard")["samples/0/text_summary"]
    assert [step for step, _ in texts] == steps and samples[0]["completion"].split("\n")[0] in texts[0][1]
    tables = sorted(row for table in wandb_tables(run) for row in table["data"])
    assert tables == sorted([row["step"], row["prompt"], row["completion"]] for row in samples)


def kill_when(words: list[object], due: Callable[[float], bool]) -> bool:
    """Start the command and SIGKILL it when `due(seconds since the start)`; say whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, words)], cwd=ROOT, env={**os.environ, "XLA_FLAGS": ""},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    start = time.monotonic()
    while process.poll() is None and not due(time.monotonic() - start):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    status = process.wait()
    assert status in (-signal.SIGKILL, 0)
    return status != 0


def assert_same_run(folder: Path, wanted: Path) -> None:
    assert equal_weights(folder, wanted) and equal_weights(folder / "ckpt-20", wanted / "ckpt-20")
    rows = read_metrics(folder)
    keys = [(row["step"], row["kind"]) for row in rows]
    assert len(set(keys)) == len(keys)
    losses = {(row["step"], row["kind"]): row["loss"] for row in read_metrics(wanted)}
    assert set(keys) == set(losses)
    # also of an interval that the kill cut in two
    assert all(losses[row["step"], row["kind"]] == row["loss"] for row in rows)


def test_killed_and_resumed_equals_not_killed_bit_for_bit(whole, flags, tmp_path):
    """Law 3, with the same command line each time; metrics are those of one run."""
    for attempt in range(5):  # until the kill came before the end
        folder = tmp_path / str(attempt)
        words = [*flags, "--output_dir", folder, "--resume_from_checkpoint=auto"]
        running = kill_when(words, lambda _, folder=folder: (folder / "ckpt-10").is_dir())
        resumed_at = int(checkpoints_in(folder)[-1].name.split("-")[1])
        if running and resumed_at < 20:
            break
    assert running and 10 <= resumed_at < 20
    said = succeed(SCRIPT, *words)
    assert f"resume at step {resumed_at}" in said
    assert_same_run(folder, whole[0])
    assert not (folder / "previous-1").exists()  # resuming wins over --overwrite_output_dir


@pytest.mark.long
def test_thirty_kills_at_any_moment_and_every_run_ends_with_the_same_bits(whole, flags, tmp_path):
    """Starting, tokenising, compiling, training, publishing; each third kill comes while a checkpoint is written."""
    random = np.random.default_rng(0)
    started = time.monotonic()
    succeed(SCRIPT, *flags, "--output_dir", tmp_path / "measure", "--token_cache_dir", tmp_path / "cache")
    lasts = time.monotonic() - started
    kills, runs = 0, 0
    while kills < 30:
        folder = tmp_path / str(runs)
        words = [*flags, "--output_dir", folder, "--resume_from_checkpoint=auto"]
        moment = random.uniform(0, lasts)
        saving = kills % 3 == 0

        def due(seconds: float, folder=folder, moment=moment, saving=saving) -> bool:
            if not saving:
                return seconds > moment
            if not list(folder.glob(".ckpt-*.partial")):
                return False
            time.sleep(random.uniform(0, 0.2))
            return True

        if kill_when(words, due):
            kills += 1
        else:  # it came to its end
            assert_same_run(folder, whole[0])
            runs += 1
    succeed(SCRIPT, *words)
    assert_same_run(folder, whole[0])
    assert not [path for path in folder.glob(".*") if path.suffix == ".deleted"]


def test_resuming_a_finished_run_makes_up_for_an_evaluation_that_was_cut_off_and_changes_nothing(
    whole, flags, tmp_path
):
    """A signal in the last evaluation: the checkpoint has no loss yet, and metrics.jsonl no row of it."""
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    rows = read_metrics(whole[0])
    assert rows[-1]["kind"] == "eval"
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    about = run_state_of(folder / "ckpt-20")
    (folder / "ckpt-20" / "run_state.json").write_text(json.dumps(about | {"eval_loss": None}))
    succeed(SCRIPT, *flags, "--output_dir", folder, "--resume_from_checkpoint=auto")
    assert equal_weights(folder, whole[0])
    untimed = [[{k: v for k, v in row.items() if k != "eval_seconds"} for row in each]
               for each in (read_metrics(folder), rows)]  # fmt: skip
    assert untimed[0] == untimed[1]
    assert run_state_of(folder / "ckpt-20") == about and about["eval_loss"] == rows[-1]["loss"]


def test_a_broken_checkpoint_is_passed_over_and_the_run_ends_with_the_same_bits(whole, flags, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    weights = folder / "ckpt-20" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    said = succeed(SCRIPT, *flags, "--output_dir", folder, "--resume_from_checkpoint=auto")
    assert "ckpt-20 is broken (model.safetensors has" in said and "resume at step 15" in said
    assert_same_run(folder, whole[0])
    assert (folder / "previous-1" / "ckpt-20" / "train_state").is_dir()  # nothing is deleted


def test_a_run_goes_on_elsewhere_and_ends_with_the_same_bits(whole, flags, tmp_path):
    """From a folder by name, into another output_dir; not in spite of another flag, nor into a folder in use."""
    folder = tmp_path / "out"
    words = [*flags, "--output_dir", folder, "--resume_from_checkpoint", whole[0] / "ckpt-15"]
    refused = command(SCRIPT, *words, "--max_grad_norm=0.9")
    assert refused.returncode == 2 and "max_grad_norm was 1.0, is now 0.9" in refused.stderr and not folder.exists()
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("another run's")
    refused = command(SCRIPT, *words, "--overwrite_output_dir=False")
    assert refused.returncode == 2 and "already holds 1 entries" in refused.stderr
    assert (folder / "metrics.jsonl").read_text() == "another run's"
    shutil.rmtree(folder)
    said = succeed(SCRIPT, *words)
    assert "resume at step 15" in said and equal_weights(folder, whole[0])
    rows = {(row["step"], row["kind"]): row["loss"] for row in read_metrics(whole[0])}
    found = {(row["step"], row["kind"]): row["loss"] for row in read_metrics(folder)}
    assert found == {key: loss for key, loss in rows.items() if key[0] > 15}


def test_on_more_devices_the_global_batch_is_kept_and_the_losses_agree(whole, flags, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    for name in ("ckpt-15", "ckpt-20"):
        shutil.rmtree(folder / name)
    (folder / ".ckpt-17.partial").mkdir()  # of a save that was killed, at a step that is no save's
    said = succeed(
        SCRIPT, *flags, "--output_dir", folder, "--resume_from_checkpoint=auto",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )  # fmt: skip
    assert "keeping the global batch of 6" in said and not list(folder.glob(".ckpt-*"))
    found, wanted = (
        {row["step"]: row["loss"] for row in read_metrics(f) if row["kind"] == "train"} for f in (folder, whole[0])
    )
    for step in (16, 20):
        assert found[step] == pytest.approx(wanted[step], rel=2e-3)  # bfloat16 operands, another order of sums


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_says_so_and_goes_on_to_the_same_bits(number, whole, flags, tmp_path):
    """Law 4: a spot machine's notice, or Ctrl-C, in the middle of training."""
    folder = tmp_path / "out"
    store = ["--checkpoint_store", f"file://{tmp_path}/store"] if number == signal.SIGINT else []
    mine = [*map(str, flags), "--output_dir", str(folder), *store]
    words = [sys.executable, str(ROOT / SCRIPT), *mine, "--save_steps=1000"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("step "):
            process.send_signal(number)
            break
    said = process.communicate(timeout=120)[1]
    assert process.returncode == STOPPED and "saving a checkpoint" in said and "Traceback" not in said
    (saved,) = checkpoints_in(folder)
    step = int(saved.name.split("-")[1])
    assert 4 <= step < 20 and f"stopped at step {step} of 20" in said
    if store:
        shutil.rmtree(folder)  # another machine, which has nothing
    succeed(SCRIPT, *mine, "--resume_from_checkpoint=auto")
    assert equal_weights(folder, whole[0])
    if store:
        assert equal_weights(tmp_path / "store" / "ckpt-20", whole[0])
    one, other = ({r["step"]: r["loss"] for r in read_metrics(f) if r["kind"] == "train"} for f in (folder, whole[0]))
    assert one == other  # also of the interval that was cut in two


def test_a_run_goes_on_on_a_mesh_and_the_losses_agree(whole, flags, tmp_path):
    """What a pmap run wrote is read straight into its places on three devices, and written whole again."""
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    for name in ("ckpt-15", "ckpt-20"):
        shutil.rmtree(folder / name)
    mesh = ("--placement=mesh", "--mesh=fsdp=3", "--per_device_train_batch_size=2")
    said = succeed(
        SCRIPT, *flags, "--output_dir", folder, "--resume_from_checkpoint=auto", *mesh,
        XLA_FLAGS="--xla_force_host_platform_device_count=3",
    )  # fmt: skip
    assert "keeping the global batch of 6" in said
    found, wanted = (
        {row["step"]: row["loss"] for row in read_metrics(f) if row["kind"] == "train"} for f in (folder, whole[0])
    )
    for step in (16, 20):
        assert found[step] == pytest.approx(wanted[step], rel=2e-3)
    modeling.load(folder)


def test_overwrite_moves_the_earlier_run_aside_and_deletes_nothing(whole, flags, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    (folder / "notes.txt").write_text("mine")
    succeed(SCRIPT, *flags, "--output_dir", folder, "--max_steps=2", "--save_optimizer=false")
    assert (folder / "previous-1" / "ckpt-20" / "train_state").is_dir()
    assert equal_weights(folder / "previous-1", whole[0])
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in checkpoints_in(folder)] == ["ckpt-2"]
    assert not (folder / "ckpt-2" / "train_state").exists()
    assert find_checkpoint(folder, "auto") is None  # nothing to go on from without the optimizer


def test_a_new_model_is_trained_from_a_config(tokenizer_dir, flags, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    words = [word for word in flags if word != "--model_name_or_path"]
    del words[0]  # its value
    folder = tmp_path / "out"
    succeed(
        SCRIPT, *words, "--config_name", tmp_path / "config.json", "--tokenizer_name", tokenizer_dir,
        "--output_dir", folder, "--max_steps=1", "--dtype=float32",
    )  # fmt: skip
    start = modeling.init_params(modeling.read_config(folder), 42)
    end = modeling.load(folder).params
    for params in (start, end):
        params["embed"]["tokens"] = params["embed"]["tokens"][: TINY["vocab_size"]]  # without padding
    # the first step is at the foot of the warmup: learning rate 0
    assert jax.tree.all(jax.tree.map(np.array_equal, start, end))


def test_a_run_that_finds_nothing_to_learn_from_ends_with_its_checkpoints(flags, tmp_path):
    """A learning rate that throws the parameters away: the loss is not finite from the second step on."""
    folder = tmp_path / "out"
    done = command(
        SCRIPT, *flags, "--output_dir", folder, "--learning_rate=1e38", "--warmup_steps=0", "--max_skipped_steps=3",
        "--logging_steps=2", "--save_steps=1", "--profile_steps=1:1",
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "steps 2 to 4 had gradients that are not finite" in done.stderr
    assert [row["skipped"] for row in read_metrics(folder) if row["kind"] == "train"] == [1, 3]
    one, last = find_checkpoint(folder, str(folder / "ckpt-2")), find_checkpoint(folder, "auto")
    assert equal_weights(one, last)  # a skipped step changed nothing
    assert list((folder / "profile").rglob("perfetto_trace.json.gz")) and "ui.perfetto.dev" in done.stdout


def test_a_checkpoints_batch_that_does_not_divide_is_refused(whole, model_dir, corpus, tmp_path):
    """Six blocks a step, and eight devices: no whole number of passes."""
    elsewhere = arguments(model_dir, corpus, tmp_path, resume_from_checkpoint=str(whole[0] / "ckpt-20"))
    with pytest.raises(UserError, match=r"6 blocks an optimizer step; 8 shares of .* 8 make 64 a pass, which does not"):
        prepare(elsewhere, {})
    assert not (tmp_path / "out").exists()


def test_a_broken_shard_ends_the_run_with_one_line_and_keeps_what_was_written(flags, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    for shard in (tmp_path / "data" / "train").iterdir():
        shard.write_bytes(shard.read_bytes()[:-20])
    done = command(SCRIPT, *flags, "--data_dir", tmp_path / "data", "--output_dir", tmp_path / "out")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "tokenising the train split failed" in done.stderr and "breaks off after line" in done.stderr


def test_weights_round_trip_through_a_checkpoint(whole):
    tensors = load_file(whole[0] / "ckpt-20" / "model.safetensors")
    model = modeling.load(whole[0] / "ckpt-20")
    assert tensors["transformer.wte.weight"].shape == (307, 21)
    np.testing.assert_array_equal(tensors["transformer.wte.weight"], np.asarray(model.params["embed"]["tokens"])[:307])
