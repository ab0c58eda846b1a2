"""pass@k, reranking and BLEU: numbers by hand, and slower plain forms."""

from __future__ import annotations

import doctest
import itertools
import math

import pytest

from evaluation import bleu, pass_at_k, reranking
from evaluation.bleu import NoBleu, bleu_by_verdict, corpus_bleu, overlap
from evaluation.pass_at_k import Tally, mean_pass_at_k, oracle
from evaluation.reranking import NoLogProbability, Ranked, rerank


@pytest.mark.parametrize("module", [pass_at_k, reranking, bleu], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_run(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


def test_the_estimate_is_the_share_of_all_choices_of_k_samples_that_hold_a_passing_one():
    for n in range(1, 9):
        for c in range(n + 1):
            samples = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                choices = list(itertools.combinations(samples, k))
                assert math.isclose(pass_at_k.pass_at_k(n, c, k), sum(map(any, choices)) / len(choices), abs_tol=1e-12)


def test_the_estimate_does_not_overflow():
    assert 0 < pass_at_k.pass_at_k(10**6, 1, 1) < 2e-6


def test_only_such_k_are_reported_as_every_task_has_samples_for():
    assert set(mean_pass_at_k([Tally(200, 1), Tally(10, 0)])) == {"pass@1", "pass@10"}
    assert mean_pass_at_k([]) == {}


def test_the_published_table_of_gpt_neo_125m():
    """Ten samples a task, two of the 164 tasks solved by one sample each: .12, .24, .61 and 1.22 %."""
    tallies = [Tally(10, 1)] * 2 + [Tally(10, 0)] * 162
    found = mean_pass_at_k(tallies, (1, 2, 5, 10))
    assert [round(100 * value, 2) for value in found.values()] == [0.12, 0.24, 0.61, 1.22]
    assert oracle(tallies) == found["pass@10"]


def test_reranking_takes_the_likeliest_and_the_first_of_equals():
    tasks = {
        "likeliest passes": [Ranked(-2.0, False), Ranked(-0.5, True), Ranked(-1.0, False)],
        "likeliest fails": [Ranked(-0.1, False), Ranked(-3.0, True), Ranked(-3.5, False)],
        "first of equals": [Ranked(-1.0, True), Ranked(-1.0, False), Ranked(-1.0, False)],
        "nothing to choose": [Ranked(-1.0, False), Ranked(-2.0, False), Ranked(-3.0, False)],
    }
    found = rerank(tasks)
    assert found == {"best_mean_log_probability": 0.5, "random": pytest.approx(0.25), "oracle": 0.75}


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_sample_without_its_likelihood_cannot_be_ranked(missing):
    with pytest.raises(NoLogProbability, match="sample 1 of t has no mean_log_probability"):
        rerank({"t": [Ranked(-1.0, False), Ranked(missing, False)]})


def test_bleu_is_100_for_the_reference_alone():
    texts = ["for each word count its letters", "return the sum of both numbers"]
    assert corpus_bleu(texts, texts) == pytest.approx(100)
    assert corpus_bleu(texts, texts[::-1]) < 20
    scores = bleu_by_verdict([(texts[0], True), (texts[1], False), ("for each word", False)], [texts[0]])
    assert scores["passed"] == [pytest.approx(100)]
    assert all(0 <= value < 100 for value in scores["failed"]) and len(scores["failed"]) == 2
    assert overlap(scores["passed"], scores["failed"]) == 0.0
    assert overlap([1.0], []) is None


def test_without_sacrebleu_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(NoBleu, match=r"pip install -e '.\[bleu\]'"):
        corpus_bleu(["a"], ["a"])
