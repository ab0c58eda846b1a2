"""Prefills are shared, devices share the work, and neither changes a bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modeling
from data_processing.apps_prompt import apps_prompt
from generation import PromptTooLong, Sampler, Settings
from generation.decoding import place
from modeling.execution import Execution
from tests.conftest import succeed
from tokenizer_patch import Tokenizer

PROMPTS = ["def add(a, b):", "import os\n\nclass A:\n    def f(self):\n", "x", "y = 3", "for i in"]
WISH = Settings(max_new_tokens=19, temperature=0.9, seed=3, rows=3)


@pytest.fixture(scope="module")
def parts(model_dir):
    model = modeling.load(model_dir)
    return model.config, model.params, Tokenizer.load(model_dir)


@pytest.fixture(scope="module")
def alone(parts):
    return Sampler(*parts, devices=jax.devices()[:1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_of_devices_does_not_change_a_bit(parts, dtype):
    made = []
    for devices in (1, 2, 8):
        sampler = Sampler(*parts, dtype=dtype, devices=jax.devices()[:devices])
        made.append(sampler.complete(PROMPTS, WISH, num_samples=5))
    assert made[0] == made[1] == made[2]  # log-probabilities too
    assert len({completion.text for completion in made[0][0]}) > 1


def test_a_prompt_is_prefilled_once_whatever_the_number_of_its_samples(parts, alone):
    """13 samples of a prompt take five batches of three rows, some of them shared with the next prompt."""
    before = alone.num_prefills
    together = alone.complete(PROMPTS, WISH, num_samples=13)
    assert alone.num_prefills - before == len(PROMPTS)
    other = Sampler(*parts, devices=jax.devices()[:1])
    assert other.complete(PROMPTS[:1], WISH, num_samples=4)[0] == together[0][:4]


def test_pieces_of_the_stream_add_up_to_the_completion(alone):
    for prompt in PROMPTS:
        free = alone.complete([prompt], WISH)[0][0].text
        for stop in ((), (free[4:6] or "never",), (free[11:12] or "never", "ever")):
            wish = Settings(max_new_tokens=19, temperature=0.9, seed=3, rows=3, stop=stop)
            assert "".join(alone.stream(prompt, wish)) == alone.complete([prompt], wish)[0][0].text


def test_a_long_prompt_is_cut_from_the_left_where_the_caller_says_so(parts, alone):
    config, _, tokenizer = parts
    ids = tokenizer.encode("a = 1\n" * 40)
    room = config.max_position_embeddings - 19
    tail = tokenizer.decode(ids[-room:])
    assert tokenizer.encode(tail) == ids[-room:]
    (cut,), (short,) = (alone.complete([text], WISH, cut_prompts=True)[0] for text in ("a = 1\n" * 40, tail))
    assert cut.prompt_tokens_cut == len(ids) - room and short.prompt_tokens_cut == 0
    assert (cut.tokens, cut.log_probability) == (short.tokens, short.log_probability)
    with pytest.raises(PromptTooLong, match="--cut_prompts"):
        alone.complete(["a = 1\n" * 40], WISH)
    with pytest.raises(PromptTooLong):
        alone.complete(["a"], Settings(max_new_tokens=config.max_position_embeddings), cut_prompts=True)


def test_matrices_are_bfloat16_once_and_vectors_stay_float32(parts):
    config, params, _ = parts
    _, placed = place(config, params, "bfloat16", jax.devices()[:1])
    kinds = {
        f"{group}.{name}": str((leaf[0] if isinstance(leaf, tuple) else leaf).dtype)
        for group, leaves in placed.items()
        for name, leaf in leaves.items()
    }
    assert kinds["embed.tokens"] == kinds["blocks.query"] == "bfloat16"
    assert kinds["blocks.up_bias"] == kinds["blocks.norm_1_scale"] == kinds["final.norm_bias"] == "float32"


def test_bfloat16_log_probabilities_are_of_float32_scores(parts):
    """The sum over a completion is the full forward's, to bfloat16's rounding of the operands only."""
    config, params, tokenizer = parts
    made = Sampler(*parts, dtype="bfloat16", devices=jax.devices()[:1]).complete(PROMPTS[:1], WISH)[0][0]
    ids = tokenizer.encode(PROMPTS[0])
    whole = jnp.array([[*ids, *made.tokens]])
    chances = np.asarray(jax.nn.log_softmax(modeling.logits(config, params, whole, how=Execution("bfloat16"))))[0]
    wanted = sum(chances[len(ids) - 1 + i, token] for i, token in enumerate(made.tokens))
    assert made.log_probability == pytest.approx(wanted, rel=5e-3, abs=5e-3)


def test_apps_asks_with_the_prompt_of_training(model_dir, tmp_path):
    question, starter = tmp_path / "question.txt", tmp_path / "starter.py"
    question.write_text("Add two.")
    starter.write_text("def add(a, b):")
    words = ["-m", "generation", "--model", model_dir, "--format", "apps", "--question", question]
    words += ["--max_new_tokens", 3, "--cut_prompts"]
    assert succeed(*words).startswith(apps_prompt("Add two."))
    assert succeed(*words, "--starter_code", starter).startswith(apps_prompt("Add two.", "def add(a, b):"))
