"""A process's ends at a hub: the publisher writes to one of its publish ports, the subscriber reads topics from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import zmq

from engine.errors import UsageError
from engine.topology.model import HubDecl, TcpAddress
from engine.wire.hub_frame import MAX_FRAME_BYTES, as_last_value, framed

HIGH_WATER = 100_000
MOST_WAITING = 10_000
FIRST_RECONNECT_MS = 10
LAST_RECONNECT_MS = 1_000
LAST_PORT = 65_535
Prepare = Callable[[zmq.Socket[bytes]], None]
"""Gives a socket the keys that an open hub asks for (`Access.prepare_hub`)."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of the hubs of a run, whose ports are all shifted by `offset`."""

    hubs: Mapping[str, HubDecl]
    offset: int = 0

    def publish(self, hub: str) -> str:
        """Return where processes of the run publish: all publish ports of a hub lead to the same place."""
        return self._address(self.hubs[hub], self.hubs[hub].publish[0])

    def subscribe(self, hub: str) -> str:
        """Return where readers subscribe."""
        return self._address(self.hubs[hub], self.hubs[hub].subscribe)

    def every_publish(self, hub: str) -> list[str]:
        """Return all addresses on which the hub itself listens for writers."""
        return [self._address(self.hubs[hub], port) for port in self.hubs[hub].publish]

    def is_json(self, hub: str) -> bool:
        """Return whether what nodes write to a hub is JSON."""
        return self.hubs[hub].codec == "json"

    def _address(self, hub: HubDecl, port: int) -> str:
        return str(TcpAddress(hub.host, shifted(port, self.offset)))


def shifted(port: int, offset: int) -> int:
    """Return a port of a hub in a run that shifts its ports; raise UsageError when that is no port."""
    if not 0 < port + offset <= LAST_PORT:
        raise UsageError(
            f"--port-offset {offset} makes {port + offset} of a hub's port {port}: ports are 1 to {LAST_PORT}"
        )
    return port + offset


class HubPublisher:
    """Write frames to one hub, never waiting for it.

    State, which has a key, is kept: a hub that comes (back) gets the last value of every key. Events, which have none,
    wait in order, at most 10,000; the oldest go then, counted in `dropped`. Call `service()` whenever `fd` is readable
    and after a batch of `publish()`: the descriptor speaks only once of what has happened.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, prepare: Prepare | None = None) -> None:
        self.address = address
        self.connected = False
        self.sent = 0
        self.dropped = 0
        self._waiting: dict[Hashable, bytes] = {}
        self._last: dict[Hashable, tuple[str, bytes]] = {}
        self._event = count()
        self._socket = socket = context.socket(zmq.XPUB)
        _prepare(socket)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        # Without it frames for a hub that is away would pile up in the socket and come hours late.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        if prepare is not None:
            prepare(socket)
        socket.connect(address)
        self.fd = int(socket.getsockopt(zmq.FD))

    @property
    def backlog(self) -> int:
        """Frames that wait for the hub."""
        return len(self._waiting)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        return self._socket

    def publish(self, topic: str, body: bytes, key: Hashable = None) -> None:
        """Send a body on a topic. With a key it replaces what was sent with that key on this topic."""
        frame = framed(topic, body)
        if key is not None:
            key = topic, key
            self._last[key] = topic, body
        if self.connected and not self._waiting:
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                pass
            else:
                self.sent += 1
                return
        self._waiting[next(self._event) if key is None else key] = frame
        if len(self._waiting) > MOST_WAITING:
            self._drop_oldest()

    def service(self) -> None:
        """Take note of a hub that has come or gone, and send what waits."""
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            came = self._socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
            if came:
                self._offer_again()
            self.connected = came
        while self.connected and self._waiting:
            key, frame = next(iter(self._waiting.items()))
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                return
            del self._waiting[key]
            self.sent += 1

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket; with `linger_ms` what was sent may still leave in that time."""
        self._socket.close(linger_ms)

    def _offer_again(self) -> None:
        again = {
            key: framed(topic, as_last_value(body))
            for key, (topic, body) in self._last.items()
            if key not in self._waiting
        }
        # State first: what waits came later.
        self._waiting = again | self._waiting

    def _drop_oldest(self) -> None:
        oldest = next((key for key in self._waiting if isinstance(key, int)), None)
        if oldest is not None:  # all else is one frame per key, which is as little as there can be
            del self._waiting[oldest]
            self.dropped += 1


class HubSubscriber:
    """Read some topics of one hub. A hub that comes back is subscribed to again by itself."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        topics: Iterable[str],
        prepare: Prepare | None = None,
    ) -> None:
        self.address = address
        self.topics = {topic.encode(): topic for topic in topics}
        self._socket = socket = context.socket(zmq.SUB)
        _prepare(socket)
        for topic in self.topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic + b" ")
        if prepare is not None:
            prepare(socket)
        socket.connect(address)
        self.fd = int(socket.getsockopt(zmq.FD))

    @property
    def socket(self) -> zmq.Socket[bytes]:
        return self._socket

    def receive(self, most: int) -> list[tuple[str, bytes]]:
        """Return (topic, body) of the frames that have come, at most that many; when fewer come, nothing is left."""
        found: list[tuple[str, bytes]] = []
        receive, topics = self._socket.recv, self.topics
        try:
            while len(found) < most:
                topic, _, body = receive(zmq.NOBLOCK).partition(b" ")
                found.append((topics[topic], body))
        except zmq.Again:
            pass
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(0)


def _prepare(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, FIRST_RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, LAST_RECONNECT_MS)
    socket.setsockopt(zmq.IPV6, 1)
