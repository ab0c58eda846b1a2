"""Token files and the order of blocks: law 9, and regression tests for the reference's bugs S1 to S6."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from data_processing.blocks import Blocks, in_order, permutation
from data_processing.dataset_script import MissingColumn, check, open_split
from data_processing.shards import MissingData, read_texts, shards_of
from data_processing.splits import EmptySplit
from data_processing.token_files import TokenFilesError
from data_processing.tokens import plan_token_files, round_robin, write_token_files
from tests.conftest import command, succeed
from tokenizer_patch import Tokenizer

BLOCK, WINDOW = 251, 251 * 41  # tokens


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir):
    return Tokenizer.load(tokenizer_dir)


def plan(tokenizer, corpus, cache, **changes):
    settings = {
        "tokenizer": tokenizer, "dataset_name": None, "data_dir": str(corpus), "split": "train", "text_column": "text",
        "block_size": BLOCK, "cache_dir": cache, "window_tokens": WINDOW,
    }  # fmt: skip
    return plan_token_files(**settings | changes)


def rows(corpus, split="train"):
    return round_robin([({"text": text} for text in read_texts([shard])) for shard in shards_of(corpus, split)])


@pytest.fixture(scope="module")
def files(tokenizer, corpus, tmp_path_factory):
    files = plan(tokenizer, corpus, tmp_path_factory.mktemp("cache"))
    write_token_files(files, tokenizer, rows(corpus))
    return files


def stream_of(files) -> np.ndarray:
    """The whole stream, put together from the windows without their overlaps."""
    parts, window = [], 0
    while (tokens := files.tokens(window)) is not None:
        parts.append(np.array(tokens[: WINDOW if files.window_path(window + 1).is_file() else None]))
        window += 1
    return np.concatenate(parts)


def test_the_stream_is_every_document_with_an_end_of_text_after_each(files, tokenizer, corpus):
    wanted = [id for row in rows(corpus) for id in [*tokenizer.encode(row["text"]), 0]]
    np.testing.assert_array_equal(stream_of(files), wanted)
    facts = files.facts()
    assert facts["documents"] == np.sum(stream_of(files) == 0) == len(list(rows(corpus)))  # S1
    assert facts["tokens"] == len(wanted) > 3 * WINDOW
    assert facts["bytes"] == sum(len(row["text"].encode()) for row in rows(corpus))


def test_a_block_is_a_piece_of_the_stream_and_its_shift(files):
    stream = stream_of(files)
    for number, (window, index) in enumerate(divmod(b, 41) for b in range(files.num_blocks())):
        tokens, targets, weights = files.block(window, index)
        piece = stream[number * BLOCK : (number + 1) * BLOCK + 1]
        np.testing.assert_array_equal(tokens[: len(piece) - 1], piece[:-1])
        np.testing.assert_array_equal(targets[: len(piece) - 1], piece[1:])
        assert weights.sum() == len(piece) - 1  # padding has no weight
    assert number == files.num_blocks() - 1 and len(stream) - 1 <= (number + 1) * BLOCK


def seen(blocks: Blocks, first: int, last: int) -> list[bytes]:
    return [row.tobytes() for step in range(first, last) for row in blocks.batch(step)["tokens"]]


def test_an_epoch_has_every_block_once_and_the_next_one_another_order(files):
    total = files.num_blocks()
    blocks = Blocks(files, seed=5, global_batch=1, wait=lambda: None)
    places = [blocks.locate(p) for p in range(2 * total)]
    everything = Counter(divmod(b, 41) for b in range(total))
    assert Counter(places[:total]) == everything == Counter(places[total:])
    assert places[:total] != places[total:]
    assert [w for w, _ in places[:total]] == sorted(w for w, _ in places[:total])  # window after window
    assert (
        Blocks(files, seed=6, global_batch=1, wait=lambda: None).locate(0) != places[0]
        or permutation(6, 0, 0, 41).tolist() != permutation(5, 0, 0, 41).tolist()
    )


@pytest.mark.parametrize("global_batch", [1, 3, 7])
def test_resuming_at_any_step_gives_the_remaining_batches(files, global_batch):
    last = 2 * files.num_blocks() // global_batch + 2  # past the second epoch
    whole = seen(Blocks(files, 5, global_batch, lambda: None), 0, last)
    for step in range(last - 1):
        resumed = seen(Blocks(files, 5, global_batch, lambda: None), step, step + 2)
        assert resumed == whole[step * global_batch : (step + 2) * global_batch]


def test_the_order_does_not_depend_on_whether_the_files_still_grow(files, tmp_path):
    grown = Blocks(files, 5, 3, lambda: None)
    folder = tmp_path / "growing"
    folder.mkdir()
    waits = []

    def wait() -> None:
        """Another window comes, and after the last the facts."""
        waits.append(None)
        window = len(list(folder.glob("window-*")))
        source = files.window_path(window)
        shutil.copy(source if source.is_file() else files.folder / "complete.json", folder)

    growing = Blocks(type(files)(folder, files.identity), 5, 3, wait)
    last = files.num_blocks() // 3 + 5
    assert seen(growing, 0, 13) == seen(grown, 0, 13) and len(waits) == 2  # the first window is enough to start
    assert seen(growing, 13, last) == seen(grown, 13, last)


def test_a_run_that_was_killed_between_any_two_writes_ends_with_the_same_files(files, tokenizer, corpus, tmp_path):
    """Every prefix of the writes (identity, then window after window, each before its ledger line) is gone on from."""
    names = sorted(p.name for p in files.folder.glob("window-*"))
    ledger = (files.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    for windows in range(len(names) + 1):
        for lines in {max(1, windows), min(windows + 1, len(ledger))}:
            again = plan(tokenizer, corpus, tmp_path / f"{windows}-{lines}")
            again.write_identity()
            for name in names[:windows]:
                shutil.copy(files.folder / name, again.folder)
            cut_line = '{"document": 3, "tok' if lines < len(ledger) else ""
            (again.folder / "ledger.jsonl").write_text("".join(ledger[:lines]) + cut_line)
            write_token_files(again, tokenizer, rows(corpus))
            for name in (*names, "complete.json", "ledger.jsonl"):
                assert (again.folder / name).read_bytes() == (files.folder / name).read_bytes(), (windows, lines, name)


def test_another_tokenizer_or_corpus_has_another_identity(files, tokenizer, corpus, tmp_path, model_dir):
    keys = {files.identity.key, plan(tokenizer, corpus, tmp_path, block_size=19).identity.key}
    keys.add(plan(tokenizer, corpus, tmp_path, split="test").identity.key)
    changed = tmp_path / "corpus"
    shutil.copytree(corpus, changed)
    shard = shards_of(changed, "train")[0]
    shard.write_bytes(shard.read_bytes() + shards_of(corpus, "test")[0].read_bytes())
    keys.add(plan(tokenizer, changed, tmp_path).identity.key)
    backend = type(tokenizer.backend).from_str(tokenizer.backend.to_str())
    backend.add_tokens(["  "])
    keys.add(plan(Tokenizer(backend, 0), corpus, tmp_path).identity.key)
    assert len(keys) == 5


def test_a_folder_with_another_identity_is_refused(files, tokenizer, corpus, tmp_path):
    other = plan(tokenizer, corpus, tmp_path)
    other.folder.mkdir(parents=True)
    (other.folder / "identity.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(TokenFilesError, match="tokens of another tokenizer or corpus"):
        plan(tokenizer, corpus, tmp_path)


def test_max_blocks_stops_there_with_the_same_first_blocks(files, tokenizer, corpus, tmp_path):
    few = plan(tokenizer, corpus, tmp_path, max_blocks=50)
    assert write_token_files(few, tokenizer, rows(corpus))["blocks"] == 50
    for block in range(50):
        for one, two in zip(few.block(*divmod(block, 41)), files.block(*divmod(block, 41)), strict=True):
            np.testing.assert_array_equal(one, two)


def test_evaluation_sees_every_block_once_and_pads_the_last_batch_with_weight_0(files):
    """S6: the reference's loader started over at the end of the evaluation set."""
    batches = list(in_order(files, 7))
    assert all(batch["tokens"].shape == (7, BLOCK) for batch in batches)
    total = sum(batch["loss_weights"].sum() for batch in batches)
    assert total == files.facts()["tokens"] - 1


def test_a_missing_column_and_an_empty_split_are_refused(tokenizer, corpus, tmp_path):
    with pytest.raises(MissingColumn, match="no column 'content'; --text_column_name takes one of text"):
        write_token_files(plan(tokenizer, corpus, tmp_path, text_column="content"), tokenizer, rows(corpus))
    with pytest.raises(EmptySplit, match="0 documents"):
        write_token_files(plan(tokenizer, corpus, tmp_path, block_size=3), tokenizer, iter(()))


def test_the_command_streams_through_the_dataset_script_and_counts_bad_rows(tokenizer_dir, corpus, tmp_path, files):
    import zstandard

    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    shard = shards_of(data, "train")[0]
    shard.write_bytes(shard.read_bytes() + zstandard.compress(b'{"text": 3}\n{"te\n'))
    said = succeed(
        "-m", "data_processing", "tokenize", "--data_dir", data, "--dataset_name", "data_processing/code_clippy.py",
        "--tokenizer_name", tokenizer_dir, "--block_size", BLOCK, "--token_cache_dir", tmp_path / "cache",
    )  # fmt: skip
    folder = next((tmp_path / "cache").glob("train-*"))
    facts = json.loads((folder / "complete.json").read_text())
    assert facts["tokens"] == files.facts()["tokens"] and facts["rejected"] == 2
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert [row["reason"].split(":")[0] for row in rejected] == ['no "text" string', "not JSON"]
    assert str(folder) in said


def test_a_dataset_script_is_found_by_path_and_streams_each_shard(corpus):
    shards = open_split("data_processing/code_clippy.py", str(corpus), "train")
    assert len(shards) == len(shards_of(corpus, "train")) == 3
    examples = [row for shard in shards for row in shard]
    assert sorted(row["text"] for row in examples) == sorted(read_texts(shards_of(corpus, "train")))
    assert len({row["id"] for row in examples}) == len(examples)  # C7: ids restarted in each shard


def test_a_missing_script_folder_or_split_is_refused_before_anything_is_imported(corpus, tmp_path):
    with pytest.raises(MissingData, match="no dataset script at nowhere"):
        check("nowhere/code_clippy.py", str(corpus), ["train"])
    with pytest.raises(MissingData, match="--data_dir is missing"):
        check(None, None, ["train"])
    with pytest.raises(EmptySplit, match="no dev/"):
        check(None, str(corpus), ["dev"])
    (tmp_path / "empty_script.py").write_text("x = 1\n")
    with pytest.raises(MissingData, match="defines no datasets"):
        open_split(str(tmp_path / "empty_script.py"), None, "train")


def test_a_broken_shard_ends_the_command_with_one_line(tokenizer_dir, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    shard = shards_of(tmp_path / "data", "train")[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    done = command(
        "-m", "data_processing", "tokenize", "--data_dir", tmp_path / "data", "--tokenizer_name", tokenizer_dir,
        "--block_size", 17, "--token_cache_dir", tmp_path / "cache",
    )  # fmt: skip
    assert done.returncode == 2 and "breaks off after line" in done.stderr and "Traceback" not in done.stderr
