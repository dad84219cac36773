"""Frames: ids, headers, flags, schema hashes and greetings."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Message
from engine.wire.frame import (
    HEADER_BYTES,
    LAST_VALUE,
    REPEAT,
    FrameLimit,
    Greeting,
    PortGreeting,
    at_port,
    decode_greeting,
    flagged,
    hello,
    id_base,
    pack,
    parts,
    schema_of,
    tail,
    tail_parts,
    unpack,
)


class One(Message):
    price: float
    size: int = 0


class Other(Message):
    price: float
    size: float = 0


class Inner(Message):
    one: One


class Outer(Message):
    one: tuple[One, ...] | None


PORT, EPOCH, SEQUENCE = st.integers(0, 4095), st.integers(0, 4095), st.integers(0, (1 << 40) - 1)


@given(PORT, EPOCH, SEQUENCE, st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**16 - 1))
def test_header_is_the_documented_one(
    port: int, epoch: int, sequence: int, cause: int, sent_ns: int, schema: int
) -> None:
    message_id = id_base(port, epoch) | sequence
    frame = flagged(pack(message_id, cause, sent_ns, tail(schema, LAST_VALUE)) + b"payload", REPEAT)
    assert struct.unpack_from("<QQqHBB", frame) == (message_id, cause, sent_ns, schema, LAST_VALUE | REPEAT, 1)
    assert frame[HEADER_BYTES:] == b"payload"
    assert parts(unpack(frame)[0]) == (port, epoch, sequence)
    assert tail_parts(unpack(frame)[3]) == (schema, LAST_VALUE | REPEAT, 1)
    assert parts(unpack(at_port(frame, 7))[0]) == (7, epoch, sequence)
    assert at_port(frame, 7)[8:] == frame[8:]


def test_ids_of_one_port_grow_with_epoch_and_sequence() -> None:
    assert id_base(3, 1) | 5 < id_base(3, 1) | 6 < id_base(3, 2) | 1


def test_too_many_restarts_are_refused() -> None:
    with pytest.raises(FrameLimit, match="begin a new run"):
        id_base(1, 4096)


def test_greeting_comes_back() -> None:
    greeting = Greeting("left", 3, 2, (PortGreeting(4, 100, 0, 90),))
    assert decode_greeting(hello(greeting, 5)[HEADER_BYTES:]) == greeting


def test_schema_follows_names_and_types_of_fields() -> None:
    hashes = {schema_of(kind) for kind in (One, Other, Inner, Outer)}
    assert len(hashes) == 4
    assert all(0 <= number < 1 << 16 for number in hashes)
