"""APPS programs: the text that is run for a solution, as the official scorer makes it.

A solution to a call-based problem runs after the prelude as it is. One that reads standard input becomes the body of a
function, so that it can be run once a test: with all that follows from it (its names are local to that function, lines
inside its strings gain a tab, `from __future__` comes too late).
Source: hendrycks/apps, eval/testing_util.py, in our own words.
"""

from __future__ import annotations

ENTRY = "code"  # the function that a stdin solution becomes

PRELUDE = """\
import sys
import time
import itertools
from itertools import accumulate, product, permutations, combinations
import collections
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
import math
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
import fractions
from typing import List, Tuple
import numpy as np
import random
import heapq
from heapq import *
"""


def call_program(solution: str) -> str:
    """The module that defines the function or the class Solution."""
    return PRELUDE + solution


def stdin_program(solution: str) -> str:
    """The module whose function `code` is the solution.

    Imports at the left edge stay outside as long as nothing else has come; those after it are indented too. A solution
    of nothing but imports has no such function.

    >>> print(stdin_program("import re\\nx = input()\\nimport os\\nprint(x)")[len(PRELUDE):].expandtabs(4))
    import re
    stdin = sys.stdin
    stdout = sys.stdout
    def code():
        x = input()
        import os
        print(x)
    <BLANKLINE>
    """
    lines = []
    started = False
    for line in solution.split("\n"):
        outside = line.startswith(("from ", "import "))
        if not outside and not started:
            lines += ["stdin = sys.stdin", "stdout = sys.stdout", f"def {ENTRY}():"]
            started = True
        lines.append("\t" + line if started else line)
    return PRELUDE + "\n".join(lines) + "\n"


def is_class_based(solution: str) -> bool:
    """Whether the tested function is looked for in an object of the solution's class Solution."""
    return "class Solution" in solution
