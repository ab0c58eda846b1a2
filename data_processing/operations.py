"""Operations: the small steps that the practice tasks are chains of, each in words and in Python.

An operation takes the value that the step before it left, under the name of its kind: `numbers` (a list of int), `text`
(str), `words` (a list of str) or `number` (int). Every one of them is total: it has a result for any value of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["numbers", "text", "words", "number"]


@dataclass(frozen=True)
class Operation:
    """One step: ways to say it and a line of Python for the value it makes; `{k}` is a number of `choices`."""

    name: str
    takes: Kind
    gives: Kind
    sayings: tuple[str, ...]
    code: str
    choices: tuple[int | str, ...] = ()


def _of(takes: Kind, gives: Kind, *rows: tuple[object, ...]) -> list[Operation]:
    """Operations of one pair of kinds: (name, sayings, code[, choices])."""
    return [Operation(str(row[0]), takes, gives, row[1], str(row[2]), *row[3:]) for row in rows]  # type: ignore[arg-type]


SMALL = tuple(range(2, 10))

OPERATIONS: tuple[Operation, ...] = (
    *_of("numbers", "numbers",
        ("add", ("add {k} to each number", "increase every number by {k}"), "[n + {k} for n in numbers]", SMALL),
        ("subtract", ("subtract {k} from each number", "decrease every number by {k}"),
         "[n - {k} for n in numbers]", SMALL),
        ("multiply", ("multiply each number by {k}", "scale every number by {k}"), "[n * {k} for n in numbers]", SMALL),
        ("square", ("square each number", "replace every number by its square"), "[n * n for n in numbers]"),
        ("negate", ("negate each number", "flip the sign of every number"), "[-n for n in numbers]"),
        ("absolute", ("take the absolute value of each number", "drop the sign of every number"),
         "[abs(n) for n in numbers]"),
        ("remainder", ("take the remainder of each number divided by {k}", "reduce every number modulo {k}"),
         "[n % {k} for n in numbers]", SMALL),
        ("keep_even", ("keep the even numbers", "remove the odd numbers"), "[n for n in numbers if n % 2 == 0]"),
        ("keep_odd", ("keep the odd numbers", "remove the even numbers"), "[n for n in numbers if n % 2 == 1]"),
        ("keep_above", ("keep the numbers greater than {k}", "remove the numbers that are at most {k}"),
         "[n for n in numbers if n > {k}]", SMALL),
        ("keep_below", ("keep the numbers less than {k}", "remove the numbers that are at least {k}"),
         "[n for n in numbers if n < {k}]", SMALL),
        ("drop_multiples", ("remove the multiples of {k}", "drop the numbers that {k} divides"),
         "[n for n in numbers if n % {k} != 0]", SMALL),
        ("sort", ("sort the numbers in ascending order", "order the numbers from smallest to largest"),
         "sorted(numbers)"),
        ("sort_down", ("sort the numbers in descending order", "order the numbers from largest to smallest"),
         "sorted(numbers, reverse=True)"),
        ("reverse", ("reverse the order of the numbers", "put the numbers in reverse order"), "numbers[::-1]"),
        ("distinct", ("remove repeated numbers", "keep the first of equal numbers"), "list(dict.fromkeys(numbers))"),
        ("first", ("take the first {k} numbers", "keep only the first {k} numbers"), "numbers[:{k}]", SMALL[:4]),
        ("last", ("take the last {k} numbers", "keep only the last {k} numbers"), "numbers[-{k}:]", SMALL[:4]),
        ("every_other", ("take every second number", "keep every other number"), "numbers[::2]"),
        ("running", ("replace the numbers by their running totals", "take the running sums of the numbers"),
         "[sum(numbers[:i + 1]) for i in range(len(numbers))]"),
        ("gaps", ("take the differences of neighbouring numbers", "replace the numbers by the gaps between them"),
         "[b - a for a, b in zip(numbers, numbers[1:])]"),
        ("rotate", ("move the first number to the end", "rotate the numbers left by one"), "numbers[1:] + numbers[:1]"),
        ("append_length", ("append the count of numbers to them", "put the count of the numbers at their end"),
         "numbers + [len(numbers)]"),
    ),
    *_of("numbers", "number",
        ("sum", ("add them up", "compute the sum of the numbers"), "sum(numbers)"),
        ("largest", ("find the largest number, or 0", "take the maximum, 0 if there is none"),
         "max(numbers, default=0)"),
        ("smallest", ("find the smallest number, or 0", "take the minimum, 0 if there is none"),
         "min(numbers, default=0)"),
        ("how_many", ("count the numbers", "tell how many numbers there are"), "len(numbers)"),
        ("spread", ("take the difference of the largest and the smallest, or 0", "compute the range of the numbers"),
         "max(numbers, default=0) - min(numbers, default=0)"),
        ("count_above", ("count the numbers greater than {k}", "tell how many numbers exceed {k}"),
         "len([n for n in numbers if n > {k}])", SMALL),
    ),
    *_of("numbers", "text",
        ("join_commas", ("join the numbers with commas", "write the numbers with commas between them"),
         '",".join(str(n) for n in numbers)'),
    ),
    *_of("text", "text",
        ("upper", ("make the text upper case", "turn all letters into capitals"), "text.upper()"),
        ("lower", ("make the text lower case", "turn all letters into small ones"), "text.lower()"),
        ("swap_case", ("swap the case of the letters", "exchange small and capital letters"), "text.swapcase()"),
        ("backwards", ("reverse the text", "write the text backwards"), "text[::-1]"),
        ("no_vowels", ("remove the vowels", "drop all vowels"),
         '"".join(c for c in text if c.lower() not in "aeiou")'),
        ("no_spaces", ("remove the spaces", "drop all spaces"), 'text.replace(" ", "")'),
        ("letters", ("keep only the letters", "remove all but letters"), '"".join(c for c in text if c.isalpha())'),
        ("twice", ("repeat the text twice", "append the text to itself"), "text * 2"),
        ("head", ("take the first {k} characters", "keep only the first {k} characters"), "text[:{k}]", SMALL),
        ("tail", ("take the last {k} characters", "keep only the last {k} characters"), "text[-{k}:]", SMALL),
        ("replace", ('replace each "{k}" by "*"', 'put "*" in place of every "{k}"'),
         'text.replace("{k}", "*")', ("a", "e", "i", "o", "n", "r", "s", "t")),
        ("double", ("double each character", "write every character twice"), '"".join(c * 2 for c in text)'),
        ("alternate", ("take every second character", "keep every other character"), "text[::2]"),
        ("sort_letters", ("sort the characters", "put the characters in order"), '"".join(sorted(text))'),
        ("brackets", ("put the text in square brackets", "enclose the text in square brackets"), '"[" + text + "]"'),
    ),
    *_of("text", "words",
        ("split", ("split the text into words", "cut the text at white space"), "text.split()"),
    ),
    *_of("text", "numbers",
        ("codes", ("take the code of each character", "replace the characters by their codes"),
         "[ord(c) for c in text]"),
    ),
    *_of("text", "number",
        ("length", ("count the characters", "compute the length of the text"), "len(text)"),
        ("vowels", ("count the vowels", "tell how many vowels there are"), 'sum(c.lower() in "aeiou" for c in text)'),
        ("occurrences", ('count how often "{k}" occurs', 'tell how many times "{k}" appears'), 'text.count("{k}")',
         ("a", "e", "i", "o", "n", "r", "s", "t")),
        ("capitals", ("count the capital letters", "tell how many letters are capitals"),
         "sum(c.isupper() for c in text)"),
    ),
    *_of("words", "words",
        ("sort_words", ("sort the words", "put the words in alphabetical order"), "sorted(words)"),
        ("by_length", ("sort the words by length", "order the words from shortest to longest"),
         "sorted(words, key=len)"),
        ("reverse_words", ("reverse the order of the words", "put the words in reverse order"), "words[::-1]"),
        ("long_words", ("keep the words longer than {k}", "remove the words of at most {k} characters"),
         "[w for w in words if len(w) > {k}]", SMALL[:4]),
        ("short_words", ("keep the words shorter than {k}", "remove the words of at least {k} characters"),
         "[w for w in words if len(w) < {k}]", SMALL[1:6]),
        ("upper_words", ("make each word upper case", "turn every word into capitals"), "[w.upper() for w in words]"),
        ("title_words", ("capitalize each word", "start every word with a capital"), "[w.capitalize() for w in words]"),
        ("distinct_words", ("remove repeated words", "keep the first of equal words"), "list(dict.fromkeys(words))"),
        ("flip_words", ("reverse each word", "write every word backwards"), "[w[::-1] for w in words]"),
        ("first_words", ("take the first {k} words", "keep only the first {k} words"), "words[:{k}]", SMALL[:3]),
    ),
    *_of("words", "text",
        ("join_spaces", ("join the words with spaces", "write the words with spaces between them"), '" ".join(words)'),
        ("join_dashes", ("join the words with dashes", "write the words with dashes between them"), '"-".join(words)'),
        ("initials", ("join the first letters of the words", "make a text of the words' first letters"),
         '"".join(w[0] for w in words)'),
    ),
    *_of("words", "numbers",
        ("lengths", ("take the length of each word", "replace the words by their lengths"), "[len(w) for w in words]"),
    ),
    *_of("words", "number",
        ("count_words", ("count the words", "tell how many words there are"), "len(words)"),
        ("longest", ("find the length of the longest word, or 0", "take the greatest length of a word, 0 if none"),
         "max((len(w) for w in words), default=0)"),
    ),
    *_of("number", "number",
        ("plus", ("add {k}", "increase it by {k}"), "number + {k}", SMALL),
        ("minus", ("subtract {k}", "decrease it by {k}"), "number - {k}", SMALL),
        ("times", ("multiply by {k}", "scale it by {k}"), "number * {k}", SMALL),
        ("modulo", ("take the remainder of dividing by {k}", "reduce it modulo {k}"), "number % {k}", SMALL),
        ("quotient", ("divide by {k} and round down", "take the whole quotient by {k}"), "number // {k}", SMALL),
        ("squared", ("square it", "multiply it by itself"), "number * number"),
        ("opposite", ("negate it", "flip its sign"), "-number"),
        ("digit_sum", ("add up its digits", "compute the sum of its digits"),
         "sum(int(d) for d in str(abs(number)))"),
    ),
    *_of("number", "text",
        ("as_text", ("write it in decimal", "turn it into text"), "str(number)"),
        ("binary", ("write it in binary", "turn it into binary digits"), 'format(number, "b")'),
    ),
    *_of("number", "numbers",
        ("digits", ("list its digits", "take its digits as numbers"), "[int(d) for d in str(abs(number))]"),
        ("count_up", ("list the numbers from 1 to its last digit", "count from 1 up to its last digit"),
         "list(range(1, abs(number) % 10 + 1))"),
    ),
)  # fmt: skip
