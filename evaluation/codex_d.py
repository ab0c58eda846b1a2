"""Codex-D: docstrings graded by code. A model describes a function, a model writes it again from that, the tests run.

Codex (arXiv:2107.03374, section 5) graded ten docstrings a problem by hand; humanevalexplain (OctoPack,
arXiv:2308.07124) lets the tests do it. A docstring that repeats lines of the code passes for no description here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_processing.document import Dropped
from data_processing.functions import docstring_example, solution_example
from evaluation import humaneval
from evaluation.bleu import NoBleu, corpus_bleu
from evaluation.sandbox.jobs import Job
from interface.errors import UserError

Complete = Callable[[str], str]  # a prompt's completion, cut at its stops

LONGEST_QUOTE = 20  # characters of a line of code from which on a docstring that has it counts as a copy
COPIED, NO_DOCSTRING = "failed: the docstring repeats the code", "failed: no docstring"
_DOCSTRING = re.compile(r'\s*[rRuU]?("""|\'\'\')(.*?)\1', re.DOTALL)


class NotDescribable(UserError):
    """A problem's solution is no function with a docstring and a body."""


@dataclass(frozen=True)
class Function:
    """A problem's function in three parts, lines whole; `prompt` asks for the docstring, as models are trained."""

    signature: str
    docstring: str
    body: str
    prompt: str


@dataclass(frozen=True)
class Retold:
    """A docstring by a model, and what a model made of it; `refused` says why no code was asked for."""

    task_id: str
    docstring: str
    prompt: str
    completion: str
    refused: str = ""

    def job(self, problem: Mapping[str, Any], **options: Any) -> Job:
        """The judgement of the code by the problem's own tests."""
        return humaneval.job(self.task_id, {**problem, "prompt": self.prompt}, self.completion, **options)


def function_of(problem: Mapping[str, Any]) -> Function:
    """Take a problem in HumanEval's form apart.  Raises: NotDescribable."""
    source = problem["prompt"] + problem["canonical_solution"]
    described, solved = docstring_example(source), solution_example(source)
    if isinstance(described, Dropped) or isinstance(solved, Dropped):
        reason = described.reason if isinstance(described, Dropped) else ""
        raise NotDescribable(
            f"{problem['task_id']} ends with no function to describe ({reason}); wanted a docstring and a body"
        )
    docstring = described.answer
    signature = solved.prompt.rstrip("\n").removesuffix(docstring.rstrip("\n"))
    return Function(signature, docstring, solved.answer, described.prompt)


def docstring_of(text: str) -> str | None:
    """The docstring that a completion begins with, its lines whole; None where there is none.

    >>> docstring_of('    \"\"\"Add two numbers.\"\"\"\\nx = 1')
    '    \"\"\"Add two numbers.\"\"\"\\n'
    """
    found = _DOCSTRING.match(text)
    return text[: found.end()].lstrip("\n") + "\n" if found else None


def copies(docstring: str, body: str) -> bool:
    """Whether a docstring has a line of the code in it."""
    lines = (line.strip() for line in body.split("\n"))
    return any(len(line) >= LONGEST_QUOTE and line in docstring for line in lines)


def describable(problems: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The problems that can be described, and the names of the others: of HumanEval one, whose docstring comes late."""
    kept, left_out = [], []
    for problem in problems:
        try:
            function_of(problem)
            kept.append(problem)
        except NotDescribable:
            left_out.append(problem["task_id"])
    return kept, left_out


def retell(problems: Sequence[Mapping[str, Any]], describe: Complete, write: Complete) -> Iterator[Retold]:
    """Have every problem's solution described, and code written from the description alone.  Raises: NotDescribable."""
    for problem in problems:
        function = function_of(problem)
        task_id = problem["task_id"]
        docstring = docstring_of(describe(function.prompt))
        if docstring is None:
            yield Retold(task_id, "", "", "", NO_DOCSTRING)
        elif copies(docstring, function.body):
            yield Retold(task_id, docstring, "", "", COPIED)
        else:
            prompt = function.signature + docstring
            yield Retold(task_id, docstring, prompt, write(prompt))


def scores(retold: Sequence[Retold], passed: Mapping[str, bool], problems: Mapping[str, Any]) -> dict[str, float]:
    """The share of docstrings whose code passes, and where sacrebleu is there, their BLEU against the problems' own."""
    references = [function_of(problems[one.task_id]).docstring for one in retold]
    found = {
        "pass@1": sum(passed.get(one.task_id, False) for one in retold) / len(retold),
        "refused": sum(bool(one.refused) for one in retold) / len(retold),
    }
    try:
        return found | {"bleu": corpus_bleu([one.docstring for one in retold], references)}
    except NoBleu:
        return found
