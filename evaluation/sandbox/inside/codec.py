"""Values by value: the only form in which anything leaves a program under test.

The bytes name one of int, float, complex, bool, str, bytes, None, list, tuple, dict, set and frozenset, exactly, so
what is decoded has no behaviour but Python's own: no class, no `__eq__`, nothing to unpickle. More tags
stand for what is no plain value: a reference (an object that stays where it is, known by its number), an array of
numpy's or pandas', and one of those builtin classes itself, by its name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_BYTES = 8 << 20  # of one value
BYTES_PER_ITEM = 8  # items, at all depths, are at most a value's bytes / this: 8 MiB take less than 100 MB decoded
TRUSTED_BYTES = 1 << 30  # of a value from our side: a problem's tests may have millions of items
MAX_DEPTH = 100
MAX_NAME = 100  # bytes of a class's name

# What is named instead: MBPP 533 passes `int` itself.
CLASSES = (int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset)
_CLASS_OF = {kind.__name__: kind for kind in CLASSES}
_TAGS: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_COUNT = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")


class Unserializable(Exception):
    """A value that cannot be passed by value: its class, its size or its depth."""


class Reference(NamedTuple):  # no dataclass: what that imports would slow every fork
    """An object that stays on the side of the program: its number there and the name of its class."""

    number: int
    kind: str


class Array:
    """The values of a numpy array or a pandas series, as nested lists; it decides no test, its `==` being no bool."""

    __slots__ = ("values",)

    def __init__(self, values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Array({self.values!r})"

    def _refuse(self, *_: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __eq__ = __ne__ = __bool__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def encode(value: object, refer: Callable[[object], Reference] | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a value; an object without a value goes through `refer`, or is refused.

    An instance of a class derived from a builtin one (Counter, namedtuple, an enum's int) counts as that builtin's
    value.
    """
    return bytes(_Encoder(refer, max_bytes).encode(value))


def decode(data: bytes, resolve: Callable[[Reference], object] | None = None, max_bytes: int = MAX_BYTES) -> Any:
    """The value of some bytes, which may be hostile, in as many items as `max_bytes` allows.

    Raises Unserializable where they are not what `encode` writes.
    """
    try:
        decoder = _Decoder(data, resolve, max_bytes // BYTES_PER_ITEM)
        value = decoder.value(0)
    except (struct.error, LookupError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise Unserializable(f"bytes that are no value: {type(error).__name__}") from error
    if decoder.place != len(data):
        raise Unserializable("bytes that are no value: something follows it")
    return value


class _Encoder:
    def __init__(self, refer: Callable[[object], Reference] | None, max_bytes: int) -> None:
        self.refer, self.max_bytes, self.max_items = refer, max_bytes, max_bytes // BYTES_PER_ITEM
        self.items = 0
        self.out = bytearray()

    def encode(self, value: object) -> bytearray:
        self.write(value, 0)
        return self.out

    def write(self, value: Any, depth: int) -> None:
        self.items += 1
        if depth > MAX_DEPTH:
            raise Unserializable(f"a value nested deeper than {MAX_DEPTH}")
        if self.items > self.max_items or len(self.out) > self.max_bytes:
            raise Unserializable(f"a value of more than {self.max_items:,} items or {self.max_bytes:,} bytes")
        out, kind = self.out, type(value)
        if value is None:
            out += b"N"
        elif kind is bool:
            out += b"T" if value else b"F"
        elif kind is int:
            self.write_sized(b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))
        elif kind is float:
            out += b"f" + _FLOAT.pack(value)
        elif kind is str:
            self.write_sized(b"s", value.encode("utf-8", "surrogatepass"))
        elif kind is bytes:
            self.write_sized(b"b", value)
        elif kind in (list, tuple, set, frozenset):
            out += _TAGS[kind] + _COUNT.pack(len(value))
            for item in value:
                self.write(item, depth + 1)
        elif kind is dict:
            out += b"d" + _COUNT.pack(len(value))
            for key, item in value.items():
                self.write(key, depth + 1)
                self.write(item, depth + 1)
        elif kind is type and value in CLASSES:
            self.write_sized(b"y", value.__name__.encode())
        elif kind is complex:
            out += b"c" + _COMPLEX.pack(value.real, value.imag)
        elif kind is Reference:
            self.write_reference(value)
        elif kind is Array:
            out += b"a"
            self.write(value.values, depth + 1)
        else:
            self.write_other(value, depth)

    def write_sized(self, tag: bytes, data: bytes) -> None:
        if len(data) > self.max_bytes:
            raise Unserializable(f"a value of more than {self.max_bytes:,} bytes")
        self.out += tag + _COUNT.pack(len(data))
        self.out += data

    def write_reference(self, reference: Reference) -> None:
        self.out += b"r" + _COUNT.pack(reference.number)
        self.write_sized(b"", reference.kind.encode("utf-8", "replace")[:MAX_NAME])

    def write_other(self, value: Any, depth: int) -> None:
        for base in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict):
            if isinstance(value, base):
                return self.write(_AS_BUILTIN[base](value), depth)
        module = type(value).__module__.split(".")[0]
        if module == "numpy" and hasattr(value, "tolist"):
            plain = value.tolist()  # a scalar's is the plain number
            return self.write(Array(plain) if getattr(value, "ndim", 0) else plain, depth)
        if module == "pandas" and hasattr(value, "to_numpy"):
            return self.write(Array(value.to_numpy().tolist()), depth)
        if self.refer is None:
            raise Unserializable(f"a value of class {type(value).__name__}")
        return self.write_reference(self.refer(value))


# A derived class may lie about itself, so its value is read by the methods of the builtin one.
_AS_BUILTIN: dict[type, Callable[[Any], Any]] = {
    bool: bool,
    int: lambda value: int.__add__(value, 0),
    float: float.__pos__,
    complex: complex.__pos__,
    str: lambda value: "".join(str.__iter__(value)),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: lambda value: [*list.__iter__(value)],
    tuple: lambda value: (*tuple.__iter__(value),),
    set: lambda value: {*set.__iter__(value)},
    frozenset: lambda value: frozenset({*frozenset.__iter__(value)}),
    dict: lambda value: {key: dict.__getitem__(value, key) for key in dict.__iter__(value)},
}


class _Decoder:
    def __init__(self, data: bytes, resolve: Callable[[Reference], object] | None, max_items: int) -> None:
        self.data, self.resolve, self.max_items = data, resolve, max_items
        self.place = self.items = 0

    def take(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if self.place > len(self.data):
            raise IndexError("the end")
        return self.data[start : self.place]

    def count(self) -> int:
        number: int = _COUNT.unpack(self.take(4))[0]
        return number

    def value(self, depth: int) -> Any:
        self.items += 1
        if depth > MAX_DEPTH or self.items > self.max_items:
            raise ValueError("too deep or too large")
        tag = self.take(1)
        if tag == b"i":
            return int.from_bytes(self.take(self.count()), "little", signed=True)
        if tag == b"s":
            return self.take(self.count()).decode("utf-8", "surrogatepass")
        if tag == b"f":
            return _FLOAT.unpack(self.take(8))[0]
        if tag in b"NTF":
            return {b"N": None, b"T": True, b"F": False}[tag]
        if tag in b"ltSZ":
            items = [self.value(depth + 1) for _ in range(self.count())]
            return {b"l": list, b"t": tuple, b"S": set, b"Z": frozenset}[tag](items)
        if tag == b"d":
            return {self.value(depth + 1): self.value(depth + 1) for _ in range(self.count())}
        if tag == b"b":
            return self.take(self.count())
        if tag == b"c":
            return complex(*_COMPLEX.unpack(self.take(16)))
        if tag == b"y":
            return _CLASS_OF[self.take(self.count()).decode()]
        if tag == b"a":
            return Array(self.value(depth + 1))
        if tag == b"r":
            reference = Reference(self.count(), self.take(self.count())[:MAX_NAME].decode("utf-8", "replace"))
            return self.resolve(reference) if self.resolve else reference
        raise ValueError(f"tag {tag!r}")
