"""Every way of running computes the same function; law 8 for segments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import modeling
from modeling.attention import BLOCK, self_attention, visible
from modeling.attention import attend as attend_seen
from modeling.attention_kernels import cudnn_attention, splash_attention
from modeling.decoder import PLAIN, TooManyTokens, config_from_hf
from modeling.dropout import row_keys
from modeling.execution import Execution, UnsupportedExecution, choose
from modeling.layers import Pass, look_up, period
from tests.conftest import TINY
from tests.modeling.test_families import CONFIGS

B, H, K = 2, 3, 8


def close(found, wanted, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        scale = float(jnp.max(jnp.abs(b))) or 1.0
        np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=0)


def random_rows(T, width=K):
    keys = jax.random.split(jax.random.key(3), 3)
    return tuple(jax.random.normal(key, (B, H, T, width)) for key in keys)


def segments(T):
    return jnp.stack([jnp.arange(T) // 37, jnp.arange(T) // 101])


def attend(way, rows, window, segment_ids, scale=0.7):
    query, key, value = (x.swapaxes(1, 2).reshape(B, x.shape[2], -1) for x in rows)
    this = Pass(Execution(attention=way), jnp.arange(query.shape[1])[None], segment_ids_BT=segment_ids)
    return self_attention(query, key, value, None, this, num_heads=H, scale=scale, window=window)[0]


def slow_attention(rows, window, segment_ids, scale=0.7):
    """A loop over queries that gathers what each sees."""
    query, key, value = (np.asarray(x).swapaxes(1, 2) for x in rows)
    segment_ids = None if segment_ids is None else np.asarray(segment_ids)
    mixed = np.zeros_like(query)
    for b, t, h in np.ndindex(*query.shape[:3]):
        seen = [
            s for s in range(t + 1)
            if (window is None or t - s < window) and (segment_ids is None or segment_ids[b, s] == segment_ids[b, t])
        ]  # fmt: skip
        scores = key[b, seen, h] @ query[b, t, h] * scale
        weights = np.exp(scores - scores.max())
        mixed[b, t, h] = weights @ value[b, seen, h] / weights.sum()
    return mixed.reshape(*query.shape[:2], -1)


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("window", [None, 1, 100, 131])
@pytest.mark.parametrize("way", ["plain", "blocked"])
def test_attention_equals_a_loop_over_queries(way, window, with_segments):
    T = 2 * BLOCK + 7
    rows, ids = random_rows(T), segments(T) if with_segments else None
    close(attend(way, rows, window, ids), slow_attention(rows, window, ids))


@pytest.mark.parametrize(("window", "with_segments"), [(None, True), (100, False)])
def test_gradients_in_blocks_equal_autodiff_over_all_scores(window, with_segments):
    T = 2 * BLOCK + 7
    rows, ids = random_rows(T), segments(T) if with_segments else None
    seen = visible(jnp.arange(T), jnp.arange(T), None, window)
    if with_segments:
        seen &= ids[:, :, None] == ids[:, None]

    def plain(*rows):
        return attend_seen(*rows, seen, 0.7, "float32").swapaxes(1, 2).reshape(B, T, -1)

    def gradients(function):
        return jax.jit(jax.grad(lambda rows: jnp.sum(jnp.sin(function(*rows)))))(rows)

    close(gradients(lambda *rows: attend("blocked", rows, window, ids)), gradients(plain))


KERNELS = {
    "cudnn": lambda *words: cudnn_attention(*words, implementation="xla"),
    "splash": lambda *words: splash_attention(*words, interpret=True),
}


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize(
    ("window", "dtype"), [(None, "float32"), (100, "float32"), (100, "bfloat16"), (999, "float32")]
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_equal_plain_attention_and_its_gradients(kernel, window, dtype, with_segments):
    """cuDNN's call is computed by XLA here, splash attention by its own code, interpreted."""
    T = 131
    rows, ids = random_rows(T), segments(T) if with_segments else None
    weights = jnp.cos(jnp.arange(B * T * H * K)).reshape(B, T, -1)

    def loss(rows, attention):
        return jnp.sum(attention(rows) * weights)

    def with_kernel(rows):
        mixed_BHTK = KERNELS[kernel](rows[0] * 0.7, *rows[1:], ids, window, dtype)
        return mixed_BHTK.swapaxes(1, 2).reshape(B, T, -1)

    found = jax.value_and_grad(loss)(rows, with_kernel)
    wanted = jax.value_and_grad(loss)(rows, lambda rows: attend("plain", rows, window, ids))
    close(found, wanted, 1e-4 if dtype == "float32" else 3e-2)


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN's own kernel wants an NVIDIA GPU")
@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("window", [None, 100])
def test_cudnns_own_kernel_equals_plain_attention(window, with_segments):
    rows, ids = random_rows(131), segments(131) if with_segments else None
    found = cudnn_attention(rows[0] * 0.7, *rows[1:], ids, window, "bfloat16")
    close(found.swapaxes(1, 2).reshape(B, 131, -1), attend("plain", rows, window, ids), 3e-2)


def test_work_of_a_window_grows_with_it_and_not_with_the_square_of_the_length():
    def flops(way, T):
        query = jax.ShapeDtypeStruct((B, H, T, K), jnp.float32)
        return (
            jax.jit(lambda *rows: attend(way, rows, 64, None))
            .lower(query, query, query)
            .compile()
            .cost_analysis()["flops"]
        )

    assert flops("plain", 2048) > 3.5 * flops("plain", 1024)
    assert flops("blocked", 2048) < 2.2 * flops("blocked", 1024)


# --- the whole model -----------------------------------------------------------------------------------------------

DEEP = {**TINY, "num_layers": 4, "attention_types": [[["global", "local"], 2]], "vocab_size": 157}
WAYS = {
    "blocked": Execution(attention="blocked"),
    "dots": Execution(remat="dots"),
    "block": Execution(remat="block"),
    "scan": Execution(scan=True),
    "scan and block": Execution(scan=True, remat="block"),
    "one logit a chunk": Execution(logits_alive=1),
    "chunks that do not divide": Execution(logits_alive=3 * 256 * 5),
    "all": Execution(attention="blocked", remat="dots", scan=True, logits_alive=1000),
}
T = 23


def loss_and_gradients(config, params, how, *, dropout=False, **where):
    tokens = jax.random.randint(jax.random.key(1), (3, T + 1), 0, config.vocab_size)
    keys = row_keys(0, 5, jnp.arange(3)) if dropout else None

    def loss(params):
        losses = modeling.token_losses(
            config, params, tokens[:, :-1], tokens[:, 1:], how=how, dropout_keys_B=keys, **where
        )
        return jnp.sum(losses * jnp.cos(jnp.arange(T)))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module", params=["gpt_neo", "gpt2 by layer"])
def deep(request):
    hf = DEEP if request.param == "gpt_neo" else {**CONFIGS["gpt2"], "scale_attn_by_inverse_layer_idx": True}
    config = config_from_hf(hf)
    params = modeling.init_params(config, 4)
    return config, params, loss_and_gradients(config, params, Execution())


@pytest.mark.parametrize("name", WAYS)
def test_every_way_gives_the_plain_loss_and_gradients(deep, name):
    config, params, wanted = deep
    close(loss_and_gradients(config, params, WAYS[name]), wanted)


def test_scan_and_remat_drop_what_the_unrolled_pass_drops():
    config = config_from_hf({**DEEP, "attention_dropout": 0.3, "resid_dropout": 0.2, "embed_dropout": 0.1})
    params = modeling.init_params(config, 4)
    wanted = loss_and_gradients(config, params, Execution(), dropout=True)
    assert wanted[0] != loss_and_gradients(config, params, Execution())[0]
    close(loss_and_gradients(config, params, Execution(scan=True, remat="block"), dropout=True), wanted)


def test_remat_and_chunks_keep_less(deep):
    config, params, _ = deep
    tokens = jnp.zeros((8, 60), jnp.int32)

    def kept(how):
        """Bytes that the forward pass hands to the backward pass, beside the params."""

        def loss(params):
            return modeling.token_losses(config, params, tokens, tokens, how=how).sum()

        backward = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    assert kept(Execution(remat="block")) < kept(Execution(remat="dots")) < kept(Execution())
    all_logits = tokens.size * config.table_rows * 4
    assert kept(Execution(logits_alive=config.table_rows * 16)) < kept(Execution()) - all_logits


@pytest.mark.parametrize("name", ["gpt_neo", "gptj", "codegen", "gpt2"])
def test_a_segment_with_its_own_positions_is_a_text_of_its_own(name):
    """Law 8: two documents in one row give what each gives alone."""
    config = config_from_hf(CONFIGS[name])
    params = modeling.init_params(config, 4)
    tokens = jax.random.randint(jax.random.key(1), (1, 20), 0, config.vocab_size)
    positions = jnp.concatenate([jnp.arange(7), jnp.arange(13)])[None]
    ids = jnp.repeat(jnp.arange(2), jnp.array([7, 13]))[None]
    for way in ("plain", "blocked"):
        how = Execution(attention=way)
        both = modeling.logits(config, params, tokens, how=how, positions_BT=positions, segment_ids_BT=ids)
        alone = [modeling.logits(config, params, part) for part in (tokens[:, :7], tokens[:, 7:])]
        close(both, jnp.concatenate(alone, axis=1))


def test_more_tokens_than_positions_are_refused():
    config = config_from_hf(TINY)
    params = modeling.init_params(config, 4)
    with pytest.raises(TooManyTokens, match="65 tokens a row; the model has 64 positions"):
        modeling.logits(config, params, jnp.zeros((1, 65), jnp.int32))


def test_rows_of_a_bfloat16_table_have_the_gradient_of_a_gather():
    table = jax.random.normal(jax.random.key(0), (11, 3)).astype(jnp.bfloat16)
    index = jnp.array([[1, 1], [7, 0]])
    weights = jnp.arange(12.0).reshape(2, 2, 3)
    found = jax.grad(lambda table: jnp.sum(look_up(table, index, PLAIN) * weights))(table)
    wanted = jax.grad(lambda table: jnp.sum(table.astype(jnp.float32)[index] * weights))(table)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(wanted, np.float32))
    np.testing.assert_array_equal(look_up(table, index, PLAIN), table.astype(jnp.float32)[index])


# --- choice --------------------------------------------------------------------------------------------------------


def test_the_platform_decides():
    config = config_from_hf({**TINY, "hidden_size": 64, "num_heads": 1})
    assert choose(config, "bfloat16", platform="cpu") == Execution("bfloat16", "blocked")
    tpu = choose(config, "bfloat16", platform="tpu", remat="block")
    assert (tpu.attention, tpu.scan, tpu.remat) == ("splash", True, "block") and tpu.logits_alive
    assert choose(config, "float32", platform="gpu").attention == "blocked"
    assert choose(config, attention="plain", platform="tpu").attention == "plain"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"attention": "splash", "platform": "cpu"}, "--attention splash cannot run here: it is a TPU kernel"),
        ({"attention": "cudnn", "platform": "cpu"}, "it is an NVIDIA GPU's, and this is a cpu"),
        ({"attention": "cudnn", "platform": "gpu"}, "16-bit operands only"),
        ({"attention": "cudnn", "platform": "gpu", "dtype": "bfloat16"}, "heads are 7 wide; it takes .* up to 256"),
    ],
)
def test_what_cannot_run_is_refused(words, wanted):
    with pytest.raises(UnsupportedExecution, match=wanted):
        choose(config_from_hf(TINY), **words)


def test_a_gpu_that_is_only_described_is_taken_for_a_new_one():
    wide = config_from_hf({**TINY, "hidden_size": 256, "num_heads": 1})
    assert choose(wide, "bfloat16", platform="gpu").attention == "cudnn"


def test_an_old_gpu_has_no_flash_attention(monkeypatch):
    class T4:
        compute_capability = "7.5"

    monkeypatch.setattr(jax, "local_devices", lambda: [T4()])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = config_from_hf({**TINY, "hidden_size": 64, "num_heads": 1})
    for capability, wanted in (("7.5", "blocked"), ("gfx90a", "blocked"), ("8.0", "cudnn")):
        T4.compute_capability = capability
        assert choose(config, "bfloat16").attention == wanted
    wide = config_from_hf({**TINY, "hidden_size": 256, "num_heads": 1})
    assert choose(wide, "bfloat16").attention == "blocked"


@pytest.mark.parametrize(
    ("windows", "wanted"),
    [
        ((None,) * 5, 1),
        ((None, 4) * 3, 2),
        ((None, 4, None), 3),
        ((None, 4, 4, None, 4, 4), 3),
        ((4, 4, None, None), 4),
    ],
)
def test_period_is_the_shortest_that_divides(windows, wanted):
    assert period(windows) == wanted
