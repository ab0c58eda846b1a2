"""Law 6: greedy equals torch's, the nucleus is the smallest set, a completion does not depend on its company."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modeling
from generation import PromptTooLong, Sampler, Settings, complete
from generation.sampling import choose, nucleus
from tests.conftest import command, succeed
from tokenizer_patch import Tokenizer

PROMPTS = ["def add(a, b):", "import os\n\nclass A:\n    def f(self):\n", "x"]


@pytest.fixture(scope="module")
def parts(model_dir):
    model = modeling.load(model_dir)
    return model.config, model.params, Tokenizer.load(model_dir)


NUCLEUS = jax.jit(nucleus)  # else each call compiles its loop again


def lists_of(values: st.SearchStrategy, **how: bool) -> st.SearchStrategy:
    """Of a few lengths: each is compiled for."""
    return st.sampled_from([1, 2, 7, 40]).flatmap(lambda size: st.lists(values, min_size=size, max_size=size, **how))


@settings(max_examples=150, deadline=None)
@given(lists_of(st.integers(1, 10_000), unique=True), st.floats(0.01, 1.0))
def test_the_nucleus_is_the_smallest_set_that_reaches_p(weights, p):
    chances = np.array(weights, np.float32)
    chances /= chances.sum(dtype=np.float32)
    kept = np.asarray(NUCLEUS(jnp.asarray(chances)[None], p))[0]
    descending = np.sort(chances)[::-1].astype(np.float64)
    size = int(kept.sum())
    assert np.all(np.sort(chances[kept])[::-1] == np.sort(chances)[::-1][:size])  # the most probable ones
    slack = 1e-5  # float32 sums
    assert descending[:size].sum() >= p - slack
    assert descending[: size - 1].sum() < p + slack


def test_the_nucleus_by_hand():
    chances = jnp.array([[0.5, 0.25, 0.15, 0.1], [0.1, 0.2, 0.3, 0.4]])
    assert nucleus(chances, 0.74).tolist() == [[True, True, False, False], [False, True, True, True]]
    assert nucleus(chances, 0.5).tolist()[0] == [True, False, False, False]
    assert nucleus(chances, 1.0).all()


def test_samples_follow_the_tempered_nucleus():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    draws = 20_000
    keys = jax.random.split(jax.random.key(0), draws)
    found = choose(jnp.tile(logits, (draws, 1)), keys, 0.5, 0, 0.9)
    squared = np.array([0.25, 0.09, 0, 0])  # temperature 0.5 squares: .25 .09 .0225 .0025; two of them reach 0.9
    share = np.bincount(np.asarray(found), minlength=4) / draws
    np.testing.assert_allclose(share, squared / squared.sum(), atol=0.015)
    assert share[2] == share[3] == 0


def test_temperature_zero_takes_the_most_probable():
    logits = jnp.array([[1.0, 3.0, 2.0]])
    assert choose(logits, jax.random.split(jax.random.key(0), 1), 0.0, 0, 0.5).tolist() == [1]


def test_greedy_equals_torch(parts, model_dir):
    torch = pytest.importorskip("torch", reason="torch is the oracle; ./run.sh test installs it")
    from transformers import AutoModelForCausalLM

    oracle = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    config, params, tokenizer = parts
    found = complete(config, params, tokenizer, PROMPTS, Settings(max_new_tokens=21, temperature=0))
    for prompt, (completion,) in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        wanted = oracle.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=21, do_sample=False, pad_token_id=0
        )[0, ids.shape[1] :].tolist()
        wanted = wanted[: wanted.index(0)] if 0 in wanted else wanted
        assert list(completion.tokens) == wanted
        assert completion.text == tokenizer.decode(wanted)


def test_a_completion_does_not_depend_on_what_shares_its_batch(parts):
    config, params, tokenizer = parts
    wish = Settings(max_new_tokens=19, temperature=0.9, seed=3)
    together = complete(config, params, tokenizer, PROMPTS, wish, num_samples=5)
    alone = complete(config, params, tokenizer, PROMPTS[:1], wish, num_samples=2)
    assert alone[0] == together[0][:2]
    assert len({completion.text for completion in together[0]}) > 1  # samples differ
    other = complete(config, params, tokenizer, PROMPTS[:1], Settings(max_new_tokens=19, temperature=0.9, seed=4))
    assert other[0][0] != alone[0][0]


def test_a_longer_budget_begins_with_the_shorter_ones_tokens(parts):
    config, params, tokenizer = parts
    short, long = (
        complete(config, params, tokenizer, PROMPTS[:1], Settings(max_new_tokens=n, temperature=0.9, seed=3))[0][0]
        for n in (7, 30)
    )
    assert long.tokens[: len(short.tokens)] == short.tokens and len(short.tokens) <= 7


def test_a_stop_string_cuts_the_text_wherever_the_tokens_end(parts):
    config, params, tokenizer = parts
    wish = {"max_new_tokens": 30, "temperature": 0.9, "seed": 3}
    free = complete(config, params, tokenizer, PROMPTS[:1], Settings(**wish))[0][0]
    stop = free.text[3:5]
    cut = complete(config, params, tokenizer, PROMPTS[:1], Settings(**wish, stop=(stop,)))[0][0]
    assert cut.ended_by == "stop" and cut.text == free.text[: free.text.index(stop)]


def test_the_log_probability_is_the_models_own_over_the_tokens_that_end_before_the_cut(parts):
    """Whatever the temperature and the nucleus; a token that reaches past the cut is not counted."""
    config, params, tokenizer = parts
    wish = {"max_new_tokens": 25, "temperature": 0.7, "top_p": 0.8, "seed": 3}
    free = complete(config, params, tokenizer, PROMPTS[:2], Settings(**wish), num_samples=2)
    stop = free[0][0].text[6:8]
    cut = complete(config, params, tokenizer, PROMPTS[:2], Settings(**wish, stop=(stop,)), num_samples=2)
    assert cut[0][0].ended_by == "stop"
    for prompt, samples in zip(PROMPTS[:2] * 2, free + cut, strict=True):
        for completion in samples:
            ids = tokenizer.encode(prompt)
            whole = jnp.array([[*ids, *completion.tokens]])
            chances = np.asarray(jax.nn.log_softmax(modeling.logits(config, params, whole)))[0]
            wanted = [chances[len(ids) - 1 + i, token] for i, token in enumerate(completion.tokens)]
            assert completion.log_probability == pytest.approx(sum(wanted), rel=1e-4, abs=1e-4)
            mean = sum(wanted) / max(len(wanted), 1)
            assert completion.mean_log_probability == pytest.approx(mean, rel=1e-4, abs=1e-4)
            assert completion.text.startswith(tokenizer.decode(completion.tokens))
    shorter = [len(tokenizer.decode(free[0][0].tokens[:n])) <= len(cut[0][0].text) for n in range(1, 26)]
    assert len(cut[0][0].tokens) == sum(shorter)


def test_end_of_text_ends_a_completion(parts):
    config, params, tokenizer = parts
    table = params["embed"]["tokens"]
    # a model whose last hidden state is always e_0, and whose end-of-text row answers to it
    sure = jax.tree.map(lambda leaf: leaf, params)
    sure["final"] = {"norm_scale": jnp.zeros(21), "norm_bias": jnp.zeros(21).at[0].set(50.0)}
    sure["embed"] = {**params["embed"], "tokens": table.at[0, 0].set(9.0)}
    found = complete(config, sure, tokenizer, ["x = 1"], Settings(max_new_tokens=9, temperature=0.2))[0][0]
    assert found.text == "" and found.tokens == () and found.ended_by == "end_of_text"


def test_a_prompt_that_does_not_fit_is_refused(parts):
    config, params, tokenizer = parts
    with pytest.raises(PromptTooLong, match=r"has \d+ tokens and may grow by 60; the model has 64 positions"):
        complete(config, params, tokenizer, ["def add(a, b):"], Settings(max_new_tokens=60))


def test_the_command_prints_or_writes_what_the_library_gives(parts, model_dir, tmp_path):
    config, params, tokenizer = parts
    wish = Settings(max_new_tokens=11, temperature=0.9, seed=2)
    wanted = complete(config, params, tokenizer, PROMPTS, wish, num_samples=2)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"task_id": i, "prompt": p}) + "\n" for i, p in enumerate(PROMPTS)))
    words = ["-m", "generation", "--model", model_dir, "--max_new_tokens", 11, "--temperature", 0.9, "--seed", 2]
    said = succeed(*words, "--prompts_file", prompts, "--num_samples", 2, "--output", tmp_path / "samples.jsonl")
    found = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in found] == [c.text for samples in wanted for c in samples]
    assert [(row["task_id"], row["sample"]) for row in found] == [(str(n // 2), n % 2) for n in range(6)]
    assert [row["mean_log_probability"] for row in found] == [c.mean_log_probability for s in wanted for c in s]
    assert "wrote 6 samples" in said and "samples.jsonl.settings.json" in said
    header = json.loads((tmp_path / "samples.jsonl.settings.json").read_text())
    assert (header["temperature"], header["top_k"], header["seed"], header["rows"]) == (0.9, 0, 2, 16)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--prompt", "x", "--top_p", "0"], "--top_p is 0.0"),
        (["--prompt", "x", "--temperature=-1"], "--temperature is -1.0"),
        (["--prompt", "x", "--top_k=-1"], "--top_k is -1"),
        (["--prompt", "x", "--rows=0"], "--rows is 0; wanted 1 or more"),
        (["--prompt", "x", "--temperature", "nan"], "--temperature is nan"),
        (["--prompt", "x", "--seed", "99999999999"], "--seed is 99999999999; wanted 0 or more, below 2^31"),
        (["--prompt", "x", "--top_k", "99999999999"], "--top_k is 99999999999"),
        (["--prompt", "x", "--stop", ""], "wanted strings that are not empty"),
        (["--prompt", "x", "--max_new_tokens", "0"], "--max_new_tokens is 0"),
        (["--prompt", "x", "--max_new_tokens", "64", "--cut_prompts"], "positions. Lower --max_new_tokens"),
        (["--prompt", "x", "--output", "tests"], "--output tests is a folder"),
        ([], "either --prompt or --prompts_file"),
        (["--format", "apps"], "--format apps and --question go together"),
        (["--prompt", "x", "--starter_code", "f"], "--starter_code belongs to an APPS problem"),
        (["--format", "apps", "--question", "nowhere"], "no file at nowhere"),
        (["--interactive", "--num_samples", "2"], "leave out --output and --num_samples"),
        (["--prompts_file", "nowhere"], "no file at nowhere"),
        (["--prompt", "x", "--max_new_tokens", "999"], "64 positions"),
    ],
)
def test_bad_input_ends_with_status_2(model_dir, words, wanted):
    done = command("-m", "generation", "--model", model_dir, *words)
    assert done.returncode == 2 and wanted in done.stderr and "Traceback" not in done.stderr


def test_a_missing_model_is_named():
    done = command("-m", "generation", "--model", "./nowhere", "--prompt", "x")
    assert done.returncode == 2 and "no model folder at ./nowhere" in done.stderr


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"\n\n", "holds no prompt"),
        (b'\n\n{"task_id": 1, "prompt": "x"}\n{"task_id": 1}\n', "line 4 is none of the wanted"),
        (b'{"task_id": 1, "prompt": null}\n', "line 1 has a prompt of type NoneType"),
    ],
)
def test_a_prompts_file_that_is_none_is_refused(tmp_path, content, wanted):
    from generation.__main__ import Generate, _tasks
    from interface.errors import UserError

    (tmp_path / "prompts.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=wanted):
        _tasks(Generate(model="m", prompts_file=str(tmp_path / "prompts.jsonl")))


def test_a_prompts_samples_do_not_change_with_the_prompts_before_it(parts):
    config, params, tokenizer = parts
    wish = Settings(max_new_tokens=9, temperature=1.0, seed=3)
    sampler = Sampler(config, params, tokenizer)
    whole = sampler.complete(PROMPTS, wish, names=["a", "b", "c"], num_samples=2)
    assert sampler.complete(PROMPTS[1:], wish, names=["b", "c"], num_samples=2) == whole[1:]
    assert sampler.complete(PROMPTS[1:], wish, names=["b", "d"], num_samples=2)[1] != whole[2]
