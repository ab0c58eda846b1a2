"""Frames on a stream socket: four bytes of length, then as many bytes."""

from __future__ import annotations

import socket
import struct

_LENGTH = struct.Struct("<I")


class TooLong(Exception):
    """A frame longer than its reader takes."""


def write_frame(channel: socket.socket, data: bytes) -> None:
    if len(data) < 4096:
        channel.sendall(_LENGTH.pack(len(data)) + data)
    else:
        channel.sendall(_LENGTH.pack(len(data)))
        channel.sendall(data)


def read_frame(channel: socket.socket, max_bytes: int = 1 << 30) -> bytes:
    """The next frame; b"" at the stream's end. Raises TooLong, and TimeoutError where the socket has a timeout."""
    head = _read(channel, 4)
    if len(head) < 4:
        return b""
    length = _LENGTH.unpack(head)[0]
    if length > max_bytes:
        raise TooLong(f"a frame of {length:,} bytes; at most {max_bytes:,} are taken")
    data = _read(channel, length)
    return data if len(data) == length else b""


def _read(channel: socket.socket, count: int) -> bytes:
    data = channel.recv(count)
    if len(data) == count or not data:
        return data
    parts = bytearray(data)
    while len(parts) < count:
        data = channel.recv(min(count - len(parts), 1 << 20))
        if not data:
            break
        parts += data
    return bytes(parts)
