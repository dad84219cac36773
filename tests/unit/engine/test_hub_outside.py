"""What comes from outside is counted where it is read, and cannot pass for what a node has written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import zmq
from support.graphs import TopologyBuilder
from support.packages import only_packages
from support.sample_nodes._messages import Reading

from engine.clock import Clock
from engine.run.host import Host
from engine.topology.plan import make_plan
from engine.wire import frame
from engine.wire.hub_client import Endpoints
from engine.wire.hub_frame import Sent, json_body
from engine.wire.hub_wires import HubWires
from engine.wire.inbox import Inbox
from engine.wire.lane import Flow
from engine.wire.table import WireTable


@pytest.fixture
def wires():
    """The hub wires of process `b`, which reads a topic of process `a` and one from outside; nothing is connected."""
    builder = TopologyBuilder().hub("air", (6000,), 7000, outside=("hint",))
    builder.node("north", "sources.thermometer").node("mean", "models.average", half_life_s=60.0)
    builder.wire(
        "north.reading -> hub:air/reading", "hub:air/reading -> mean.reading", "hub:air/hint -> mean.correction"
    )
    builder.process("a", ("north",)).process("b", ("mean",))
    with only_packages("support.sample_nodes"):
        plan = make_plan(builder.build(), Path())
    table, host = WireTable(plan), Host(Clock())
    for node in plan.nodes:
        if node.id == "mean":
            host.add(node.id, node.cls, node.params)
    wires = HubWires("b", 3, Flow(), Inbox(table, host, Flow(), SimpleNamespace()))
    bases = {}
    wires.routes = wires.join_outside(bases)
    context = zmq.Context()
    access = SimpleNamespace(prepare_hub=lambda hub: None)
    wires.open(context, Endpoints(plan.topology.hubs), access, bases)
    yield wires
    wires.close(lambda fd: None, 0)
    context.term()


def brought(wires: HubWires, *bodies: tuple[str, bytes]) -> list[bytes]:
    """Return what the hub wires make of these (topic, body)."""
    wires.subscribers["air"].receive = lambda most: list(bodies)
    return wires.fetch(100)


def test_messages_from_outside_get_numbers_of_their_own(wires):
    (route,) = wires.routes
    assert str(route.table) == "hub:air.hint"
    hint = json_body(Reading("roof", 5, 1.5), Sent("somebody", 9, 1_000, 77))
    frames = brought(wires, ("hint", hint), ("hint", b'{"sensor":"roof","event_time_ns":5,"celsius":2}'))
    ids = [frame.parts(frame.unpack(each)[0]) for each in frames]
    assert ids == [(route.table.number, 3, 1), (route.table.number, 3, 2)]
    assert [frame.unpack(each)[1] for each in frames] == [0, 0], "nothing here has caused it"
    assert msgspec.msgpack.decode(frames[0][frame.HEADER_BYTES :]) == ["roof", 5, 1.5]


def test_what_is_no_such_message_is_refused(wires):
    broken = [b"{}", b"[]", b'{"sensor":1,"event_time_ns":5,"celsius":2}', b'{"sensor":"x","event_time_ns":5}', b"\xff"]
    assert brought(wires, *(("hint", each) for each in broken)) == []
    assert wires.inbox.refused == {"undecodable": 5}


def test_outside_topics_carry_nothing_in_a_nodes_name(wires):
    reading = Reading("north", 5, 99.0)
    port = wires.table.ports["north", "reading"]
    header = frame.pack(frame.id_base(port.number, 1) | 1, 0, 0, frame.tail(port.schema)) + b"payload"
    told = json_body(reading, Sent("north.reading", 1, 1))
    assert len(brought(wires, ("reading", header), ("reading", told))) == 2, (
        "on the writer's own topic it is the writer"
    )
    assert brought(wires, ("hint", header)) == []
    assert wires.inbox.refused == {"foreign": 1}
    (counted,) = brought(wires, ("hint", told))
    assert frame.parts(frame.unpack(counted)[0])[0] == wires.routes[0].table.number
    assert brought(wires, ("reading", json_body(reading, Sent("south.reading", 1, 1)))) == []
    assert wires.inbox.refused["port"] == 1
