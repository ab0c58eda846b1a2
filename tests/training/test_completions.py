"""Completions at evaluations: what generation would give, again and again the same, and never a run's end."""

from __future__ import annotations

import gc
import json

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import modeling
from generation.decoding import decode
from generation.sampler import Sampler, Settings
from tests.conftest import TINY
from tests.training.test_trackers import Broken
from tokenizer_patch import Tokenizer
from training import completions
from training.completions import CODE, PROBLEMS, BadPrompts, Completions, read_prompts, read_samples
from training.trackers import Trackers

PROMPTS = ("def f(x):\n", "import os\n")


@pytest.fixture(scope="module")
def model(model_dir):
    return modeling.load(model_dir)


def sampler(folder, model_dir, model, trackers=None, resumed_at=0):
    return Completions(
        folder, PROMPTS, model_dir, model.config,
        dtype="float32", seed=3, trackers=trackers or Trackers(), resumed_at=resumed_at,
    )  # fmt: skip


def replicated(params):
    return jax.device_put(params, NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P()))


def test_samples_are_what_generation_gives_and_the_same_at_each_evaluation_in_the_same_memory(
    tmp_path, model_dir, model
):
    seen = Broken(at=99)
    taken = sampler(tmp_path, model_dir, model, Trackers({"seen": seen}))
    params = replicated(model.params)
    counts = []
    for step in (2, 4, 6):
        taken.take(step, params)
        gc.collect()
        counts.append((len(jax.live_arrays()), decode._cache_size()))
    assert counts[1] == counts[2] and counts[0][1] == counts[2][1]  # no arrays stay, nothing is compiled again
    settings = Settings(max_new_tokens=TINY["max_position_embeddings"] // 2, seed=3, rows=2)
    alone = Sampler(*model, Tokenizer.load(model_dir), devices=jax.devices()[:1])
    wanted = alone.complete(PROMPTS, settings)
    rows = read_samples(tmp_path)
    texts = [samples[0].text for samples in wanted]
    assert [(row["step"], row["prompt"], row["completion"]) for row in rows] == [
        (step, prompt, text) for step in (2, 4, 6) for prompt, text in zip(PROMPTS, texts)
    ]
    assert len(set(texts)) == 2
    assert [row for rows in seen.seen for row in rows] == rows


def test_a_resumed_run_keeps_the_samples_up_to_its_checkpoint(tmp_path, model_dir, model):
    rows = [{"step": step, "prompt": "p", "completion": "c"} for step in (1, 2, 3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "samples.jsonl").write_text(text + '{"step": 3, "pro')
    sampler(tmp_path, model_dir, model, resumed_at=2)
    assert read_samples(tmp_path) == rows[:2]


def test_params_that_are_cut_over_devices_are_not_sampled_from_which_is_said_once(tmp_path, model_dir, model, capsys):
    taken = sampler(tmp_path, model_dir, model)
    whole = replicated(model.params)
    mesh = Mesh(np.array(jax.devices()[:2]), ("tensor",))
    cut = jax.device_put(model.params["embed"]["tokens"], NamedSharding(mesh, P("tensor")))
    params = whole | {"embed": whole["embed"] | {"tokens": cut}}
    for step in (2, 4):
        taken.take(step, params)
    said = capsys.readouterr().out
    assert said.count("no sample completions from here on (the model is cut over devices") == 1
    assert not read_samples(tmp_path)


def test_a_sampler_that_finds_no_memory_ends_the_sampling_and_not_the_run(
    tmp_path, model_dir, model, monkeypatch, capsys
):
    def full(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 3 bytes\nand a long trace")

    monkeypatch.setattr(completions, "Sampler", full)
    taken = sampler(tmp_path, model_dir, model)
    taken.take(2, replicated(model.params))
    taken.take(4, replicated(model.params))
    assert capsys.readouterr().out.count("(RESOURCE_EXHAUSTED: 3 bytes); training goes on") == 1


def test_prompts_are_lines_of_json_or_blocks_of_text(tmp_path):
    lines = tmp_path / "p.jsonl"
    lines.write_text('{"task_id": 1, "prompt": "def f():\\n"}\n\n"x = "\n')
    assert read_prompts(lines) == ("def f():\n", "x = ")
    text = tmp_path / "p.txt"
    text.write_text("def f():\n    pass\n\n\nimport os\n")
    assert read_prompts(text) == ("def f():\n    pass\n", "import os\n")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.jsonl", "not json\n", "cannot be read"),
        ("p.jsonl", '{"text": "x"}\n', "cannot be read .KeyError"),
        ("p.jsonl", '{"prompt": 7}\n', "holds no prompt, or one that is no text"),
        ("p.txt", "\n\n", "holds no prompt"),
        ("p.txt", None, "cannot be read .FileNotFoundError"),
    ],
)
def test_a_file_of_no_prompts_is_refused(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(BadPrompts, match=said):
        read_prompts(tmp_path / name)


def test_our_own_prompts_are_code_and_for_apps_problems_in_its_form():
    assert len(CODE) == 3 and not any("ANSWER" in prompt for prompt in CODE)
    assert all(prompt.startswith("\nQUESTION:\n") and prompt.endswith("format\nANSWER:\n") for prompt in PROBLEMS)
    assert ["Call-Based" in prompt for prompt in PROBLEMS] == [False, True]
