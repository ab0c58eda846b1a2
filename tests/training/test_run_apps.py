"""Whole runs of run_clm_apps.py on a tiny model: what is trained on, when a run ends, what is refused."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from data_processing.row_source import BadSource, RowSource
from data_processing.shards import MissingData, Place
from data_processing.token_files import Identity, TokenFiles
from tests.conftest import TINY, succeed
from tests.data_processing.apps_data import write_folders, write_lines
from tokenizer_patch import Tokenizer
from training.apps_arguments import AppsArguments
from training.arguments import BadArguments
from training.checkpoints import checkpoints_in, eval_loss_of, step_of
from training.metrics import read_metrics
from training.preparation import prepare

SCRIPT = "training/run_clm_apps.py"
BLOCK = 193


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_lines(write_folders(tmp_path_factory.mktemp("apps"), "train"), "test", range(1000, 1007))


@pytest.fixture(scope="module")
def flags(tokenizer_dir, data_dir, tmp_path_factory):
    """The reference's flags with small values; output_dir and the number of epochs are left to each test."""
    folder = tmp_path_factory.mktemp("apps_run")
    (folder / "config.json").write_text(json.dumps(TINY | {"max_position_embeddings": BLOCK}))
    return [
        "--config_name", folder / "config.json", "--tokenizer_name", tokenizer_dir,
        "--dataset_name", "data_processing/apps.py", "--dataset_config_name", "formatted", "--data_dir", data_dir,
        "--do_train", "--do_eval", f"--block_size={BLOCK}", "--per_device_train_batch_size=2",
        "--per_device_eval_batch_size=3", "--preprocessing_num_workers=1", "--learning_rate=1e-2", "--warmup_steps=3",
        "--adam_beta1=0.9", "--adam_beta2=0.98", "--weight_decay=0.1", "--overwrite_output_dir", "--logging_steps=2",
        "--eval_steps=2000", "--dtype=bfloat16", "--gradient_accumulation_steps=2",
        "--token_cache_dir", folder / "cache", "--eval_completions=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    words = ["--num_train_epochs=3", "--save_strategy", "epoch", "--max_eval_samples=2"]
    scored = ["--eval_pass_at_k", "clippy-apps", "--eval_pass_at_k_every=100"]
    succeed(SCRIPT, *flags, "--output_dir", folder, *words, *scored)
    return folder


def test_the_last_checkpoints_programs_were_run_and_the_card_has_their_score(whole):
    rows = [row for row in read_metrics(whole) if row["kind"] == "code"]
    assert [(row["benchmark"], row["pass@1"]) for row in rows] == [("clippy-apps", 0)]
    found = json.loads((whole / "results.json").read_text())
    assert found["metrics"]["pass@1"] == 0 and found["num_samples"] == 20
    assert "clippy-apps" in (whole / "README.md").read_text()


def test_scores_that_a_kill_cut_off_are_made_up_for(whole, flags, tmp_path):
    """The checkpoint was whole before they began."""
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    rows = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(row for row in rows if json.loads(row)["kind"] != "code"))
    (folder / "results.json").unlink()
    words = [
        "--num_train_epochs=3",
        "--save_strategy",
        "epoch",
        "--max_eval_samples=2",
        "--resume_from_checkpoint=auto",
    ]
    succeed(SCRIPT, *flags, "--output_dir", folder, *words, "--eval_pass_at_k", "clippy-apps")
    assert [row["pass@1"] for row in read_metrics(folder) if row["kind"] == "code"] == [0]
    assert json.loads((folder / "results.json").read_text())["num_samples"] == 20


def token_files(flags, split, **wanted):
    cache = flags[flags.index("--token_cache_dir") + 1]
    found = []
    for folder in cache.glob(f"{split}-*"):
        files = TokenFiles(folder, Identity(**json.loads((folder / "identity.json").read_text())))
        if all(getattr(files.identity, name) == value for name, value in wanted.items()):
            found.append(files)
    (files,) = found
    return files


def documents_of(files):
    """Each document's prompt and answer ids, as loss weights tell them apart."""
    window = files.window(0)
    tokens = np.array(window.tokens)
    weights = np.unpackbits(window.weights, bitorder="little")[: len(tokens)]
    found, prompt, answer = [], [], []
    for token, weight in zip(tokens.tolist(), weights.tolist()):
        if token == files.identity.eos_token_id:
            if weight:
                found.append((prompt, answer))
            prompt, answer = [], []
        elif weight:
            answer = [*answer, token]
        else:
            assert not answer  # the loss falls on one stretch of a document, up to its end
            prompt = [*prompt, token]
    return found


def test_loss_falls_on_every_answer_and_its_end_of_text_and_on_nothing_else(whole, flags, data_dir, tokenizer_dir):
    """A1, A2, A4: on the answers of the official train split but for the problems that are kept out."""
    tokenizer = Tokenizer.load(tokenizer_dir)
    files = token_files(flags, "train")
    rows = RowSource("data_processing/apps.py", "formatted", str(data_dir)).open("train")
    wanted = [row for part in range(len(rows.names)) for row, _ in rows.read(part, Place())]
    facts = files.facts()
    assert facts["documents"] + sum(facts["dropped"].values()) == len(wanted)
    found = [(tokenizer.decode(prompt), tokenizer.decode(answer)) for prompt, answer in documents_of(files)]
    assert len(found) == facts["documents"] > 30
    answers = {row["answer"]: row["prompt"] for row in wanted}
    for prompt, answer in found:
        assert prompt.startswith("\nQUESTION:\nProblem ") and prompt.endswith(" format\nANSWER:\n")
        assert answer in answers
        assert prompt == answers[answer] or "\n...\n" in prompt


def test_epochs_end_where_every_block_was_seen_and_each_is_saved(whole, flags):
    """A6: the reference dropped the last batch of each epoch."""
    blocks = token_files(flags, "train").num_blocks()
    steps = math.ceil(3 * blocks / 4)
    saved = [int(path.name[5:]) for path in checkpoints_in(whole)]
    assert saved == [math.ceil(epoch * blocks / 4) for epoch in (1, 2, 3)] and saved[-1] == steps
    train = [row for row in read_metrics(whole) if row["kind"] == "train"]
    assert train[-1]["step"] == steps and train[-1]["loss"] < train[0]["loss"] - 1
    assert train[-1]["learning_rate"] == pytest.approx(1e-2 / (steps - 3), rel=1e-4)


def test_the_best_model_by_loss_on_validation_is_left(whole):
    """As the reference's recipe did, without a flag."""
    losses = {row["step"]: row["loss"] for row in read_metrics(whole) if row["kind"] == "eval"}
    assert losses == {step_of(path): eval_loss_of(path) for path in checkpoints_in(whole)}
    best = min(losses, key=lambda step: (losses[step], step))
    record = {"checkpoint": f"ckpt-{best}", "step": best, "eval_loss": losses[best], "kind": "best"}
    assert json.loads((whole / "exported.json").read_text()) == record
    weights = (whole / f"ckpt-{best}" / "model.safetensors").read_bytes()
    assert (whole / "model.safetensors").read_bytes() == weights


def test_max_eval_samples_counts_solutions(whole, flags):
    files = token_files(flags, "validation", max_rows=2)
    facts = files.facts()
    assert facts["documents"] + sum(facts["dropped"].values()) == 2
    evaluated = [row for row in read_metrics(whole) if row["kind"] == "eval"]
    answers = sum(len(answer) + 1 for _, answer in documents_of(files))
    assert evaluated and all(row["eval_tokens"] == answers for row in evaluated)


@pytest.mark.long
def test_resuming_ends_with_the_same_model(whole, flags, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for checkpoint in checkpoints_in(out)[1:]:
        shutil.rmtree(checkpoint)
    words = ["--num_train_epochs=3", "--save_strategy", "epoch", "--max_eval_samples=2"]
    succeed(SCRIPT, *flags, "--output_dir", out, *words, "--resume_from_checkpoint=auto")
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_steps_of_epochs_by_hand():
    arguments = AppsArguments(output_dir="o", model_name_or_path="m")
    found = [arguments.steps_of_epochs(epochs, 10, 4) for epochs in (0.1, 0.4, 1, 2, 2.1)]
    assert found == [1, 1, 3, 5, 6]
    assert arguments.steps_of_epochs(1.1, 10, 11) == 1  # 1.1 * 10 is a little more than 11


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"segment_ids": False}, BadArguments, "must not see; give --segment_ids"),
        ({"dataset_config_name": "raw"}, BadSource, "raw of apps.py holds no prompts and answers; wanted formatted"),
        ({"data_dir": "nowhere"}, MissingData, "no APPS problems in nowhere"),
    ],
)
def test_what_would_train_on_the_wrong_thing_is_refused(data_dir, tmp_path, changed, error, said):
    wanted = {"output_dir": str(tmp_path / "o"), "model_name_or_path": "m", "do_train": True, "data_dir": str(data_dir)}
    with pytest.raises(error, match=said):
        prepare(AppsArguments(**wanted | changed), {})
    assert not (tmp_path / "o").exists()


def test_a_run_counted_in_epochs_reads_every_token():
    with pytest.raises(BadArguments, match="cache_limit_gb is for runs counted in steps"):
        AppsArguments(output_dir="o", model_name_or_path="m", cache_limit_gb=1.0)


def test_without_a_dataset_name_it_is_apps():
    arguments = AppsArguments(output_dir="o", model_name_or_path="m")
    assert RowSource.of(arguments).is_pairs and arguments.dataset_name.endswith("data_processing/apps.py")
