"""Conversation: prompts in turns, each after all that was asked and answered before (CodeGen, arXiv:2203.13474)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

ENDS = (r"^#", re.escape("<|endoftext|>"), r"^'''", r'^"""', r"\n\n\n")


def truncate(completion: str) -> str:
    """Cut an answer where its turn is over, by the rule of CodeGen's multi-turn sampling.

    Before the second line that begins with `print`, then before the second that begins with `def`, then before the
    first comment or docstring at a line's beginning, end of text or two empty lines.

    >>> truncate("x = 1\\nprint(x)\\nprint(2)\\n"), truncate("return 1\\n\\n\\n\\nmore")
    ('x = 1\\nprint(x)\\n', 'return 1')
    """
    for word in ("print", "def"):
        lines = [found.start() for found in re.finditer(f"^{word}", completion, re.MULTILINE)]
        completion = completion[: lines[1]] if len(lines) > 1 else completion
    ends = [found.start() for end in ENDS if (found := re.search(end, completion, re.MULTILINE))]
    return completion[: min(ends)] if ends else completion


def blocks(lines: Iterable[str]) -> Iterator[str]:
    """Join lines into blocks, which end at an empty line or where the input does."""
    block: list[str] = []
    for line in lines:
        if line.strip():
            block.append(line.rstrip("\n"))
        elif block:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def converse(turns: Iterable[str], complete: Callable[[str], str]) -> Iterator[str]:
    """Yield the answer to each turn; `complete` gets the whole history, ended by the turn and a line break."""
    history = ""
    for turn in turns:
        history += turn + "\n"
        answer = truncate(complete(history))
        history += answer + "\n\n"
        yield answer
