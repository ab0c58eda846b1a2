"""Supply of tokens to training: law 9 through the real checkpoint, and writers that are started again."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import optax
import pytest

import modeling
from data_processing.blocks import Blocks
from data_processing.row_source import RowSource
from data_processing.token_files import TokenFilesError
from data_processing.token_readers import Reader, windows_read
from data_processing.token_writer import write_token_files
from data_processing.tokens import TextEncoder, plan_token_files
from interface.errors import UserError
from tests.conftest import TINY, succeed
from tokenizer_patch import Tokenizer
from training.arguments import BadArguments
from training.checkpoint_writer import Checkpoints
from training.checkpoints import checkpoints_in, find_checkpoint, place_of, restore
from training.metrics import read_metrics
from training.model_files import ModelFiles
from training.placement import DataParallel
from training.preparation import prepare
from training.program import Program, StoppedWaiting
from training.step import initial_state
from training.streaming_arguments import StreamingArguments
from training.supply import Supply


def arguments(model_dir, corpus, folder, **changes) -> StreamingArguments:
    return StreamingArguments(
        **{
            "output_dir": str(folder / "out"), "model_name_or_path": str(model_dir), "data_dir": str(corpus),
            "do_train": True, "block_size": 32, "token_cache_dir": str(folder / "cache"),
            "preprocessing_num_workers": 1,
        } | changes
    )  # fmt: skip


def supply_of(settings: StreamingArguments, tokenizer_dir, folder) -> Supply:
    folder.mkdir(parents=True, exist_ok=True)
    source, tokenizer = RowSource.of(settings), Tokenizer.load(tokenizer_dir)
    return Supply(settings, source, tokenizer, tokenizer_dir, "train", folder / "tokenize.log")


def test_every_step_of_a_run_goes_on_from_its_real_checkpoint(tokenizer_dir, corpus, tmp_path, monkeypatch):
    """Law 9, on a machine that has nothing but the checkpoint, by 1, 2, 3 and 4 processes: none lost, none repeated."""
    monkeypatch.setattr("data_processing.encoding_pool.BATCH_CHARACTERS", 5000)
    encoder, source = TextEncoder(tokenizer_dir), RowSource(data_dir=str(corpus))

    def plan(cache):
        return plan_token_files(
            tokenizer=Tokenizer.load(tokenizer_dir), encoder=encoder, source=source, split="train", block_size=61,
            cache_dir=cache, window_tokens=61 * 199,
        )  # fmt: skip

    files = plan(tmp_path / "whole")
    write_token_files(files, encoder, source.open("train"))
    size = 12 * -(-files.num_blocks() // (12 * 7))  # an epoch is about seven steps
    steps = 10  # into the second epoch
    blocks = Blocks(files, 3, size, lambda: None, segments=True)
    wanted = [blocks.batch(step) for step in range(steps)]

    config = modeling.read_config(write_config(tmp_path))
    optimizer = optax.sgd(0.1)
    placement = DataParallel()
    state = placement.make(lambda: initial_state(modeling.init_params(config, 0), optimizer))
    checkpoints = Checkpoints(
        tmp_path, model=ModelFiles(config, tokenizer_dir, 0), identity={}, resolved={}, keep=None,
        with_train_state=True,
    )  # fmt: skip
    for step in range(steps - 1):
        state = {**state, "step": state["step"] + 1}
        checkpoints.save(step + 1, state, files.place_of(blocks.window_of(step)))
    checkpoints.close()

    for checkpoint in checkpoints_in(tmp_path):
        step = int(restore(checkpoint, placement.abstract(state))["step"])
        assert checkpoint.name == f"ckpt-{step}"
        fresh = plan(tmp_path / f"disk-{step}")
        fresh.adopt(place_of(checkpoint))
        reader = Reader(fresh.folder)

        def wait(files=fresh) -> None:
            """The writer, here: on a disk of three windows it makes what the reader wants first, until it is full."""
            with suppress(DiskFull):
                limit = 3 * files.identity.window_bytes
                write_token_files(files, encoder, source.open("train"), cache_limit=limit, pause=be_full)

        for processes in (1, 2, 3, 4):
            mine = Blocks(fresh, 3, size, wait, segments=True, move_to=reader.move_to)
            share = size // processes
            for later in range(step, min(step + 2, steps)):
                parts = [mine.batch(later, slice(rank * share, (rank + 1) * share)) for rank in range(processes)]
                for name, array in wanted[later].items():
                    np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)
        assert len(list(fresh.folder.glob("window-*"))) <= 3
        reader.close()


class DiskFull(Exception):
    pass


def be_full() -> None:
    raise DiskFull


def write_config(folder):
    (folder / "config").mkdir()
    (folder / "config" / "config.json").write_text(json.dumps(TINY))
    return folder / "config"


def test_a_window_that_somebody_removed_is_made_again_for_who_waits(model_dir, tokenizer_dir, corpus, tmp_path):
    supply = supply_of(arguments(model_dir, corpus, tmp_path), tokenizer_dir, tmp_path / "logs")
    supply.start()
    files = supply.wait_until_whole()
    before = files.window_path(0).read_bytes()
    files.remove_window(0)
    while files.window(0) is None:
        supply.wait()
    assert files.window_path(0).read_bytes() == before
    supply.close()
    assert not list(files.folder.glob("reader-*"))


def test_a_signal_ends_the_waiting_for_tokens_and_leaves_who_writes_them_alone(model_dir, corpus, tmp_path):
    """Ctrl-C goes to the whole group; the loop saves what it has, and wants no tokens that are not there."""
    run = prepare(arguments(model_dir, corpus, tmp_path), {})
    supply = run.supplies["train"]
    assert os.getsid(supply._process.pid) != os.getsid(0)
    supply.files.blocks_in = lambda window: None  # nothing is ever tokenised
    with pytest.raises(StoppedWaiting):
        Program(arguments(model_dir, corpus, tmp_path), run, optax.constant_schedule(0.1), lambda: True).batch(0)
    supply.close()
    os.close(run.held)


def test_a_resumed_run_is_first_given_the_window_that_it_stands_in(
    model_dir, tokenizer_dir, corpus, tmp_path, monkeypatch
):
    """And not the corpus's first one: on a bounded disk that would even take the room of the one that is wanted."""
    supply = supply_of(arguments(model_dir, corpus, tmp_path), tokenizer_dir, tmp_path / "logs")
    line = {"window": 7, "state": {"next": 3, "open": [[0, 5, 0, 60]]}, "unit": 2, "token": 1, "counts": {}}
    seen = []
    monkeypatch.setattr(supply, "_write", lambda: seen.append(windows_read(supply.files.folder)))
    supply.start({"key": supply.files.identity.key, "line": line, "facts": None})
    supply.close()
    assert seen == [[7]] and supply.files.ledger.line(7) == line


def test_a_supply_that_fails_says_why(model_dir, tokenizer_dir, corpus, tmp_path, monkeypatch):
    settings = arguments(model_dir, corpus, tmp_path, text_column_name="content")
    supply = supply_of(settings, tokenizer_dir, tmp_path / "logs")
    supply.start()
    with pytest.raises(TokenFilesError, match=r'tokenising the train split failed: none of .* no "content" string'):
        supply.wait_until_whole()
    supply.close()
    monkeypatch.setattr("training.supply.sys.executable", "/bin/false")  # ends without a word, as a killed one does
    again = supply_of(settings, tokenizer_dir, tmp_path / "logs")
    again.start()
    with pytest.raises(TokenFilesError, match="failed: it ended with status 1 "):  # not what the last one said
        again.wait_until_whole()
    again.close()


def test_overwrite_cache_makes_even_whole_files_again(model_dir, corpus, tmp_path):
    def path_of(folder: str, **changes: object) -> Path:
        wish = arguments(model_dir, corpus, tmp_path, output_dir=str(tmp_path / folder), do_eval=False, **changes)
        run = prepare(wish, {})
        path = run.supplies["train"].wait_until_whole().window_path(0)
        run.supplies["train"].close()
        os.close(run.held)
        return path

    path = path_of("first")
    before = path.read_bytes()
    path.write_bytes(b"\0" * len(before))  # somebody's disk was bad
    assert path_of("second").read_bytes() == b"\0" * len(before)
    assert path_of("third", overwrite_cache=True).read_bytes() == before


def test_a_cache_limit_below_a_steps_windows_is_refused_before_anything_is_written(model_dir, corpus, tmp_path):
    with pytest.raises(TokenFilesError, match=r"--cache_limit_gb is 0\.001; wanted at least 0\.025, 3 windows"):
        prepare(arguments(model_dir, corpus, tmp_path, cache_limit_gb=0.001), {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadArguments, match="--cache_limit_gb is -1"):
        arguments(model_dir, corpus, tmp_path, cache_limit_gb=-1.0)
    with pytest.raises(UserError, match="no language is called 'klingon'"):
        prepare(arguments(model_dir, corpus, tmp_path, languages="Klingon"), {})


def test_a_run_with_segments_and_a_file_of_rows_trains_and_keeps_its_place(model_dir, corpus, tmp_path):
    """The flags of data, in one run: a part of --train_file validates, segments are on, the disk is bounded."""
    shard = next((corpus / "train").iterdir())
    flags = [
        "--model_name_or_path", model_dir, "--train_file", shard, "--validation_split_percentage=30", "--do_train",
        "--do_eval", "--block_size=32", "--per_device_train_batch_size=3", "--max_steps=2", "--logging_steps=1",
        "--segment_ids=true", "--cache_limit_gb=0.03", "--token_cache_dir", tmp_path / "cache", "--max_eval_samples=5",
        "--languages=Python", "--output_dir", tmp_path / "out",
    ]  # fmt: skip
    succeed("training/run_clm_streaming_flax.py", *flags)
    rows = read_metrics(tmp_path / "out")
    assert [(row["step"], row["kind"]) for row in rows] == [(1, "train"), (2, "train"), (2, "eval")]
    weights = [row["eval_tokens"] for row in rows if row["kind"] == "eval"]
    assert weights and weights[0] <= 5 * 32
    place = place_of(find_checkpoint(tmp_path / "out", "auto"))
    (folder,) = (tmp_path / "cache").glob("train-*")
    assert folder.name == f"train-{place['key']}" and place["line"]["window"] == 0
    deadline = time.monotonic() + 20
    while list(folder.glob("reader-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(folder.glob("reader-*"))
