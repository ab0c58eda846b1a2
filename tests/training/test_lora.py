"""Training of adapters: the step's laws, and whole runs with their checkpoints, resume, export and refusals."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import modeling
from modeling.adapter_files import CONFIG, WEIGHTS, is_adapter, read_described
from modeling.checkpoint import read_config
from modeling.decoder import config_from_hf
from modeling.execution import Execution
from modeling.lora import Lora, adapter_table, attach, init_adapters
from tests.conftest import TINY, command, succeed
from tests.hub_server import TOKEN, serve
from tests.training.test_step import FewerDevices
from training import preparation
from training.arguments import BadArguments
from training.checkpoints import checkpoints_in
from training.hub_push import HubPush
from training.metrics import read_metrics
from training.optimizer import make_optimizer
from training.placement import MeshPlacement, bind
from training.step import initial_state, train_step
from training.streaming_arguments import StreamingArguments

SCRIPT = "training/run_clm_streaming_flax.py"
LORA = Lora(rank=2, alpha=6.0)
ROWS, T = 8, 13


@pytest.fixture(scope="module")
def even():
    """(config, base, adapters that are not zero): a GPT-Neo that a mesh can cut."""
    config = config_from_hf(TINY | {"hidden_size": 24, "num_heads": 4, "intermediate_size": 56})
    adapters = jax.tree.map(lambda leaf: leaf + 0.05, init_adapters(config, LORA, 1))
    return config, modeling.init_params(config, 7), adapters


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    tokens = random.integers(0, 307, (ROWS, T + 1)).astype(np.int32)
    weights = (random.random((ROWS, T)) < 0.7).astype(np.float32)
    rows = np.arange(ROWS, dtype=np.int32)
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "loss_weights": weights, "rows": rows}


def one_step(config, base, adapters, batch, placement, microbatches, optimizer):
    step = bind(
        train_step, placement, config=config, optimizer=optimizer, schedule=lambda s: 0.1, how=Execution(), seed=5,
        whole=lambda own, frozen: attach(frozen, own, LORA),
    )  # fmt: skip
    state = initial_state(adapters, optimizer)
    if isinstance(placement, MeshPlacement):
        state = placement.make(lambda own: initial_state(own, optimizer), adapters)
        base = jax.device_put(base, placement.shardings(base))
    shared = placement.put({name: array[placement.rows(ROWS)] for name, array in batch.items()}, microbatches)
    return placement.compile_step(step, state, shared, base)(state, shared, base)


@pytest.mark.parametrize("cut, microbatches", [(1, 4), (4, 2), ({"data": 2, "fsdp": 2, "tensor": 2}, 2)], ids=str)
def test_an_sgd_step_of_adapters_is_that_of_one_loss_over_the_batch(even, batch, cut, microbatches):
    """Law 2, to 1e-6 of the norm of all gradients; nothing but adapters is in the new state."""
    config, base, adapters = even
    rate = 0.1

    def loss(own):
        losses = modeling.token_losses(config, attach(base, own, LORA), batch["tokens"], batch["targets"])
        return (losses * batch["loss_weights"]).sum() / batch["loss_weights"].sum()

    gradient = jax.grad(loss)(adapters)
    placement = FewerDevices(cut) if isinstance(cut, int) else MeshPlacement(config, cut, np.array(jax.devices()))
    state, metrics = one_step(config, base, adapters, batch, placement, microbatches, optax.sgd(rate))
    assert float(metrics["loss"]) == pytest.approx(float(loss(adapters)), rel=1e-6)
    norm = float(optax.tree.norm(gradient))
    for new, old, wanted in zip(*map(jax.tree.leaves, (state["params"], adapters, gradient)), strict=True):
        assert np.abs(np.asarray(new) - np.asarray(old - rate * wanted)).max() < 1e-6 * rate * norm + 1e-7


@pytest.mark.parametrize("optim", ["adamw", "adafactor"])
def test_an_optimizer_holds_moments_of_adapters_alone(even, batch, optim):
    config, base, adapters = even
    before = jax.tree.map(np.array, base)
    asked = StreamingArguments(output_dir="o", model_name_or_path="m", optim=optim, weight_decay=0.1)
    optimizer = make_optimizer(asked, optax.constant_schedule(0.1), adapter_table(config, LORA))
    state, _ = one_step(config, base, adapters, batch, FewerDevices(1), 1, optimizer)
    moments = sum(leaf.size for leaf in jax.tree.leaves(state["optimizer"]))
    assert moments < 2.2 * sum(leaf.size for leaf in jax.tree.leaves(adapters))
    for new, old in zip(*map(jax.tree.leaves, (state["params"], adapters)), strict=True):
        assert jnp.isfinite(new).all() and not np.array_equal(new, old)
    assert jax.tree.all(jax.tree.map(np.array_equal, base, before))


@pytest.fixture(scope="module")
def flags(model_dir, corpus, tmp_path_factory):
    """A run of 6 steps on adapters of rank 2; output_dir is left to each test."""
    return [
        "--model_name_or_path", model_dir, "--dataset_name", "data_processing/code_clippy.py", "--data_dir", corpus,
        "--do_train", "--do_eval", "--block_size=32", "--per_device_train_batch_size=3", "--max_steps=6",
        "--per_device_eval_batch_size=5", "--preprocessing_num_workers=1", "--learning_rate=3e-2", "--dtype=bfloat16",
        "--logging_steps=1", "--save_steps=3", "--max_eval_samples=11", "--eval_completions=1", "--lora_rank=2",
        "--token_cache_dir", tmp_path_factory.mktemp("cache"), "--resume_from_checkpoint=auto",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora") / "out"
    return folder, succeed(SCRIPT, *flags, "--output_dir", folder)


def test_a_run_learns_and_leaves_adapters_alone(whole, model_dir):
    folder, said = whole
    assert "adapters of rank 2" in said
    assert [path.name for path in checkpoints_in(folder)] == ["ckpt-3", "ckpt-6"]
    assert is_adapter(folder) and (folder / WEIGHTS).read_bytes() == (folder / "ckpt-6" / WEIGHTS).read_bytes()
    assert (folder / WEIGHTS).read_bytes() != (folder / "ckpt-3" / WEIGHTS).read_bytes()
    assert not list(folder.rglob("model*.safetensors")) and (folder / "tokenizer.json").is_file()
    assert read_described(folder).base == str(model_dir.resolve())
    losses = [row["loss"] for row in read_metrics(folder) if row["kind"] == "train"]
    assert losses[-1] < losses[0]


def test_adapters_of_a_hub_id_name_the_revision_that_they_are_of(model_dir, tmp_path):
    """Without it they would later be added to the weights of another one."""
    arguments = StreamingArguments(output_dir="o", model_name_or_path="org/model", revision="v2", lora_rank=2)
    config = read_config(model_dir)
    files = preparation._model_files(arguments, config, model_dir, model_dir, eos_token_id=0)
    files.write(tmp_path, init_adapters(config, files.lora, 0))
    assert read_described(tmp_path)[1:] == ("org/model", "v2")


def test_the_cards_own_snippet_runs_the_adapted_model(whole):
    pytest.importorskip("peft", reason="PEFT is the oracle; ./run.sh test installs it")
    folder, _ = whole
    card = (folder / "README.md").read_text()
    assert "library_name: peft" in card
    snippet = card.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(snippet.replace("repo = 'out'", f"repo = {str(folder)!r}"), names)
    ids = names["input_ids"]
    wanted = names["model"](ids).logits.detach().float().numpy()
    model = modeling.load(folder)
    found = np.asarray(modeling.logits(model.config, model.params, ids.numpy()))
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_adapters_are_pushed_as_they_are_without_their_base(whole, monkeypatch, tmp_path):
    with serve({}) as hub:
        hub.adopt(monkeypatch, tmp_path, TOKEN)
        with HubPush(whole[0], "run", "every_save", False, False) as pushes:
            pushes.now(None)
        sent = hub.repositories["me/run"].refs["main"]
        assert {CONFIG, WEIGHTS, "README.md", "tokenizer.json"} <= sent.keys() and "config.json" not in sent
    for name in (CONFIG, WEIGHTS, "tokenizer.json", "README.md"):
        assert sent[name] == (whole[0] / name).read_bytes()


def test_a_run_that_ended_early_goes_on_with_the_same_bits(whole, flags, tmp_path):
    """Law 3: adapters, their moments and the step are all that a checkpoint needs beside the base."""
    folder, _ = whole
    again = tmp_path / "out"
    shutil.copytree(folder, again)
    shutil.rmtree(again / "ckpt-6")
    succeed(SCRIPT, *flags, "--lora_alpha=4", "--output_dir", again)  # the default, spelt out
    assert (again / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    state = json.loads((again / "ckpt-6" / "run_state.json").read_text())
    assert state["identity"]["lora_rank"] == 2


def test_another_rank_or_no_adapters_at_all_is_refused_by_name(whole, flags):
    done = command(SCRIPT, *flags, "--output_dir", whole[0], "--lora_rank=3")
    assert done.returncode == 2 and "lora_rank" in done.stderr
    done = command(SCRIPT, *[word for word in flags if word != "--lora_rank=2"], "--output_dir", whole[0])
    assert done.returncode == 2 and "lora_rank" in done.stderr


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"lora_rank": 0}, "lora_rank"),
        ({"lora_alpha": 4.0}, "give --lora_rank too"),
        ({"lora_rank": 2, "lora_alpha": 0.0}, "wanted more than 0"),
        (
            {"lora_rank": 2, "model_name_or_path": None, "model_type": "gpt_neo", "tokenizer_name": "t"},
            "adapts a model",
        ),
    ],
    ids=str,
)
def test_flags_that_adapt_nothing_are_refused(changes, said):
    with pytest.raises(BadArguments, match=said):
        StreamingArguments(**({"output_dir": "o", "model_name_or_path": "m"} | changes))
