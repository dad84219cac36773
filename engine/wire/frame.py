"""Frames: one message, or one word between two processes, as bytes.

A frame is a header of 28 bytes and a payload. The header is `<QQqHBB`: message id, cause id, time of sending (ns, wall
clock), schema, flags, version. An id is port (12 bits), epoch (12 bits) and sequence (40 bits), from the highest bit
down.
"""

from __future__ import annotations

import struct
import types
import typing
from functools import cache
from hashlib import sha256
from typing import Any, Union, get_args, get_origin

import msgspec

from engine.errors import PipelineError
from engine.message import Message

VERSION = 1
HEADER_BYTES = 28
PORT_SHIFT = 52
EPOCH_SHIFT = 40
MOST_PORTS = 1 << 12
MOST_EPOCHS = 1 << 12
SEQUENCE_MASK = (1 << EPOCH_SHIFT) - 1
WITHIN_PORT_MASK = (1 << PORT_SHIFT) - 1
"""Epoch and sequence of an id: they order the messages of one port."""

LAST_VALUE = 1
"""State that is sent again to a reader that may not have it."""
END = 2
"""The port says nothing more."""
ACK = 4
"""All up to this sequence is applied and on disk; with REPEAT: it has come this far, send again what follows."""
HELLO = 8
"""A process greets another one."""
REPEAT = 16
"""A reliable message that has been sent before."""
SKIPPED = 32
"""Messages of this port before this one were left out by the policy of its wires: a gap is no loss."""

_FLAGS_SHIFT = 16
_VERSION_SHIFT = 24
FLAGS_AT = 26
_PACKED = struct.Struct("<QQqI")
"""Schema, flags and version as one number: on the hot path they are compared at once."""

pack = _PACKED.pack
unpack = _PACKED.unpack_from


class FrameLimit(PipelineError):
    """A run has more ports or restarts than an id has room for."""


def id_base(port: int, epoch: int) -> int:
    """Return the id of sequence 0 of a port in an epoch."""
    if not 0 <= epoch < MOST_EPOCHS:
        raise FrameLimit(f"a process was started {epoch} times; an id has room for {MOST_EPOCHS - 1}: begin a new run")
    return port << PORT_SHIFT | epoch << EPOCH_SHIFT


def parts(message_id: int) -> tuple[int, int, int]:
    """Return (port, epoch, sequence) of an id."""
    return (
        message_id >> PORT_SHIFT,
        message_id >> EPOCH_SHIFT & MOST_EPOCHS - 1,
        message_id & SEQUENCE_MASK,
    )


def tail(schema: int, flags: int = 0, version: int = VERSION) -> int:
    """Return the last four bytes of a header as a number."""
    return schema | flags << _FLAGS_SHIFT | version << _VERSION_SHIFT


def tail_parts(number: int) -> tuple[int, int, int]:
    """Return (schema, flags, version) of the last four bytes of a header."""
    return number & 0xFFFF, number >> _FLAGS_SHIFT & 0xFF, number >> _VERSION_SHIFT


def flagged(frame: bytes, flags: int) -> bytes:
    """Return a frame with these flags added."""
    return b"%b%c%b" % (frame[:FLAGS_AT], frame[FLAGS_AT] | flags, frame[FLAGS_AT + 1 :])


def at_port(frame: bytes, port: int) -> bytes:
    """Return a frame whose id names another port number: topologies grow, and numbers with them."""
    message_id, *rest = unpack(frame)
    return pack(message_id & WITHIN_PORT_MASK | port << PORT_SHIFT, *rest) + frame[HEADER_BYTES:]


class PortGreeting(msgspec.Struct, array_like=True, frozen=True):
    """What a writer says of one reliable port: sent so far, where this wire began, and what has been acknowledged."""

    port: int
    sent: int
    start: int
    acknowledged: int


class Greeting(msgspec.Struct, array_like=True, frozen=True):
    """The payload of a HELLO. `heard` is the epoch of the process greeted that has been heard, 0 for none."""

    process: str
    epoch: int
    heard: int
    ports: tuple[PortGreeting, ...]


_encode_greeting = msgspec.msgpack.Encoder().encode
decode_greeting = msgspec.msgpack.Decoder(Greeting).decode


def hello(greeting: Greeting, sent_ns: int) -> bytes:
    """Return the frame that greets."""
    return pack(0, 0, sent_ns, tail(0, HELLO)) + _encode_greeting(greeting)


@cache
def schema_of(kind: type[Message]) -> int:
    """Return the 16-bit hash of a message type's name and fields, by which reader and writer know that they agree."""
    return int.from_bytes(sha256(_signature(kind).encode()).digest()[:2], "little")


def _signature(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        fields = ",".join(f"{name}:{_signature(hints[name])}" for name in kind.__struct_fields__)
        return f"{kind.__name__}({fields})"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None:
        return getattr(kind, "__name__", repr(kind))
    name = "|" if origin in (Union, types.UnionType) else getattr(origin, "__name__", repr(origin))
    return f"{name}[{','.join(_signature(a) if isinstance(a, type) or get_origin(a) else repr(a) for a in arguments)}]"
