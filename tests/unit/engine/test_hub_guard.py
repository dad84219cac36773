"""Open hubs let in whom the plan lets in, and nobody speaks for another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.two_machines import free_port
from support.weather import HERE
from support.wired import Level, Sayer, Taker, node, party_plan, policy, wire

from engine.topology.model import HubDecl, Policy, PortRef, RunOptions, Wire
from engine.wire.codec import encoder
from engine.wire.frame import id_base, pack, tail
from engine.wire.hub_client import Endpoints, HubPublisher, HubSubscriber
from engine.wire.hub_frame import Sent, json_body
from engine.wire.hub_guard import HubGuard
from engine.wire.hub_relay import Relay
from engine.wire.hub_topics import topics_of
from engine.wire.keys import KeyFolder
from engine.wire.security import Access
from engine.wire.table import WireTable


class Place:
    """An open hub `air`: `writer` writes topic levels, `reader` reads it, `other` does neither."""

    def __init__(self, folder: Path) -> None:
        self.keys = KeyFolder(folder / "keys")
        for name in ("writer", "reader", "other", "hubs", "operator"):
            self.keys.make(name)
        hub = HubDecl("air", (free_port(),), free_port(), "json", HERE, "127.0.0.1", None, ("wishes",))
        topic = PortRef("air", "levels", hub=True)
        plan = party_plan(
            {"writer": [node("say", Sayer)], "reader": [node("take", Taker)], "other": [node("more", Sayer)]},
            [replace(wire("say.level", "take.level", policy("block")), hub="air/levels")],
            run=RunOptions(keys=str(folder / "keys")),
            hubs={"air": hub},
            wires=(
                Wire(PortRef("say", "level"), topic, Policy(), 0, HERE),
                Wire(topic, PortRef("take", "level"), Policy(), 0, HERE),
            ),
        )
        self.table = WireTable(plan)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.guard = HubGuard(self.context, self.table, None, ["air"])
        self.endpoints = Endpoints(plan.topology.hubs)
        self.relay = Relay(self.context, "air", topics_of(plan, "air"), self.endpoints, self.guard)
        self.clients: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.folder = folder
        self.opened: list[HubPublisher | HubSubscriber] = []

    def close(self) -> None:
        for each in self.opened:
            each.close()
        self.clients.term()
        self.relay.close()
        self.guard.close()
        self.context.term()

    def access(self, process: str) -> Access:
        return Access(self.table, process, self.folder)

    def as_operator(self, socket: zmq.Socket[bytes]) -> None:
        socket.curve_publickey, socket.curve_secretkey = self.keys.public("operator"), self.keys.secret("operator")
        socket.curve_serverkey = self.keys.public("hubs")

    def publisher(self, prepare: Any) -> HubPublisher:
        found = HubPublisher(self.clients, self.endpoints.publish("air"), prepare)
        self.opened.append(found)
        return found

    def subscriber(self, prepare: Any) -> HubSubscriber:
        found = HubSubscriber(self.clients, self.endpoints.subscribe("air"), ["levels", "wishes"], prepare)
        self.opened.append(found)
        return found

    def until(self, condition: Callable[[], Any], *publishers: HubPublisher) -> Any:
        deadline = time.monotonic() + 5
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not come to hold in time"
            self.guard.turn()
            self.relay.subscriptions()
            self.relay.forward(100)
            for publisher in publishers:
                publisher.service()
            time.sleep(0.001)
        return result

    def frame(self, node_id: str, value: int) -> bytes:
        number = self.table.ports[node_id, "level"]
        head = pack(id_base(number.number, 1) | value, 0, 1, tail(number.schema))
        return head + encoder(Level)(Level("a", value))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.close()


def test_declared_processes_write_and_read_and_so_does_the_operator(place: Place) -> None:
    writer = place.publisher(place.access("writer").prepare_hub("air"))
    readers = [place.subscriber(place.access("reader").prepare_hub("air")), place.subscriber(place.as_operator)]
    place.until(lambda: place.relay.stats()["readers"] == 4 and writer.connected, writer)
    writer.publish("levels", place.frame("say", 1))
    for reader in readers:
        assert place.until(lambda reader=reader: reader.receive(9)) == [("levels", place.frame("say", 1))]
    outside = place.publisher(place.as_operator)
    outside.publish("wishes", b'{"key":"a","value":1}')
    assert place.until(lambda: readers[0].receive(9), outside) == [("wishes", b'{"key":"a","value":1}')]
    assert place.relay.stats()["refused"] == 0
    assert not place.guard.refused


def test_strangers_and_processes_without_a_wire_are_not_let_in(place: Place) -> None:
    assert place.access("other").prepare_hub("air") is None

    def as_other(socket: zmq.Socket[bytes]) -> None:
        socket.curve_publickey, socket.curve_secretkey = place.keys.public("other"), place.keys.secret("other")
        socket.curve_serverkey = place.keys.public("hubs")

    place.subscriber(as_other)
    place.until(lambda: place.guard.refused["127.0.0.1"] >= 1)
    reader = place.publisher(place.access("reader").prepare_hub("air"))
    before = place.guard.refused.total()
    place.until(lambda: place.guard.refused.total() > before, reader)
    assert not reader.connected, "who reads may not write"
    before = place.guard.refused.total()
    place.subscriber(None)
    place.until(lambda: place.guard.refused.total() > before)
    assert place.relay.stats()["readers"] == 0


def test_a_writer_writes_its_own_topics_as_its_own_nodes(place: Place) -> None:
    writer = place.publisher(place.access("writer").prepare_hub("air"))
    outside = place.publisher(place.as_operator)
    place.until(lambda: writer.connected and outside.connected, writer, outside)
    writer.publish("wishes", b'{"key":"a","value":1}')
    writer.publish("levels", place.frame("more", 1))
    writer.publish("levels", json_body(Level("a", 1), Sent("more.level", 1, 1)))
    writer.publish("levels", b"{")
    outside.publish("levels", b'{"key":"a","value":1}')
    outside.publish("wishes", place.frame("say", 1))
    outside.publish("wishes", json_body(Level("a", 1), Sent("say.level", 1, 1)))
    place.until(lambda: place.relay.refused["peer"] == 7, writer, outside)
    assert place.relay.stats()["frames"] == 0
    writer.publish("levels", json_body(Level("a", 1), Sent("say.level", 1, 1)))
    place.until(lambda: place.relay.stats()["frames"] == 1, writer)
