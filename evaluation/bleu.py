"""BLEU, by sacrebleu with its default tokens (13a): a score of texts, beside which the tests say what works.

The Codex paper (arXiv:2107.03374, section 2.2) shows the two apart: samples that pass and samples that fail have BLEU
scores that overlap widely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from interface.errors import UserError


class NoBleu(UserError):
    """sacrebleu is not installed."""


def corpus_bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of texts, 0 to 100, each against one reference.  Raises: NoBleu."""
    return float(_sacrebleu().corpus_bleu(list(texts), [list(references)]).score)


def sentence_bleu(text: str, references: Sequence[str]) -> float:
    """BLEU of one text, 0 to 100, against several references; orders that a short text lacks are left out."""
    return float(_sacrebleu().sentence_bleu(text, list(references), use_effective_order=True).score)


def bleu_by_verdict(samples: Iterable[tuple[str, bool]], references: Sequence[str]) -> dict[str, list[float]]:
    """The BLEU of each sample of a task against its solutions, those that pass and those that fail apart."""
    found: dict[str, list[float]] = {"passed": [], "failed": []}
    for text, passed in samples:
        found["passed" if passed else "failed"].append(sentence_bleu(text, references))
    return found


def overlap(passing: Sequence[float], failing: Sequence[float]) -> float | None:
    """The chance that a failing sample has a higher BLEU than a passing one, ties halved; None where one side is empty.

    0 where BLEU tells the two apart, 0.5 where it says nothing.

    >>> overlap([40.0, 60.0], [10.0, 50.0])
    0.25
    """
    if not passing or not failing:
        return None
    difference = np.subtract.outer(np.asarray(failing), np.asarray(passing))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise NoBleu("BLEU needs sacrebleu: pip install -e '.[bleu]'") from error
    return sacrebleu
