"""What is kept of one node over a restart: its declared state and where its chance stands."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.node import Node
from engine.run.chance import pack_chance
from engine.wire.codec import decode_state, encode_state


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """The state of a node as bytes: who wrote it, in which version, and how its chance stands."""

    type: str
    version: int
    fields: bytes
    chance: bytes


def keep(node: Node) -> Kept:
    """Return what is to be kept of a node."""
    return Kept(type_name(node), node.spec.state_version, encode_fields(node), pack_chance(node.random))


def type_name(node: Node) -> str:
    """Return by which name kept state says whose it is."""
    return type(node).__module__


def encode_fields(node: Node) -> bytes:
    """Encode the declared state of a node."""
    return encode_state({name: getattr(node, name) for name in node.spec.state})


def give_back(node: Node, version: int, data: bytes) -> None:
    """Give a node its declared state back; raise ValueError when it is of a version that the node cannot read."""
    types: dict[str, Any] = {name: field.type for name, field in node.spec.state.items()}
    fields = decode_state(data, types)
    if version != node.spec.state_version:
        fields = node.migrate(version, fields)
    for name, value in fields.items():
        setattr(node, name, value)
