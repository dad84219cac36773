"""Who may write to open hubs and read from them: processes by the plan, programs outside by the operator's key.

A hub is open when the topology gives it an address. Its ports then speak CURVE only; a process is let in where one of
its nodes writes or reads, and writes the topics and as the nodes that the plan says. The operator may read every open
hub, and write the topics that a hub takes from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import zmq

from engine.topology.machines import OPERATOR, hubs_key, open_hubs, users_of
from engine.wire.codec import UNDECODABLE
from engine.wire.frame import HEADER_BYTES, PORT_SHIFT, unpack
from engine.wire.hub_frame import MAX_TOPIC, has_header, read_envelope
from engine.wire.keys import KeyFolder, KeyUnusable
from engine.wire.security import Gatekeeper, Strangers, keep_alive
from engine.wire.table import WireTable

Side = Literal["publish", "subscribe"]


class HubGuard:
    """The guard of the open hubs of one machine. Raises KeyUnusable where a key is missing or unfit."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], table: WireTable, machine: str | None, hubs: list[str]
    ) -> None:
        topology = table.plan.topology
        self._table = table
        self._open = [name for name in open_hubs(topology) if name in hubs]
        self._topics: dict[str, dict[str, set[bytes]]] = {name: {} for name in self._open}
        self._strangers: list[Strangers] = []
        if topology.run.keys is None:
            raise KeyUnusable(f"hub {self._open[0]!r} names an address, and the topology names no keys")
        keys = KeyFolder(Path(topology.run.keys))
        self._secret = keys.secret(hubs_key(machine))
        allowed = {}
        for name in self._open:
            writers = self._writers(name)
            readers = [user for user in sorted(users_of(topology, name)) if self._reads(user, name)]
            allowed[_domain(name, "publish")] = keys.allowed(list(writers))
            allowed[_domain(name, "subscribe")] = keys.allowed([*readers, OPERATOR])
        self._keeper = Gatekeeper(context, allowed)

    def _writers(self, hub: str) -> dict[str, set[bytes]]:
        """Return what each may write to a hub."""
        topology, home = self._table.plan.topology, self._table.process_of
        writers = self._topics[hub]
        for wire in topology.wires:
            if wire.target.hub and wire.target.node == hub:
                writers.setdefault(home[wire.source.node], set()).add(wire.target.port.encode())
        if topology.hubs[hub].outside:
            writers[OPERATOR] = {topic.encode() for topic in topology.hubs[hub].outside}
        return writers

    def _reads(self, process: str, hub: str) -> bool:
        wires, home = self._table.plan.topology.wires, self._table.process_of
        return any(w.source.hub and w.source.node == hub and home[w.target.node] == process for w in wires)

    def protect(self, socket: zmq.Socket[bytes], hub: str, side: Side) -> bool:
        """Make the socket of an open hub speak CURVE, before it is bound; False for one that is not open."""
        if hub not in self._open:
            return False
        keep_alive(socket)
        socket.curve_server = True
        socket.curve_secretkey = self._secret
        socket.zap_domain = _domain(hub, side).encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._strangers.append(Strangers(socket, self._keeper.refuse))
        return True

    def may_write(self, hub: str, peer: str, frame: bytes) -> bool:
        """Tell whether a peer may write this frame: the topic is its own, and it speaks for none but its own nodes."""
        topic, _, body = frame[: MAX_TOPIC + 1].partition(b" ")
        if topic not in self._topics[hub].get(peer, ()):
            return False
        body = frame[len(topic) + 1 :]
        if has_header(body):
            port = self._table.by_number.get(unpack(body[:HEADER_BYTES])[0] >> PORT_SHIFT)
            return port is not None and port.process == peer
        try:
            writer = read_envelope(body).wire.writer
        except UNDECODABLE:
            return False
        return not writer or self._table.process_of.get(writer.rpartition(".")[0]) == peer

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """Sockets to be watched; on any of them call `turn()`."""
        return self._keeper.socket, *(each.socket for each in self._strangers)

    @property
    def refused(self) -> Counter[str]:
        """How many connections were refused, by address."""
        return self._keeper.refused

    def turn(self) -> None:
        """Let in who may come in, and count who may not."""
        self._keeper.turn()
        for each in self._strangers:
            each.turn()

    def close(self) -> None:
        """Close what the guard has; after the sockets that it guards."""
        for each in self._strangers:
            each.socket.close(0)
        self._keeper.close()


class Writers:
    """Reads what writers send to an open hub, and leaves out what they may not write."""

    def __init__(
        self, socket: zmq.Socket[bytes], hub: str, guard: HubGuard, refuse: Callable[[str, bytes], None]
    ) -> None:
        self._receive = socket.recv
        self._hub = hub
        self._guard = guard
        self._refuse = refuse

    def recv(self, flags: int) -> bytes | None:
        """Return the next frame, or None for one that its writer may not write; raises zmq.Again when there is none."""
        whole = self._receive(flags, copy=False)
        frame = whole.bytes
        if self._guard.may_write(self._hub, str(whole.get("User-Id")), frame):
            return frame
        self._refuse("peer", frame)
        return None


def _domain(hub: str, side: Side) -> str:
    return f"hub.{hub}.{side}"
