"""Traceless tests: those of which it is plain that they change nothing that outlives them.

Their judge's process then takes the next job too (Job.traceless). Standard library only.
"""

from __future__ import annotations

import ast
import builtins
from functools import lru_cache

NO_CODE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python says of a text that is no program
# Python's own names that tests may use: none opens, prints, imports, executes or sets anything.
EXCEPTIONS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
NAMES = EXCEPTIONS | {
    "abs", "all", "any", "ascii", "bin", "bool", "bytes", "callable", "chr", "complex", "dict", "divmod", "enumerate",
    "filter", "float", "frozenset", "hash", "hex", "int", "isinstance", "issubclass", "iter", "len", "list", "map",
    "max", "min", "next", "oct", "ord", "pow", "range", "repr", "reversed", "round", "set", "slice", "sorted",
    "str", "sum", "tuple", "type", "zip",
}  # fmt: skip
PLAIN = (int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range)
METHODS = {name for kind in PLAIN for name in dir(kind) if not name.startswith("_")}
REFUSED = (
    ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.ClassDef, ast.AsyncFunctionDef, ast.Await, ast.With,
    ast.AsyncWith, ast.AsyncFor, ast.Yield, ast.YieldFrom, ast.Match, ast.Delete,
)  # fmt: skip


@lru_cache(maxsize=1024)  # samples of one problem share its tests
def leaves_no_trace(tests: str, given: frozenset[str] = frozenset()) -> bool:
    """Whether some tests only compute with values and with calls of what they define, of NAMES and of METHODS.

    `given` are names that the judge puts there. Anything else, a module or an attribute that is set say, may leave
    something behind: False, which costs such tests a process of their own and no more.
    """
    try:
        nodes = list(ast.walk(ast.parse(tests)))
    except NO_CODE:
        return False
    if any(isinstance(node, REFUSED) for node in nodes):
        return False
    own = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    if any(name.startswith("__") or (name not in NAMES and hasattr(builtins, name)) for name in own):
        return False  # Python's own `exec` is still had where that name of the tests' is not
    own |= given
    for node in nodes:
        if isinstance(node, ast.Attribute) and not (isinstance(node.ctx, ast.Load) and node.attr in METHODS):
            return False
        if isinstance(node, ast.Name) and (node.id not in own and node.id not in NAMES):
            return False
    return True
