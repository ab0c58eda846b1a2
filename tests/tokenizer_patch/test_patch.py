"""Law 5, and regression tests for the reference's bugs T1 to T5."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modeling
from modeling.checkpoint import Model
from modeling.decoder import config_from_hf
from tests.conftest import TINY, command, succeed
from tokenizer_patch import CLIPPY_TOKENS, Tokenizer, VocabularyMismatch, patch_params, patch_tokenizer
from tokenizer_patch.bpe import collapse_runs, train_bpe
from tokenizer_patch.patch import tab_id

CODE = "def f(x):\n    if x:\n\t\treturn  x\n        # eight\n" * 3


@pytest.fixture(scope="module")
def patched_dir(model_dir, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patched") / "out"
    said = succeed(
        "-m", "tokenizer_patch", "--model_name_or_path", model_dir, "--output_dir", folder, "--data_dir", corpus
    )
    assert "% saved" in said and str(folder) in said
    return folder


@pytest.fixture(scope="module")
def before(model_dir):
    return modeling.load(model_dir), Tokenizer.load(model_dir)


@pytest.fixture(scope="module")
def after(patched_dir):
    return modeling.load(patched_dir), Tokenizer.load(patched_dir)


def test_four_ordinary_tokens_follow_the_old_ones(before, after):
    (_, old), (_, new) = before, after
    assert [new.backend.token_to_id(token) for token in CLIPPY_TOKENS] == [307, 308, 309, 310]
    assert new.size == 311 and old.size == 307
    added = new.backend.get_added_tokens_decoder()
    assert not any(added[i].special for i in range(307, 311))  # T2: special ones vanish with skip_special_tokens
    assert new.backend.decode(new.encode(CODE), skip_special_tokens=True) == CODE


def test_old_rows_are_untouched_and_each_new_row_is_tabs(before, after):
    (old, tokenizer), (new, _) = before, after
    table_before, table_after = (np.asarray(m.params["embed"]["tokens"]) for m in (old, new))
    np.testing.assert_array_equal(table_after[:307], table_before[:307])  # T1: end of text, row 0 here, among them
    for row in (307, 308, 309, 310):  # T1, T5: all four of them
        np.testing.assert_array_equal(table_after[row], table_before[tab_id(tokenizer)])
    assert new.config.vocab_size == 311


def test_logits_over_old_ids_are_equal_on_every_text_whose_ids_are_unchanged(before, after):
    (old, old_tokenizer), (new, new_tokenizer) = before, after
    text = "def add(a, b):\n return a + b\n"
    assert old_tokenizer.encode(text) == new_tokenizer.encode(text)
    ids = jnp.array([old_tokenizer.encode(text)[:60]])
    one, two = (np.asarray(modeling.logits(m.config, m.params, ids)) for m in (old, new))
    np.testing.assert_allclose(two[..., :307], one, rtol=0, atol=1e-6 * np.abs(one).max())


@settings(max_examples=200, deadline=None)
@given(st.text(st.one_of(st.sampled_from(" \t\n\r.x<|"), st.characters(exclude_categories=["Cs"])), max_size=60))
def test_decoding_what_was_encoded_gives_the_text_back(after, text):
    _, tokenizer = after
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_text_cannot_forge_the_end_of_text(after):
    _, tokenizer = after
    text = "x = '<|endoftext|>'\n"
    assert tokenizer.eos_token_id not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_patching_twice_changes_nothing(patched_dir, tmp_path):
    said = succeed("-m", "tokenizer_patch", "--model_name_or_path", patched_dir, "--output_dir", tmp_path / "again")
    assert "none, all were there" in said
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (patched_dir / name).read_bytes(), name


def test_spare_rows_are_used_and_the_table_never_shrinks(before):
    """T3: a table of 400 rows for 307 tokens, as GPT-J's 50,400 for 50,257."""
    config = config_from_hf({**TINY, "vocab_size": 400})
    spare = Model(config, modeling.init_params(config, 1))
    new = patch_params(spare, [307, 308], tab_id=5)
    assert new.config.vocab_size == 400
    rows, old_rows = (np.asarray(m.params["embed"]["tokens"]) for m in (new, spare))
    np.testing.assert_array_equal(rows[307:309], old_rows[[5, 5]])
    np.testing.assert_array_equal(np.delete(rows, [307, 308], 0)[:398], np.delete(old_rows, [307, 308], 0)[:398])


def test_growth_past_a_multiple_of_128_keeps_the_old_rows():
    config = config_from_hf({**TINY, "vocab_size": 384})
    full = Model(config, modeling.init_params(config, 1))
    new = patch_params(full, [384, 385], tab_id=9)
    rows, old_rows = (np.asarray(m.params["embed"]["tokens"]) for m in (new, full))
    assert rows.shape[0] == 512 and new.config.vocab_size == 386
    np.testing.assert_array_equal(rows[:384], old_rows)
    np.testing.assert_array_equal(rows[384:386], old_rows[[9, 9]])
    assert not rows[386:].any()


def test_a_patched_model_is_what_torch_loads(patched_dir, after):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    oracle = AutoModelForCausalLM.from_pretrained(patched_dir, dtype=torch.float32)
    assert oracle.get_input_embeddings().weight.shape[0] == 311 == len(AutoTokenizer.from_pretrained(patched_dir))
    assert AutoTokenizer.from_pretrained(patched_dir)(CODE)["input_ids"] == after[1].encode(CODE)


def test_a_patch_that_costs_tokens_warns(corpus, tmp_path):
    """A tokenizer trained on plain code has its own tokens for indentation; the patch breaks them up."""
    from data_processing.shards import read_texts, shards_of

    train_bpe(read_texts(shards_of(corpus, "train")), 400, tmp_path / "model")
    config = config_from_hf({**TINY, "vocab_size": 400})
    modeling.save(tmp_path / "model", Model(config, modeling.init_params(config, 0)))
    words = ["--model_name_or_path", tmp_path / "model", "--output_dir", tmp_path / "out", "--data_dir", corpus]
    done = command("-m", "tokenizer_patch", *words)
    rates = json.loads((tmp_path / "out" / "tokenizer_patch.json").read_text())["tokens_per_byte"]
    assert ("the patch costs tokens" in done.stderr) == (rates[1] > rates[0])
    assert rates[1] > rates[0]


def test_a_tokenizer_larger_than_its_table_is_refused(model_dir):
    with pytest.raises(
        VocabularyMismatch, match="300 embedding rows, its tokenizer needs 307; python -m tokenizer_patch"
    ):
        Tokenizer.load(model_dir).require_rows(300, "m")


def test_gpt2s_own_vocabulary_takes_the_patch_and_saves_a_fifth(gpt2_dir, tmp_path, corpus):
    from data_processing.shards import read_texts, shards_of

    assert patch_tokenizer(gpt2_dir, tmp_path) == [50257, 50258, 50259, 50260]
    old, new = Tokenizer.load(gpt2_dir), Tokenizer.load(tmp_path)
    assert old.eos_token_id == new.eos_token_id == 50256
    assert new.encode(" " * 7) == [50259, 50258, 220]  # the longest match wins: four, two, and one that was there
    texts = list(read_texts(shards_of(corpus, "train")))
    assert new.tokens_per_byte(texts) < 0.85 * old.tokens_per_byte(texts)


def test_collapsing_leaves_no_token_for_indentation(tokenizer_dir):
    assert collapse_runs("a \t  b\n\t\tc") == "a b\n c"
    vocabulary = Tokenizer.load(tokenizer_dir).backend.get_vocab()
    assert not any(token.count("Ġ") > 1 or token.count("ĉ") > 1 for token in vocabulary)


def test_all_formats_of_a_tokenizer_folder_give_the_same_ids(gpt2_dir, tmp_path):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(gpt2_dir).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").exists() and not (gpt2_dir / "tokenizer.json").exists()
    assert Tokenizer.load(tmp_path).encode(CODE) == Tokenizer.load(gpt2_dir).encode(CODE)


def test_an_untied_head_is_patched_as_the_input_table_is():
    """T4: by the table's V axis: GPT-J has an input table, a head and the head's bias."""
    config = config_from_hf(
        {
            "model_type": "gptj",
            "vocab_size": 300,
            "n_positions": 32,
            "n_embd": 12,
            "n_layer": 2,
            "n_head": 2,
            "rotary_dim": 4,
        }
    )
    random = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(0), leaf.shape), modeling.init_params(config, 1)
    )
    model = Model(config, random)
    new = patch_params(model, [300, 301], tab_id=4)
    for group, name in (("embed", "tokens"), ("output", "tokens"), ("output", "bias")):
        before, after = (np.asarray(m.params[group][name]) for m in (model, new))
        np.testing.assert_array_equal(after[300:302], before[[4, 4]])
        np.testing.assert_array_equal(after[:300], before[:300])
    changed = jax.tree.map(np.array_equal, new.params["blocks"], model.params["blocks"])
    assert all(jax.tree.leaves(changed)) and new.config.to_hf()["vocab_size"] == 302
