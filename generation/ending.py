"""Ending: where a completion is cut, and how much of an unfinished one is already certain."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizer_patch.tokenizer import Tokenizer

End = Literal["end_of_text", "stop", "length"]
UNDECODED = "\ufffd"  # what a tokenizer writes for bytes that are no UTF-8, or not yet


@dataclass(frozen=True)
class Completion:
    """What followed a prompt, cut before the stop string or end of text that ended it.

    `log_probability` is the sum over the tokens that end before the cut, in nats, under the model itself: neither
    tempered nor cut to a nucleus (Codex, arXiv:2107.03374, section 3.3, ranks by its mean). The end is not counted.
    `prompt_tokens_cut` says how many tokens at the prompt's start the model did not see.
    """

    text: str
    tokens: tuple[int, ...]
    ended_by: End
    log_probability: float
    prompt_tokens_cut: int = 0

    @property
    def mean_log_probability(self) -> float:
        """Nats a token; 0 for an empty completion."""
        return self.log_probability / max(len(self.tokens), 1)


def cut(
    ids: Sequence[int], chances: Sequence[float], tokenizer: Tokenizer, stops: Sequence[str], prompt_tokens_cut: int = 0
) -> Completion:
    """Cut tokens at the first end-of-text token or stop string, whichever comes first in the text."""
    ended = tokenizer.eos_token_id in ids
    kept = tuple(ids[: list(ids).index(tokenizer.eos_token_id)] if ended else ids)
    text = tokenizer.decode(kept)
    ended_by: End = "end_of_text" if ended else "length"
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    if places:
        text, ended_by = text[: min(places)], "stop"
        whole = bisect_right(range(len(kept)), len(text), key=lambda n: len(tokenizer.decode(kept[: n + 1])))
        kept = kept[:whole]
    return Completion(text, kept, ended_by, math.fsum(chances[: len(kept)]), prompt_tokens_cut)


def settled(text: str, stops: Sequence[str]) -> str:
    """The part of an unfinished text that nothing which follows can change or cut.

    Held back are a character whose bytes have not all come, and an end that may be the beginning of a stop string.

    >>> settled("return x\\n\\nde", ["\\ndef"]), settled("caf\ufffd", [])
    ('return x\\n', 'caf')
    """
    text = text.rstrip(UNDECODED)
    held = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return text[: len(text) - max(held, default=0)]


def pieces(texts: Iterable[tuple[str, bool]], stops: Sequence[str]) -> Iterator[str]:
    """Turn a growing text, given as (text so far, whether it is finished), into pieces that add up to the last one."""
    said = 0
    for text, finished in texts:
        certain = text if finished else settled(text, stops)
        if len(certain) > said:
            yield certain[said:]
            said = len(certain)
