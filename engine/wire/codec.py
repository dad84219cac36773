"""Bytes of messages: the only file that names the encoding."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from engine.message import Message

_JSON = msgspec.json.Encoder(order="deterministic")
_MSGPACK = msgspec.msgpack.Encoder(order="deterministic")

FAST_ENCODE: Callable[[Message], bytes] = _MSGPACK.encode
"""Encode a message of any type; raises OverflowError for one that only `encoder` of its type can encode."""


@cache
def encoder(kind: type[Message]) -> Callable[[Message], bytes]:
    """Return the function that encodes messages of this type.

    MessagePack cannot carry integers beyond 64 bits, which amounts on a chain are; a type with an `int` field therefore
    falls back to JSON for a message that does not fit. The first byte tells the two apart: JSON's is `[`.
    """
    pack, text = _MSGPACK.encode, _JSON.encode
    if not _has_int(kind, set()):
        return pack

    def encode(message: Message) -> bytes:
        try:
            return pack(message)
        except OverflowError:
            return text(message)

    return encode


@cache
def fast_decoder(kind: type[Message]) -> Callable[[bytes], Any]:
    """Return a function that decodes what is MessagePack; what it refuses may be for `decoder` to decode."""
    return msgspec.msgpack.Decoder(kind).decode


@cache
def decoder(kind: type[Message]) -> Callable[[bytes], Any]:
    """Return the function that decodes messages of this type; it raises msgspec.DecodeError on anything else."""
    unpack, parse = msgspec.msgpack.Decoder(kind).decode, msgspec.json.Decoder(kind).decode
    if not _has_int(kind, set()):
        return unpack

    def decode(data: bytes) -> Any:
        try:
            return unpack(data)
        except msgspec.DecodeError:
            if data[:1] != b"[":
                raise
            return parse(data)

    return decode


@cache
def object_encoder(kind: type[Message]) -> Callable[[Message], bytes]:
    """Return the function that encodes messages of this type as JSON objects, for readers that know no schema.

    Decimals are text, bytes base64; what is not finite is the text "nan", "inf" or "-inf".
    """
    named, text = _named(kind), msgspec.json.Encoder().encode

    def encode(message: Message) -> bytes:
        record = msgspec.convert(message, named, from_attributes=True)
        data = text(record)
        return text(_worded(msgspec.to_builtins(record))) if b"null" in data else data

    return encode


@cache
def object_decoder(kind: type[Message]) -> Callable[[bytes], Any]:
    """Return the function that decodes such objects, whatever else is in them; it raises UNDECODABLE on others."""
    named = _named(kind)
    parse = msgspec.json.Decoder(named, strict=False).decode

    def decode(data: bytes) -> Any:
        return msgspec.convert(parse(data), kind, from_attributes=True)

    return decode


UNDECODABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What a decoder raises on bytes that are not what they should be."""


@cache
def _named(kind: type[Message]) -> type[msgspec.Struct]:
    """Return a type like this message's whose instances are encoded with the names of their fields."""
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults = dict(zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False))
    fields = [
        (name, _renamed(hints[name]), *((defaults[name],) if name in defaults else ()))
        for name in kind.__struct_fields__
    ]
    return msgspec.defstruct(kind.__name__, fields)


def _renamed(hint: Any) -> Any:
    """Return a type with every message in it replaced by its named likeness."""
    if isinstance(hint, type) and issubclass(hint, Message):
        return _named(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return typing.Annotated[_renamed(arguments[0]), *arguments[1:]]
    if origin is None or origin is typing.Literal:
        return hint
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_renamed, arguments))]  # noqa: UP007  (a union of a computed list)
    return origin[tuple(map(_renamed, arguments))]


def encode_state(fields: dict[str, Any]) -> bytes:
    """Encode declared state as JSON: integers of any size, keys of any plain type, NaN and infinity as text."""
    values = msgspec.to_builtins(fields, str_keys=True, order="deterministic")
    data = _JSON.encode(values)
    # JSON has no word for what is not finite; it would come back as null.
    return _JSON.encode(_worded(values)) if b"null" in data else data


def decode_state(data: bytes, types: dict[str, Any]) -> dict[str, Any]:
    """Decode declared state; `types` maps each field to its annotation."""
    raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    return {name: msgspec.json.decode(value, type=types.get(name, Any), strict=False) for name, value in raw.items()}


def _worded(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _worded(item) for key, item in value.items()}
    return list(map(_worded, value)) if isinstance(value, list | tuple) else value


def _has_int(kind: Any, seen: set[Any]) -> bool:
    if kind is int:
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in seen:
            return False
        seen.add(kind)
        return any(_has_int(hint, seen) for hint in typing.get_type_hints(kind).values())
    return any(_has_int(part, seen) for part in typing.get_args(kind))
