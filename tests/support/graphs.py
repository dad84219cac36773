"""Topologies made by hand, for tests that need no text."""

from __future__ import annotations

from itertools import count
from typing import Any

from engine.errors import Place
from engine.topology.model import (
    HubDecl,
    NodeDecl,
    Origin,
    Policy,
    PortRef,
    ProcessDecl,
    Setting,
    Topology,
    Wire,
)

FILE = "greenhouse.yaml"


class TopologyBuilder:
    """Each call adds one line to an imaginary file: places tell the order in which things were added."""

    def __init__(self) -> None:
        self.lines = count(1)
        self.nodes: dict[str, NodeDecl] = {}
        self.wires: list[Wire] = []
        self.hubs: dict[str, HubDecl] = {}
        self.processes: dict[str, ProcessDecl] = {}
        self.loops: list[tuple[PortRef, PortRef, Origin]] = []

    def node(self, node_id: str, use: str, used: tuple[Place, ...] = (), **params: Any) -> TopologyBuilder:
        origin = self._origin(used)
        settings = {
            name: value if isinstance(value, Setting) else Setting(value, origin) for name, value in params.items()
        }
        self.nodes[node_id] = NodeDecl(node_id, use, settings, origin, origin)
        return self

    def wire(self, *lines: str, **policy: Any) -> TopologyBuilder:
        """Add wires written as `a.out -> b.in`; keywords are fields of the policy."""
        for line in lines:
            source, target = (port(text) for text in line.split(" -> "))
            rank = sum(wire.target == target for wire in self.wires)
            self.wires.append(Wire(source, target, Policy(**policy), rank, self._origin()))
        return self

    def hub(
        self, name: str, publish: tuple[int, ...], subscribe: int, outside: tuple[str, ...] = ()
    ) -> TopologyBuilder:
        self.hubs[name] = HubDecl(name, publish, subscribe, "msgpack", self._origin(), outside=outside)
        return self

    def process(self, name: str, nodes: tuple[str, ...], patterns: tuple[str, ...] = ()) -> TopologyBuilder:
        origin = self._origin()
        written = tuple((pattern, origin.place) for pattern in patterns or nodes)
        known = tuple(node for node in nodes if node in self.nodes)
        self.processes[name] = ProcessDecl(name, known, origin, patterns=written)
        return self

    def feedback(self, *lines: str) -> TopologyBuilder:
        for line in lines:
            source, target = (port(text) for text in line.split(" -> "))
            self.loops.append((source, target, self._origin()))
        return self

    def build(self) -> Topology:
        return Topology(
            name="greenhouse",
            about="",
            origin=Origin(Place(FILE, 1, 1)),
            params={},
            nodes=self.nodes,
            wires=tuple(self.wires),
            hubs=self.hubs,
            processes=self.processes,
            feedback=tuple(self.loops),
        )

    def _origin(self, used: tuple[Place, ...] = ()) -> Origin:
        return Origin(Place(FILE, next(self.lines), 1), used)


def port(text: str) -> PortRef:
    """Read `node.port` or `hub:name/topic`."""
    if text.startswith("hub:"):
        name, _, topic = text[4:].partition("/")
        return PortRef(name, topic, hub=True)
    node, _, name = text.rpartition(".")
    return PortRef(node, name)
