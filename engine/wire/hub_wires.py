"""The wires of one process that run through hubs: topics that its nodes write, and topics that they read."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any

import zmq

from engine.errors import PipelineError
from engine.message import Message
from engine.run.port import Port, Reader
from engine.topology.plan import PlannedWire
from engine.wire.codec import UNDECODABLE, encoder, object_decoder
from engine.wire.frame import LAST_VALUE, PORT_SHIFT, id_base, pack, tail
from engine.wire.hub_client import Endpoints, HubPublisher, HubSubscriber
from engine.wire.hub_frame import Sent, has_header, json_body, read_envelope, read_json
from engine.wire.inbox import Inbox
from engine.wire.lane import Flow
from engine.wire.link import Link
from engine.wire.route import Route
from engine.wire.security import Access
from engine.wire.table import OUTSIDE, Published, TablePort


class Topic:
    """One output of this process on its way to one topic of a hub; `put` sends a body, now or after a commit."""

    __slots__ = ("end", "held_from", "hub", "publisher", "topic")

    def __init__(self, published: Published, publisher: HubPublisher) -> None:
        self.hub = published.hub
        self.topic = published.topic
        self.publisher = publisher
        self.held_from: int | None = None
        self.end = None

    def put(self, topic: Topic, sequence: int, body: bytes, key: Hashable) -> None:
        self.publisher.publish(self.topic, body, key)


class HubWires:
    """Publishers and subscribers of one process. `open()` joins its outputs to the hubs that they are copied to."""

    def __init__(self, process: str, epoch: int, flow: Flow, inbox: Inbox) -> None:
        self.table = inbox.table
        self.process = process
        self.epoch = epoch
        self.host = inbox.host
        self.flow = flow
        self.inbox = inbox
        self.publishers: dict[str, HubPublisher] = {}
        self.subscribers: dict[str, HubSubscriber] = {}
        self.more = False
        self._writers: dict[tuple[str, str], dict[str, TablePort]] = {}
        self._numbers: dict[tuple[str, str], set[int]] = {}
        self._outside: dict[tuple[str, str], TablePort] = {}
        self._heard: Counter[TablePort] = Counter()

    def join_outside(self, bases: dict[Port, int]) -> list[Route]:
        """Make the ports of topics from outside that are read here, and return what takes their messages."""
        wires: dict[TablePort, list[PlannedWire]] = {}
        for wire in self.table.plan.outside:
            if self.table.process_of[wire.target[0]] == self.process:
                wires.setdefault(self.table.outside[wire.source], []).append(wire)
        routes = []
        nobody = Link(OUTSIDE, self.flow)  # who could be greeted, or start again
        for remote, read in wires.items():
            port = self.host.add_remote(remote.node, remote.name, remote.message)
            bases[port] = id_base(remote.number, self.epoch)
            route = Route(remote, port, nobody, read, bases, hub=True)
            self.inbox.add(route)
            routes.append(route)
            hub, _, topic = (read[0].hub or "").partition("/")
            self._outside[hub, topic] = remote
        return routes

    def open(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        access: Access,
        bases: dict[Port, int],
    ) -> None:
        """Connect to every hub that this process writes to or reads from."""
        for published in self.table.published(self.process):
            hub = published.hub
            if hub not in self.publishers:
                self.publishers[hub] = HubPublisher(context, endpoints.publish(hub), access.prepare_hub(hub))
            port = self.host.ports[published.port.key]
            port.join(self._writer(published, port, endpoints.is_json(hub), bases), None)
        topics: dict[str, set[str]] = {}
        for hub, topic in self._outside:
            topics.setdefault(hub, set()).add(topic)
        for remote, wires in self.table.into(self.process).items():
            for wire in wires:
                if wire.hub is not None:
                    hub, _, topic = wire.hub.partition("/")
                    topics.setdefault(hub, set()).add(topic)
                    self._writers.setdefault((hub, topic), {})[str(remote)] = remote
        self._numbers = {at: {port.number for port in writers.values()} for at, writers in self._writers.items()}
        self._numbers |= {at: set() for at in self._outside if at not in self._numbers}
        for hub, wanted in topics.items():
            address = endpoints.subscribe(hub)
            self.subscribers[hub] = HubSubscriber(context, address, sorted(wanted), access.prepare_hub(hub))

    def watch(self, add_reader: Callable[..., Any], on_readable: Callable[[], None]) -> None:
        """Have the sockets watched; `on_readable` is called when frames may have come."""
        for publisher in self.publishers.values():
            add_reader(publisher.fd, publisher.service)
        for subscriber in self.subscribers.values():
            add_reader(subscriber.fd, on_readable)

    def close(self, remove_reader: Callable[[int], Any], linger_ms: int) -> None:
        """Close the sockets; what was published may still leave within `linger_ms`."""
        for publisher in self.publishers.values():
            remove_reader(publisher.fd)
            publisher.close(linger_ms)
        for subscriber in self.subscribers.values():
            remove_reader(subscriber.fd)
            subscriber.close()
        self.publishers.clear()
        self.subscribers.clear()

    # --- writing ----------------------------------------------------------------------------------------------

    def _writer(self, published: Published, port: Port, as_json: bool, bases: dict[Port, int]) -> Reader:
        """Return the reader that copies every message of a port to a topic."""
        topic = Topic(published, self.publishers[published.hub])
        flow, host, base, last = self.flow, self.host, bases[port], tail(published.port.schema)
        encode, key_of = encoder(port.message), self._key_of(published.port)
        writer, epoch, service = str(published.port), self.epoch, topic.publisher.service

        def write(message: Message) -> None:
            cause, number = host.cause()
            cause_id, now_ns = bases[cause] | number, time.time_ns()
            if as_json:
                body = json_body(message, Sent(writer, epoch, port.sent, cause_id, now_ns))
            else:
                body = pack(base | port.sent, cause_id, now_ns, last) + encode(message)
            key = None if key_of is None else (writer, key_of(message))
            if flow.holding:
                flow.held.append((topic, topic, port.sent, body, key))
            else:
                topic.put(topic, port.sent, body, key)
                service()

        return write

    def _key_of(self, port: TablePort) -> Callable[[Any], Any] | None:
        """Return how to read what a message is the newest of, where it is state: somebody conflates it."""
        conflating = [w for w in self.table.plan.wires if w.source == port.key and w.policy.kind == "conflate"]
        if not conflating or port.message.delivery == "reliable":
            return None
        fields = tuple({wire.policy.by: None for wire in conflating if wire.policy.by is not None})
        return attrgetter(*fields) if fields else _the_only_one

    def service(self) -> None:
        """Send what waits for a hub that has come back."""
        for publisher in self.publishers.values():
            publisher.service()

    # --- reading ----------------------------------------------------------------------------------------------

    def fetch(self, most: int) -> list[bytes]:
        """Return what has come from hubs as frames, JSON being put into frames too; at most about so many."""
        frames: list[bytes] = []
        self.more = False
        for hub, subscriber in self.subscribers.items():
            bodies = subscriber.receive(most)
            self.more |= len(bodies) >= most
            for topic, body in bodies:
                if not has_header(body):
                    if (frame := self._as_frame(hub, topic, body)) is not None:
                        frames.append(frame)
                elif int.from_bytes(body[:8], "little") >> PORT_SHIFT in self._numbers[hub, topic]:
                    frames.append(body)
                else:
                    self.inbox.refuse("foreign", f"hub {hub!r} brings on {topic} what no writer of the topic sends")
        return frames

    def _as_frame(self, hub: str, topic: str, body: bytes) -> bytes | None:
        try:
            sent = read_envelope(body).wire
            port = self._writers.get((hub, topic), {}).get(sent.writer)
            if port is None:
                return self._from_outside(hub, topic, body, sent)
            envelope, message = read_json(body, port.message)
            message_id = id_base(port.number, sent.epoch) | sent.sequence
            flags = LAST_VALUE if envelope.last_value else 0
            if message_id >> PORT_SHIFT != port.number or sent.sequence < 0:
                raise ValueError(f"sequence {sent.sequence} is no sequence")
            payload = encoder(port.message)(message)
            return pack(message_id, sent.cause, sent.sent_ns, tail(port.schema, flags)) + payload
        except (*UNDECODABLE, struct.error, PipelineError) as error:
            self.inbox.refuse("undecodable", f"JSON of a hub: {error}")
            return None

    def _from_outside(self, hub: str, topic: str, body: bytes, sent: Sent) -> bytes | None:
        """Return the frame of a body that no node has written; it is counted here, whatever it says of itself."""
        port = self._outside.get((hub, topic))
        if port is None:
            writer = sent.writer or "nobody"
            self.inbox.refuse("port", f"hub {hub!r} brings JSON of {writer!r} on {topic}, who does not write it")
            return None
        message = object_decoder(port.message)(body)
        self._heard[port] += 1
        message_id = id_base(port.number, self.epoch) | self._heard[port]
        return pack(message_id, 0, time.time_ns(), tail(port.schema)) + encoder(port.message)(message)

    # --- status -----------------------------------------------------------------------------------------------

    @property
    def drained(self) -> bool:
        """Whether nothing waits for a hub that is there."""
        return not any(publisher.connected and publisher.backlog for publisher in self.publishers.values())

    def stats(self) -> dict[str, Any]:
        return {
            f"hub:{hub}": {"sent": publisher.sent, "backlog": publisher.backlog, "dropped": publisher.dropped}
            for hub, publisher in self.publishers.items()
        }


def _the_only_one(message: Message) -> None:
    return None
