"""The candidate's side of MTPB: the history is executed once, and what it prints is recorded.

This text is loaded into the candidate's own process, which is why it imports nothing of ours; nothing that it says is
a verdict. `run` gives ("" or how the program ended, what was printed last or None), all plain values.
Source: salesforce/CodeGen, codegen1/benchmark/mtpb_exec.py, in our own words.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import signal
from typing import Any

DEPTH = 40  # of a printed value, which is far from what any expected one has


class OutOfTime(Exception):
    pass


def run(program: str, seconds: float) -> tuple[str, tuple[str, Any, str, dict[str, Any]] | None]:
    """Execute a program; an exception, the alarm's too, only ends it: what it had printed counts."""
    printed: list[tuple[Any, ...]] = []

    def record(*args: Any, **kwargs: Any) -> None:
        printed.append(args)
        builtins.print(*args, **kwargs)

    def stop(number: int, frame: object) -> None:
        raise OutOfTime("Timed out!")

    names = {"print": record, "builtins": builtins, "__name__": "__main__"}
    ended = ""
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                program = with_print(program)
                exec(program, names)
            except Exception as error:
                ended = type(error).__name__ + ": " + str(error)[:1000]
            if not printed or not printed[-1]:
                return ended or "nothing was printed", None
            return ended, described(printed[-1][0])
    except BaseException as error:  # sys.exit, which ends the reference's whole run; or of the printed value's own text
        return ended or type(error).__name__, None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def with_print(program: str) -> str:
    """The program with its last statement's value printed, unless that is a call of a name that begins with print.

    A statement without a value leaves the program as it was.
    """
    try:
        tree = ast.parse(program)
        last: Any = tree.body[-1]
        called = getattr(getattr(getattr(last, "value", None), "func", None), "id", None)
        if isinstance(called, str) and called.startswith("print"):
            return program
        last.value = ast.Call(ast.Name("print", ast.Load()), [last.value], [])
        return ast.unparse(ast.fix_missing_locations(tree))
    except Exception:
        return program


def described(value: Any) -> tuple[str, Any, str, dict[str, Any]]:
    """(kind, plain value, text, casts): numpy's values as Python's, any other object as what casts make of it."""
    kind = type(value)
    where, name = str(kind.__module__), kind.__name__
    if where.split(".")[0] == "pandas" and name == "Series":
        return "series", plain(value.tolist(), DEPTH), str(value), {}
    if where == "numpy" and name in ("uint8", "int16", "int32", "int64"):
        value = int(value)
    elif where == "numpy" and name in ("float16", "float32", "float64"):
        value = float(value)
    elif where == "numpy" and name in ("bool", "bool_"):
        value = bool(value)
    elif where == "numpy" and name == "ndarray":
        value = value.tolist()
    try:
        return "plain", plain(value, DEPTH), str(value), {}
    except TypeError:
        pass
    casts: dict[str, Any] = {}
    cast: Any
    for cast in (int, float, list):
        with contextlib.suppress(Exception):
            casts[cast.__name__] = plain(cast(value), DEPTH)
    return "other", None, str(value), casts


def plain(value: Any, depth: int) -> Any:
    """The value, where it consists of Python's own types and numpy's scalars only.  Raises: TypeError."""
    kind: Any = type(value)
    if depth and kind in (list, tuple):
        return kind(plain(part, depth - 1) for part in value)
    if depth and (kind is dict or (kind.__module__ == "collections" and isinstance(value, dict))):
        return {plain(key, depth - 1): plain(part, depth - 1) for key, part in value.items()}
    if kind.__module__ == "numpy" and hasattr(value, "item") and kind.__name__ != "ndarray":
        return plain(value.item(), depth)
    if value is None or kind in (str, bytes, int, float, complex, bool):
        return value
    raise TypeError(kind.__name__)
