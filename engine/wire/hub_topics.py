"""What the hubs of a plan carry: which are used, their topics, and which last value a late reader is given."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import msgspec

from engine.message import Message
from engine.topology.model import HubDecl, Topology
from engine.topology.plan import Plan, PlannedWire
from engine.wire.frame import HEADER_BYTES, PORT_SHIFT
from engine.wire.hub_frame import has_header, read_envelope

Key = Callable[[bytes], Hashable]
"""From a body, what it is the last value of; raises UNDECODABLE for a body that is none."""

_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_json_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_items = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a hub. With `kept`, a late reader is given the last value of each key."""

    name: str
    kept: bool
    key: Key


def used_hubs(topology: Topology) -> dict[str, HubDecl]:
    """Return the hubs that a run opens: those that a wire leads to or from, and those that programs outside write."""
    named = {end.node for wire in topology.wires for end in (wire.source, wire.target) if end.hub}
    return {name: hub for name, hub in topology.hubs.items() if name in named or hub.outside}


def topics_of(plan: Plan, hub: str) -> dict[str, Topic]:
    """Return the topics that a hub forwards: what nodes write to it, and what it takes from outside."""
    topology = plan.topology
    written: dict[str, list[type[Message]]] = {}
    classes = {node.id: node.cls for node in plan.nodes}
    for wire in topology.wires:
        if wire.target.hub and wire.target.node == hub:
            message = classes[wire.source.node].spec.outputs[wire.source.port].message
            written.setdefault(wire.target.port, []).append(message)
    wires: dict[str, list[PlannedWire]] = {}
    for planned in (*plan.wires, *plan.outside):
        if planned.hub is not None and planned.hub.partition("/")[0] == hub:
            wires.setdefault(planned.hub.partition("/")[2], []).append(planned)
    return {
        name: Topic(name, _is_kept(written.get(name, []), wires.get(name, [])), _key(plan, wires.get(name, [])))
        for name in dict.fromkeys((*written, *topology.hubs[hub].outside))
    }


def _is_kept(messages: list[type[Message]], readers: list[PlannedWire]) -> bool:
    """Return whether a topic carries state, whose last value is worth as much to a late reader as to an early one.

    What must all arrive and what readers queue are events. What only outsiders write is state when a reader here
    takes it for one: an order that is told again to a late reader would be an order twice.
    """
    kinds = {wire.policy.kind for wire in readers}
    if "drop_oldest" in kinds or any(message.delivery == "reliable" for message in messages):
        return False
    return bool(messages) or "conflate" in kinds


def _key(plan: Plan, readers: list[PlannedWire]) -> Key:
    """Return the key of a topic's bodies: the writer, and the field by which readers conflate."""
    fields = {wire.policy.by: wire.target for wire in readers if wire.policy.by is not None}
    if not fields:
        return _writer
    classes = {node.id: node.cls for node in plan.nodes}
    places = {
        name: classes[node].spec.inputs[port].message.__struct_fields__.index(name)
        for name, (node, port) in fields.items()
    }

    def key(body: bytes) -> Hashable:
        if not has_header(body):
            record = _read_fields(body)
            return _writer(body), *(bytes(record.get(name, b"")) for name in places)
        payload = body[HEADER_BYTES:]
        items = _read_json_items(payload) if payload[:1] == b"[" else _read_items(payload)
        if len(items) <= max(places.values()):
            raise ValueError(f"a message of {len(items)} fields, which are too few")
        return _writer(body), *(bytes(items[place]) for place in places.values())

    return key


def _writer(body: bytes) -> Hashable:
    if has_header(body):
        return int.from_bytes(body[:8], "little") >> PORT_SHIFT
    return read_envelope(body).wire.writer
