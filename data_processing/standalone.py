"""Standalone functions: those of a document that can be run and tested alone. Told by syntax; nothing is executed.

A prompt that is made here is harmless to execute: imports of MODULES, and one `def` whose defaults are literals and
whose annotations are names.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from data_processing.document import Dropped
from data_processing.functions import solution_example

# Of the standard library, what computes values from values: no clock, no files, no chance, no system.
MODULES = frozenset((
    "abc", "array", "base64", "binascii", "bisect", "cmath", "collections", "collections.abc", "colorsys", "copy",
    "dataclasses", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "html", "itertools",
    "json", "keyword", "math", "numbers", "operator", "re", "shlex", "statistics", "string", "struct", "textwrap",
    "typing", "unicodedata", "urllib.parse", "zlib",
))  # fmt: skip
REFUSED = frozenset((
    "__import__", "breakpoint", "compile", "eval", "exec", "exit", "globals", "help", "input", "locals", "open",
    "print", "quit", "vars",
))  # fmt: skip
BUILTINS = frozenset(dir(builtins)) - REFUSED
MAX_CHARACTERS = 4_000  # of signature, docstring and body
MAX_PARAMETERS = 6
MAX_DEPTH = 60  # of the syntax: whoever walks it calls itself some times a level
Function = ast.FunctionDef | ast.AsyncFunctionDef

NOT_PYTHON = "not Python 3"
ASYNC, DECORATED, TEST = "async or a generator", "decorated", "a test"
TOO_LONG, PARAMETERS = "too long or too deep", f"takes nothing, or more than {MAX_PARAMETERS} arguments"
SIDE_EFFECTS = "side effects"
DEFAULTS, ANNOTATIONS = "a default that is no literal", "an annotation that is no plain type"
NOT_STANDALONE, IMPORTS = "not standalone", "imports more than is allowed"
REDEFINED = "defined again below"


@dataclass(frozen=True)
class Candidate:
    """A function as prompt and solution, `node` its syntax; `code` is the same for the same code with another name or
    docstring.
    """

    name: str
    imports: str  # that the prompt begins with
    prompt: str
    solution: str
    node: ast.FunctionDef
    code: str


def parse(text: str) -> ast.Module | Dropped:
    """The syntax of a document, or that it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes: the author's business
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Dropped(NOT_PYTHON)


def lines_of(text: str) -> str:
    """A text with line ends as Python reads them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def pick(text: str, module: ast.Module) -> Iterator[tuple[str, Candidate | Dropped]]:
    """Each function at the top of a document (`lines_of`) by its name: a candidate, or why it is none."""
    names = _Names(text, module)
    functions = [node for node in module.body if isinstance(node, Function)]
    last = {node.name: node for node in functions}
    lines = text.split("\n")
    for node in functions:
        try:
            found = _candidate(node, lines, names) if last[node.name] is node else Dropped(REDEFINED)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            found = Dropped(NOT_PYTHON)
        yield node.name, found


class _Names:
    """What the names of a document stand for: imports of ours, and everything else that it binds."""

    def __init__(self, text: str, module: ast.Module) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                symbols = symtable.symtable(text, "<document>", "exec").get_symbols()
            self.bound = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_namespace()}
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.bound = set(BUILTINS)  # of a module that does not compile nothing is known
        self.imports: dict[str, list[tuple[str, str]]] = {}
        for node in module.body:
            for bound, module_name, line in _imported(node):
                self.imports.setdefault(bound, []).append((module_name, line))

    def meaning(self, name: str) -> list[str] | Dropped:
        """The imports that a free name of a function needs: none for a builtin."""
        if name in REFUSED and name not in self.bound:
            return Dropped(SIDE_EFFECTS, {"name": name})
        if name in self.bound or (name not in self.imports and name not in BUILTINS):
            return Dropped(NOT_STANDALONE, {"name": name})
        found = self.imports.get(name, [])
        foreign = [module for module, _ in found if module not in MODULES]
        return Dropped(IMPORTS, {"name": foreign[0]}) if foreign else [line for _, line in found]


def _imported(node: ast.stmt) -> Iterator[tuple[str, str, str]]:
    """(name bound, module, import statement) of each name that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], alias.name, ast.unparse(ast.Import([alias]))
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            yield alias.asname or alias.name, module, ast.unparse(ast.ImportFrom(module, [alias], 0))


def _candidate(node: Function, lines: list[str], names: _Names) -> Candidate | Dropped:
    inner = [child for child in ast.walk(node) if child is not node]
    if isinstance(node, ast.AsyncFunctionDef) or any(isinstance(c, ast.Yield | ast.YieldFrom) for c in inner):
        return Dropped(ASYNC)
    if node.decorator_list:
        return Dropped(DECORATED)
    if node.name.startswith("test"):
        return Dropped(TEST)
    source = "\n".join(lines[node.lineno - 1 : node.end_lineno]) + "\n"
    divided = solution_example(source)
    if isinstance(divided, Dropped):
        return divided
    if len(source) > MAX_CHARACTERS or _depth(node) > MAX_DEPTH:
        return Dropped(TOO_LONG)
    wrong = _unfit_signature(node.args, node.returns)
    if wrong:
        return Dropped(wrong)
    imports = []
    for child in inner:
        if isinstance(child, ast.Global):
            return Dropped(SIDE_EFFECTS, {"name": "global"})
        foreign = [module for _, module, _ in _imported(child) if module not in MODULES]  # type: ignore[arg-type]
        if foreign:
            return Dropped(IMPORTS, {"name": foreign[0]})
    for name in sorted(_free_names(source) - {node.name}):
        needed = names.meaning(name)
        if isinstance(needed, Dropped):
            return needed
        imports += needed
    head = "".join(line + "\n" for line in sorted(set(imports)))
    head += "\n\n" if head else ""
    return Candidate(node.name, head, head + divided.prompt, divided.answer, node, _code(node))


def _unfit_signature(arguments: ast.arguments, returns: ast.expr | None) -> str | None:
    """Why a signature cannot be called with guessed values, or does more than to say what it takes."""
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if not 0 < len(parameters) <= MAX_PARAMETERS:
        return PARAMETERS
    for default in (*arguments.defaults, *arguments.kw_defaults):
        try:
            ast.literal_eval(default or ast.Constant(None))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return DEFAULTS
    starred = [one for one in (arguments.vararg, arguments.kwarg) if one]
    annotations = [one.annotation for one in (*parameters, *starred)] + [returns]
    plain = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant, ast.BinOp, ast.BitOr, ast.Load)
    if any(not isinstance(node, plain) for one in annotations if one for node in ast.walk(one)):
        return ANNOTATIONS
    return None


def _free_names(source: str) -> set[str]:
    """The names that a function's text looks up outside itself."""
    table = symtable.symtable(source, "<function>", "exec")
    free = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    tables = table.get_children()
    while tables:
        scope = tables.pop()
        free |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        tables += scope.get_children()
    return free


def _depth(node: ast.AST) -> int:
    depth, level = 0, [node]
    while level:
        depth, level = depth + 1, [child for one in level for child in ast.iter_child_nodes(one)]
    return depth


def _code(node: ast.FunctionDef) -> str:
    """A hash of parameters and body, without name, docstring and annotation of the result."""
    parts = [ast.dump(node.args), *map(ast.dump, node.body[1:])]
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
