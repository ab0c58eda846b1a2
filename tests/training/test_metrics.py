"""Bits a byte in training: the law of modeling.bits_per_byte where the tokens are the same."""

from __future__ import annotations

import math
from functools import partial

import jax
import numpy as np
import pytest

import modeling
from modeling.bits_per_byte import bits_per_byte
from tokenizer_patch import Tokenizer
from training.metrics import bytes_of_tokens, loss_metrics, target_bytes

TEXT = 'def f(x):\n    return "Grüße, 世界" if x else None\n'


def test_the_bytes_of_targets_are_those_of_their_text(tokenizer_dir):
    tokenizer = Tokenizer.load(tokenizer_dir)
    ids = tokenizer.encode(TEXT)
    row = np.array([[tokenizer.eos_token_id, *ids, tokenizer.eos_token_id]], np.int32)
    batch = {"targets": np.repeat(row[:, 1:], 2, 0), "loss_weights": np.ones((2, row.size - 1), np.float32)}
    batch["loss_weights"][1, :5] = 0
    found = target_bytes(batch, bytes_of_tokens(tokenizer))
    weighed = sum(len(tokenizer.token_bytes()[i]) for i in ids[5:])
    assert found.tolist() == [len(TEXT.encode()), weighed]  # end of text has none


def test_bits_a_byte_are_those_of_whole_documents_where_a_block_holds_one(model_dir, tokenizer_dir):
    tokenizer, model = Tokenizer.load(tokenizer_dir), modeling.load(model_dir)
    ids = tokenizer.encode(TEXT)[:40]
    size = int(bytes_of_tokens(tokenizer)[ids].sum())
    wanted = bits_per_byte(model.config, model.params, [(ids, size)], eos_token_id=0, block_size=64)
    stream = np.array([[0, *ids, 0]])
    score = jax.jit(partial(modeling.token_losses, model.config))
    losses = np.asarray(score(model.params, stream[:, :-1], stream[:, 1:]))
    batch = {"targets": stream[:, 1:], "loss_weights": np.ones_like(losses)}
    num_bytes = float(target_bytes(batch, bytes_of_tokens(tokenizer)).sum())
    found = loss_metrics(float(losses.sum()), losses.size, num_bytes)
    assert found["bits_per_byte"] == pytest.approx(wanted, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(losses.mean()), rel=1e-5)
