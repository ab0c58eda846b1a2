"""Standalone functions: each reason for leaving one out, and prompts that are harmless to execute."""

from __future__ import annotations

import ast

import pytest

from data_processing import standalone
from data_processing.document import Dropped
from data_processing.functions import NO_BODY, NO_DOCSTRING
from data_processing.pair_rows import example_of
from data_processing.standalone import MODULES, Candidate, lines_of, parse, pick


def picked(text: str) -> dict[str, Candidate | str]:
    text = lines_of(text)
    return {
        name: found.reason if isinstance(found, Dropped) else found for name, found in pick(text, parse(text))
    }  # fmt: skip


DOC = '    """Doc."""\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(x):\n    return x\n", NO_DOCSTRING),
        (f"def f(x):\n{DOC}", NO_BODY),
        (f"async def f(x):\n{DOC}    return x\n", standalone.ASYNC),
        (f"def f(x):\n{DOC}    yield x\n", standalone.ASYNC),
        (f"@wrap\ndef f(x):\n{DOC}    return x\n", standalone.DECORATED),
        (f"def test_f(x):\n{DOC}    return x\n", standalone.TEST),
        (f"def f():\n{DOC}    return 1\n", standalone.PARAMETERS),
        (f"def f(a, b, c, d, e, g, h):\n{DOC}    return 1\n", standalone.PARAMETERS),
        (f"def f(x):\n{DOC}    return x + '{'y' * 4000}'\n", standalone.TOO_LONG),
        (f"def f(x):\n{DOC}    return {'-' * 80}x\n", standalone.TOO_LONG),
        (f"def f(x=print(1)):\n{DOC}    return x\n", standalone.DEFAULTS),
        (f"def f(*, x=[] + []):\n{DOC}    return x\n", standalone.DEFAULTS),
        (f"def f(x: print(1)):\n{DOC}    return x\n", standalone.ANNOTATIONS),
        (f"def f(x, *y: print(1)):\n{DOC}    return x\n", standalone.ANNOTATIONS),
        (f"def f(x) -> (lambda: 0):\n{DOC}    return x\n", standalone.ANNOTATIONS),
        (f"def f(x):\n{DOC}    return open(x)\n", standalone.SIDE_EFFECTS),
        (f"def f(x):\n{DOC}    return __import__(x)\n", standalone.SIDE_EFFECTS),
        (f"def f(x):\n{DOC}    global y\n    y = x\n", standalone.SIDE_EFFECTS),
        (f"def f(x):\n{DOC}    return g(x)\n", standalone.NOT_STANDALONE),
        (f"Y = 1\ndef f(x):\n{DOC}    return [Y for _ in x]\n", standalone.NOT_STANDALONE),
        (f"def f(x: Thing):\n{DOC}    return x\n", standalone.NOT_STANDALONE),
        (f"def len(y):\n    return 1\ndef f(x):\n{DOC}    return len(x)\n", standalone.NOT_STANDALONE),
        (f"try:\n    import re\nexcept ImportError:\n    re = None\ndef f(x):\n{DOC}    return re.x\n",
         standalone.NOT_STANDALONE),
        (f"from math import *\ndef f(x):\n{DOC}    return sqrt(x)\n", standalone.NOT_STANDALONE),
        (f"import os.path\ndef f(x):\n{DOC}    return os.path.join(x)\n", standalone.IMPORTS),
        (f"from .math import sqrt\ndef f(x):\n{DOC}    return sqrt(x)\n", standalone.IMPORTS),
        (f"def f(x):\n{DOC}    import time\n    return x\n", standalone.IMPORTS),
        (f"def f(x):\n{DOC}    from random import randint\n    return x\n", standalone.IMPORTS),
    ],
)  # fmt: skip
def test_what_does_not_stand_alone_is_dropped_with_its_reason(text, reason):
    assert list(picked(text).values())[-1] == reason


def test_a_candidate_brings_its_imports_and_is_the_sources_own_lines():
    text = (
        "import os, re as r\nimport collections.abc\nfrom math import (sqrt,\n  pi as p)\n\n\n"
        f"def f(x: 'Thing', *rest: int, y: collections.abc.Sized | None = -1, **more):\n{DOC}"
        "    # the body\n    def g(z):\n        return f(z, p)\n    import json\n"
        "    return [r.sub(i, i, i) for i in x]  # so\n\nf([])\n"
    )
    found = picked(text)["f"]
    assert isinstance(found, Candidate)
    assert found.imports == "from math import pi as p\nimport collections.abc\nimport re as r\n\n\n"
    assert found.prompt + found.solution == found.imports + text[text.index("def f") : text.index("\nf([])")]
    assert found.solution.startswith("    # the body\n")


def test_line_ends_are_python_s():
    text = f"import math\r\n\rdef f(x):\r\n{DOC}    return math.floor(x)\r"
    found = picked(text)["f"]
    assert found.prompt + found.solution == f"import math\n\n\ndef f(x):\n{DOC}    return math.floor(x)\n"


def test_of_two_functions_of_one_name_the_last_counts():
    text = f"def f(x):\n{DOC}    return 1\ndef f(x):\n{DOC}    return 2\n"
    first, second = (found for _, found in pick(text, parse(text)))
    assert first == Dropped(standalone.REDEFINED) and second.solution == "    return 2\n"


def test_equal_code_is_known_by_another_name_and_docstring():
    one = picked(f"def f(x):\n{DOC}    return x + 1\n")["f"]
    other = picked("def g(x):\n    'Other.'\n    return x  +  1  # so\n")["g"]
    different = picked(f"def f(x):\n{DOC}    return x + 2\n")["f"]
    assert one.code == other.code != different.code


@pytest.mark.parametrize("text", ["def f(:\n", "\0", "(" * 3000, "x = " + "-" * 100_000 + "1"])
def test_what_is_no_python_is_no_document(text):
    assert parse(text) == Dropped(standalone.NOT_PYTHON)


def test_a_document_that_parses_but_does_not_compile_gives_no_candidate():
    text = f"def f(x):\n{DOC}    return len(x)\nreturn 1\nnonlocal x\n"
    assert picked(text) == {"f": standalone.NOT_STANDALONE}


def test_prompts_of_the_standard_library_are_imports_and_one_signature():
    """They are executed by judges outside the wall: nothing else may stand in them."""
    import shlex
    import statistics
    import textwrap
    from pathlib import Path

    found = 0
    for module in (shlex, statistics, textwrap, ast, standalone):
        for candidate in picked(Path(module.__file__).read_text()).values():
            if not isinstance(candidate, Candidate):
                continue
            found += 1
            *imports, function = ast.parse(candidate.prompt).body
            assert isinstance(function, ast.FunctionDef) and len(function.body) == 1 and not function.decorator_list
            assert ast.get_docstring(function, clean=False) is not None
            for default in (*function.args.defaults, *filter(None, function.args.kw_defaults)):
                ast.literal_eval(default)
            for node in imports:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert isinstance(node, ast.Import | ast.ImportFrom) and set(names) <= MODULES
            row = {"prompt": candidate.prompt, "canonical_solution": candidate.solution}
            solved, described = example_of(row, "codex_s"), example_of(row, "codex_d")
            assert solved.prompt + solved.answer == candidate.prompt + candidate.solution
            assert described.prompt.endswith(candidate.solution.rstrip("\n") + "\n")
            assert ast.get_docstring(function, clean=False) in ast.literal_eval(described.answer.strip())
    assert found >= 5
