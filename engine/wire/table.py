"""The table of ports and wires between processes: the same in every process of a run, made from the plan alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.message import Message
from engine.topology.model import Topology
from engine.topology.plan import Plan, PlannedWire
from engine.wire.frame import MOST_PORTS, FrameLimit, schema_of

OUTSIDE = ""
"""Stands for the process of what comes from outside."""
ONLY_PROCESS = "main"
"""Name of the process that holds all nodes of a topology that places none."""


@dataclass(frozen=True, slots=True)
class TablePort:
    """One numbered port: an output of a node, or the node's calls (`name` is then empty)."""

    number: int
    node: str
    name: str
    message: type[Message]
    process: str
    is_history: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.node, self.name

    @property
    def schema(self) -> int:
        return schema_of(self.message)

    def __str__(self) -> str:
        return f"{self.node}.{self.name}"


@dataclass(frozen=True, slots=True)
class Published:
    """An output that is copied to a topic of a hub."""

    hub: str
    topic: str
    port: TablePort


class WireTable:
    """Number every port of a plan, and tell which wires run between which processes.

    Numbers begin with 1, in the order of the plan: for each node one for its calls, then one per output; then one for
    each topic from outside that is read, by ("hub:NAME", TOPIC) in `outside`. 0 is what has no cause here. Raises
    FrameLimit when the plan has more ports than an id has room for.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processes = placement(plan.topology)
        self.process_of = {node_id: name for name, nodes in self.processes.items() for node_id in nodes}
        self.ports: dict[tuple[str, str], TablePort] = {}
        for node in plan.nodes:
            outputs: dict[str, type[Message]] = {"": Message}
            outputs.update({out.name: out.message for out in node.cls.spec.outputs.values()})
            for name, message in outputs.items():
                self.ports[node.id, name] = TablePort(
                    len(self.ports) + 1, node.id, name, message, self.process_of[node.id], node.cls.spec.is_history
                )
        messages = {node.id: node.cls.spec.inputs for node in plan.nodes}
        self.outside: dict[tuple[str, str], TablePort] = {}
        for wire in plan.outside:
            if wire.source not in self.outside:
                number = len(self.ports) + len(self.outside) + 1
                message = messages[wire.target[0]][wire.target[1]].message
                self.outside[wire.source] = TablePort(number, *wire.source, message, OUTSIDE, is_history=False)
        if len(self.ports) + len(self.outside) >= MOST_PORTS:
            raise FrameLimit(
                f"topology {plan.name!r} has {len(self.ports)} outputs and nodes together; an id has room for "
                f"{MOST_PORTS - 1}: split it into two topologies that meet at a hub"
            )
        self.by_number = {port.number: port for port in (*self.ports.values(), *self.outside.values())}

    def remote(self, wire: PlannedWire) -> bool:
        """Whether a wire runs between two processes."""
        return self.process_of[wire.source[0]] != self.process_of[wire.target[0]]

    def into(self, process: str) -> dict[TablePort, list[PlannedWire]]:
        """Return the wires into a process from others, by port, in the order of the plan."""
        return self._by_port(wire for wire in self.plan.wires if self.process_of[wire.target[0]] == process)

    def out_of(self, process: str) -> dict[TablePort, list[PlannedWire]]:
        """Return the wires out of a process to others, by port, in the order of the plan."""
        return self._by_port(wire for wire in self.plan.wires if self.process_of[wire.source[0]] == process)

    def _by_port(self, wires: Iterable[PlannedWire]) -> dict[TablePort, list[PlannedWire]]:
        found: dict[TablePort, list[PlannedWire]] = {}
        for wire in wires:
            if self.remote(wire):
                found.setdefault(self.ports[wire.source], []).append(wire)
        return found

    def peers(self, process: str) -> tuple[str, ...]:
        """Return the processes with which a process shares a wire, in either direction, in order of declaration.

        A wire through a hub counts: what its ends have to say to each other (greetings, ends) goes directly.
        """
        near = set()
        for wire in self.plan.wires:
            ends = {self.process_of[wire.source[0]], self.process_of[wire.target[0]]}
            if process in ends:
                near |= ends
        return tuple(name for name in self.processes if name in near and name != process)

    def reached(self, process: str) -> frozenset[str]:
        """Return the processes that a process reaches over direct wires that drop nothing."""
        ways: dict[str, set[str]] = {}
        for wire in self.plan.wires:
            if wire.policy.kind in ("reliable", "block") and wire.hub is None:
                ways.setdefault(self.process_of[wire.source[0]], set()).add(self.process_of[wire.target[0]])
        found: set[str] = set()
        ahead = [process]
        while ahead:
            news = ways.get(ahead.pop(), set()) - found
            found |= news
            ahead += news
        return frozenset(found)

    def published(self, process: str) -> list[Published]:
        """Return what the nodes of a process copy to hubs."""
        return [
            Published(wire.target.node, wire.target.port, self.ports[wire.source.node, wire.source.port])
            for wire in self.plan.topology.wires
            if wire.target.hub and self.process_of.get(wire.source.node) == process
        ]


def placement(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Return the nodes of each process."""
    if topology.processes:
        return {process.name: process.nodes for process in topology.processes.values()}
    return {ONLY_PROCESS: tuple(topology.nodes)}


def wire_name(wire: PlannedWire) -> str:
    """Return how a wire is called in status and messages: `a.x -> b.y`."""
    return f"{'.'.join(wire.source)} -> {'.'.join(wire.target)}"
