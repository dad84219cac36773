"""Frames on hubs: the topic, one space, and a body that is either a header and its payload, or a JSON object.

No control character may stand in JSON text, and byte 27 of a header is its version, 1: that tells the two apart. A JSON
body is the message by the names of its fields, with `wire` beside them, which tells who sent it; a message sent again
to a reader that may not have it also carries `last_value`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from engine.message import Message
from engine.wire.codec import object_decoder, object_encoder
from engine.wire.frame import HEADER_BYTES, LAST_VALUE, VERSION, flagged

MAX_TOPIC = 64
MAX_FRAME_BYTES = 1 << 20
WORDS = frozenset({"wire", "last_value"})
"""Keys of a JSON body that are not the message's own."""
_VERSION_AT = HEADER_BYTES - 1


class Sent(msgspec.Struct, frozen=True):
    """Who sent a JSON body: `NODE.PORT`, the start of its process, how many it has sent, because of what, and when.

    A program outside may leave all of it out; then nobody can tell whether something was lost.
    """

    writer: str = ""
    epoch: int = 0
    sequence: int = 0
    cause: int = 0
    sent_ns: int = 0


class Envelope(msgspec.Struct, frozen=True):
    """What a JSON body says besides its message."""

    wire: Sent = Sent()
    last_value: bool = False


_encode_sent = msgspec.json.Encoder().encode
read_envelope = msgspec.json.Decoder(Envelope).decode
"""Read the envelope of a JSON body; raises UNDECODABLE of the codec."""


def framed(topic: str, body: bytes) -> bytes:
    """Return the frame of a body on a topic."""
    return b"%b %b" % (topic.encode(), body)


def has_header(body: bytes) -> bool:
    """Return whether a body is a header and its payload."""
    return len(body) >= HEADER_BYTES and body[_VERSION_AT] == VERSION


def json_body(message: Message, sent: Sent) -> bytes:
    """Return the JSON body of a message."""
    fields = _object_encoder(type(message))(message)
    return b'{"wire":%b%b%b' % (_encode_sent(sent), b"," if len(fields) > len(b"{}") else b"", fields[1:])


def read_json(body: bytes, kind: type[Message]) -> tuple[Envelope, Any]:
    """Return the envelope and the message of a JSON body; raises UNDECODABLE of the codec."""
    return read_envelope(body), object_decoder(kind)(body)


def as_last_value(body: bytes) -> bytes:
    """Return a body marked as sent again to a reader that may not have it."""
    if has_header(body):
        return flagged(body, LAST_VALUE)
    inside = body.strip()[:-1].rstrip()
    return b'%b%b"last_value":true}' % (inside, b"" if inside == b"{" else b",")


@cache
def _object_encoder(kind: type[Message]) -> Any:
    if taken := WORDS.intersection(kind.__struct_fields__):
        raise TypeError(f"{kind.__name__}.{min(taken)}: no field of a message may have this name on a hub")
    return object_encoder(kind)
