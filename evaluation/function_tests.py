"""Function tests: input-output pairs of a function that nobody vouches for, and the proof that they test something.

A function is kept where its values are equal in two processes (other hash seed, other seed of `random`, calls in the
opposite order), its solution passes the tests made of them, one that returns a constant fails, and so does at least
half of its mutants.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_processing.guessed_inputs import guess_inputs
from data_processing.literal_calls import Call, Seen
from data_processing.mutants import mutants, returning
from data_processing.standalone import Candidate
from evaluation import humaneval, tracing
from evaluation.literals import NotPlain, spell
from evaluation.sandbox import Job, Limits, Outcome, Sandbox
from evaluation.tracing import GIVEN, PRINTS, TIMED_OUT

PAIRS = 10  # of a function, its given ones not counted
DISTINCT = 2  # values among them, at least
SOLUTION, CONSTANT = -1, -2  # among the numbers of mutants
TOO_FEW, UNSTABLE, FAILS = "too few different pairs", "unstable", "fails its own tests"
NO_MUTANT, SURVIVED = "nothing to mutate", "mutants survive"


@dataclass(frozen=True)
class Subject:
    """A candidate, what its document shows of it, and where it is from."""

    task_id: str
    candidate: Candidate
    seen: Seen
    meta: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A call's arguments and its value, as text; `source` says who chose the input: given, called or guessed."""

    call: Call
    arguments: str
    value: str
    source: str


@dataclass(frozen=True)
class Demands:
    """What a function must have and do."""

    min_examples: int = 3
    mutants: int = 6
    timeout: float = 1.0  # seconds of one call, and of all tests of a function
    seed: int = 0


def decide(subjects: Sequence[Subject], first: Sandbox, second: Sandbox, demands: Demands) -> list[dict[str, Any]]:
    """{"row": ...} or {"dropped": reason} for each subject. The sandboxes differ in their hash seeds."""
    made: dict[int, dict[str, Any]] = {}
    inputs = {number: _inputs(subject, demands) for number, subject in enumerate(subjects)}
    pairs: dict[int, list[Pair]] = {}
    for outcome in first.judge(_trace_jobs(subjects, inputs, demands)):
        found = _pairs(outcome, inputs[outcome.key], demands)
        if isinstance(found, str):
            made[outcome.key] = {"dropped": found}
        else:
            pairs[outcome.key] = found
    stable = []
    for outcome in second.judge(_again_jobs(subjects, pairs, demands)):
        wrong = _difference(outcome, pairs[outcome.key])
        if wrong:
            made[outcome.key] = {"dropped": wrong}
        else:
            stable.append(outcome.key)
    verdicts: dict[int, dict[int, Outcome]] = defaultdict(dict)
    for outcome in second.judge(_test_jobs(subjects, pairs, sorted(stable), demands)):
        number, mutant = outcome.key
        verdicts[number][mutant] = outcome
    for number, judged in verdicts.items():
        wrong = _survivors(judged)
        failed = [not outcome.passed for mutant, outcome in judged.items() if mutant >= 0]
        counts = {"tried": len(failed), "failed": sum(failed)}
        made[number] = {"dropped": wrong} if wrong else {"row": row(subjects[number], pairs[number], counts)}
    return [made[number] for number in range(len(subjects))]


def row(subject: Subject, pairs: Sequence[Pair], mutated: dict[str, int]) -> dict[str, Any]:
    """A kept function: a problem in HumanEval's form, which the pairs' builder reads too."""
    candidate = subject.candidate
    examples = [{"input": pair.arguments, "output": pair.value, "source": pair.source} for pair in pairs]
    return {
        "task_id": subject.task_id, "prompt": candidate.prompt, "entry_point": candidate.name,
        "canonical_solution": candidate.solution, "test": test_of(pairs), "examples": examples, "mutants": mutated,
        "meta": subject.meta,
    }  # fmt: skip


def test_of(pairs: Sequence[Pair]) -> str:
    asserts = "".join(f"    assert candidate({pair.arguments}) == {pair.value}\n" for pair in pairs)
    return f"def check(candidate):\n{asserts}"


Labelled = tuple[Call, str, str, tuple[Any, ...]]  # a call, its arguments' text, its source, its given value


def _inputs(subject: Subject, demands: Demands) -> list[list[Labelled]]:
    """Groups of different calls, the document's own before the guessed ones."""
    candidate, seen = subject.candidate, subject.seen
    found: list[list[tuple[Call, str, tuple[Any, ...]]]] = [
        [(call, "given", (value,)) for call, value in seen.examples.get(candidate.name, ())],
        [(call, "called", ()) for call in seen.calls.get(candidate.name, ())],
    ]
    guessed = guess_inputs(candidate.node, f"{demands.seed} {candidate.code}")
    found += [[(call, "guessed", ()) for call in group] for group in guessed]
    known: set[str] = set()
    groups = []
    for group in found:
        fresh = []
        for call, source, given in group:
            try:
                text = spell_arguments(call)
            except NotPlain:
                continue
            if text not in known:
                known.add(text)
                fresh.append((call, text, source, given))
        groups.append(fresh)
    return groups


def spell_arguments(call: Call) -> str:
    """What stands between the brackets of a call.  Raises: NotPlain."""
    return ", ".join([*map(spell, call.arguments), *(f"{name}={spell(value)}" for name, value in call.named.items())])


def _trace_jobs(
    subjects: Sequence[Subject], inputs: dict[int, list[list[Labelled]]], demands: Demands
) -> Iterator[Job]:
    for number, groups in inputs.items():
        candidate = subjects[number].candidate
        plain = [[(call.arguments, call.named, given) for call, _, _, given in group] for group in groups]
        yield tracing.job(
            number, candidate.prompt + candidate.solution, candidate.name, plain,
            seconds=demands.timeout, enough=PAIRS, distinct=DISTINCT, seed=0,
        )  # fmt: skip


def _pairs(outcome: Outcome, inputs: list[list[Labelled]], demands: Demands) -> list[Pair] | str:
    """The pairs of a traced function, or why it is dropped."""
    if not outcome.passed:
        return TIMED_OUT if outcome.status == "timed out" else tracing.GONE
    causes: dict[str, int] = outcome.detail["causes"]
    for cause in (GIVEN, PRINTS):
        if cause in causes:
            return cause
    found = []
    for group, place, value in outcome.detail["values"]:
        call, arguments, source, _ = inputs[group][place]
        found.append(Pair(call, arguments, value, source))
    kept = [pair for pair in found if pair.source == "given"]
    shown = {pair.value for pair in kept}
    later: list[Pair] = []
    for pair in found:
        if pair.source != "given":
            (later if pair.value in shown else kept).append(pair)
            shown.add(pair.value)
    num_given = sum(pair.source == "given" for pair in kept)
    kept = [*kept, *later][: num_given + PAIRS]
    if len(kept) >= demands.min_examples and len(shown) >= DISTINCT:
        return kept
    if TIMED_OUT in causes:
        return TIMED_OUT
    return TOO_FEW if kept or not causes else min(causes, key=lambda cause: (-causes[cause], cause))


def _again_jobs(subjects: Sequence[Subject], pairs: dict[int, list[Pair]], demands: Demands) -> Iterator[Job]:
    for number in sorted(pairs):
        candidate = subjects[number].candidate
        calls = [(pair.call.arguments, pair.call.named, ()) for pair in reversed(pairs[number])]
        yield tracing.job(
            number, candidate.prompt + candidate.solution, candidate.name, [calls],
            seconds=demands.timeout, enough=len(calls) + 1, distinct=0, seed=1,
        )  # fmt: skip


def _difference(outcome: Outcome, pairs: list[Pair]) -> str | None:
    """Why the second run is not as the first one; None where it is."""
    if not outcome.passed:
        return TIMED_OUT if outcome.status == "timed out" else UNSTABLE
    if TIMED_OUT in outcome.detail["causes"]:
        return TIMED_OUT
    found = [value for _, _, value in outcome.detail["values"]]
    return None if found == [pair.value for pair in reversed(pairs)] else UNSTABLE


def _test_jobs(
    subjects: Sequence[Subject], pairs: dict[int, list[Pair]], stable: Sequence[int], demands: Demands
) -> Iterator[Job]:
    """The tests on the solution, on a body that returns the commonest value, and on mutants."""
    limits = Limits(demands.timeout)
    for number in stable:
        candidate = subjects[number].candidate
        problem = {"prompt": candidate.prompt, "entry_point": candidate.name, "test": test_of(pairs[number])}
        yield humaneval.job((number, SOLUTION), problem, candidate.solution, limits=limits)
        values = Counter(pair.value for pair in pairs[number])
        commonest = returning(candidate.node, max(sorted(values), key=values.__getitem__))
        changed = mutants(candidate.node, demands.mutants, f"{demands.seed} {candidate.code}")
        for mutant, text in [(CONSTANT, commonest), *enumerate(changed)]:
            bare = problem | {"prompt": ""}
            yield humaneval.job((number, mutant), bare, candidate.imports + text, limits=limits)


def _survivors(verdicts: dict[int, Outcome]) -> str | None:
    """Why these verdicts on a solution and on its mutants are not those of good tests."""
    solution = verdicts[SOLUTION]
    if not solution.passed:
        return TIMED_OUT if solution.status == "timed out" else FAILS
    tried = [outcome for mutant, outcome in verdicts.items() if mutant >= 0]
    if not tried:
        return NO_MUTANT
    failed = sum(not outcome.passed for outcome in tried)
    return None if not verdicts[CONSTANT].passed and 2 * failed >= len(tried) else SURVIVED
