"""Processes of a small graph, joined by real wires: in one test process, or in forked children."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from support.weather import HERE, node, wire

from engine import In, Message, Node, Out
from engine.clock import Clock
from engine.run.host import Host
from engine.run.journal import QueueNews
from engine.topology.model import Policy, ProcessDecl, Topology
from engine.topology.plan import Plan, PlannedNode, PlannedWire
from engine.wire.table import WireTable
from engine.wire.wires import Wires

__all__ = ["Fact", "Level", "Party", "Sayer", "Taker", "node", "party_plan", "wire"]


class Level(Message):
    """State: a number for a key."""

    key: str
    value: int


class Fact(Message):
    """What must arrive, once."""

    delivery = "reliable"
    identity: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    value: int


class Sayer(Node):
    """Says what it is told to say."""

    level = Out(Level, doc="Levels.")
    fact = Out(Fact, doc="Facts.")


class Taker(Node):
    """Keeps what it hears."""

    stale_actions: ClassVar = {"stop": "nothing"}

    level = In(Level, doc="Levels.", optional=True, many=True)
    other = In(Level, doc="Levels again.", optional=True, policy="conflate", many=True)
    fact = In(Fact, doc="Facts.", optional=True, many=True)
    answer = Out(Level, doc="Each level, times ten.")
    echo = Out(Fact, doc="Each fact again.")

    def start(self) -> None:
        self.levels: list[tuple[str, int]] = []
        self.others: list[tuple[str, int]] = []
        self.facts: list[str] = []
        self.events: list[str] = []

    def on_level(self, level: Level) -> None:
        self.levels.append((level.key, level.value))
        self.answer(key=level.key, value=level.value * 10)

    def on_other(self, level: Level) -> None:
        self.others.append((level.key, level.value))

    def on_fact(self, fact: Fact) -> None:
        self.facts.append(fact.name)
        self.echo(name=f"{fact.name}'", value=fact.value)

    def input_stale(self, name: str, action: str) -> None:
        self.events.append(f"{name} stale: {action}")

    def input_recovered(self, name: str) -> None:
        self.events.append(f"{name} recovered")

    def input_closed(self, name: str) -> None:
        self.events.append(f"{name} closed")


def party_plan(processes: dict[str, list[PlannedNode]], planned: list[PlannedWire], **more: Any) -> Plan:
    """Return a plan whose nodes are placed in processes; `more` are fields of its topology."""
    placed = {name: ProcessDecl(name, tuple(n.id for n in nodes), HERE) for name, nodes in processes.items()}
    topology = replace(Topology("party", "", HERE, {}, {}, (), {}, placed, ()), **more)
    return Plan("party", topology, tuple(n for nodes in processes.values() for n in nodes), tuple(planned))


class Disk:
    """What a journal keeps of wires, in memory; `bytes()` tells and the constructor takes all of it."""

    def __init__(self, data: bytes = b"") -> None:
        self.wires: bytes
        self.queues: dict[str, dict[int, bytes]]
        self.wires, self.queues = (
            msgspec.msgpack.decode(data, type=tuple[bytes, dict[str, dict[int, bytes]]]) if data else (b"", {})
        )

    def write(self, wires: bytes, news: list[QueueNews]) -> None:
        self.wires = wires
        for name, first, rows in news:
            queue = self.queues.setdefault(name, {})
            for number in [number for number in queue if number < first]:
                del queue[number]
            queue.update(rows)

    def rows(self) -> dict[str, list[tuple[int, bytes]]]:
        return {name: sorted(queue.items()) for name, queue in self.queues.items() if queue}

    def __bytes__(self) -> bytes:
        return msgspec.msgpack.encode((self.wires, self.queues))


class Party:
    """One process of a plan: its host and its wires."""

    def __init__(self, plan: Plan, name: str, sockets: Path, epoch: int = 1, journal: bytes | None = None) -> None:
        self.plan = plan
        self.name = name
        self.host = Host(Clock(1))
        mine = plan.topology.processes[name].nodes
        for planned in plan.nodes:
            if planned.id in mine:
                self.host.add(planned.id, planned.cls, planned.params)
        for port in (*self.host.ports.values(), *self.host.called.values()):
            port.epoch = epoch
        self.wires = Wires(WireTable(plan), name, epoch, sockets, self.host)
        self.broken: list[str] = []
        self.wires.on_broken = self.broken.append
        self.wires.open()
        for each in plan.wires:
            if each.target[0] in self.host.nodes and each.source in self.host.ports:
                stale = each.policy.on_stale
                self.host.wire(each.source, each.target, (stale.after_s, stale.action) if stale else None)
        self.host.start()
        self.disk = Disk()
        if journal is not None:
            self.restore(journal)

    def restore(self, journal: bytes) -> None:
        self.disk = Disk(journal)
        self.wires.restore(self.disk.wires, self.disk.rows())

    def keep(self) -> bytes:
        """Put on disk what the wires owe; return all that is there."""
        self.disk.write(*self.wires.journal_state())
        return bytes(self.disk)

    def node(self, node_id: str) -> Any:
        return self.host.nodes[node_id]

    def say(self, port: str, message: Message) -> None:
        """Let an output send a message, as a source would."""
        node_id, _, name = port.rpartition(".")
        self.host.inject(self.host.ports[node_id, name], message)

    def settle(self) -> bytes:
        """Commit what is uncommitted; return the journal's bytes."""
        data = self.keep()
        self.wires.committed()
        return data

    def attach(self) -> None:
        self.wires.attach(asyncio.get_running_loop(), self.on_wires)

    def on_wires(self) -> None:
        self.wires.drain()
        if self.wires.uncommitted:
            self.settle()


def policy(kind: Any, **more: Any) -> Policy:
    return Policy(kind, **more)


async def until(condition: Any, timeout_s: float = 5.0, *parties: Party) -> None:
    """Wait until a condition holds, draining these parties meanwhile; fail when it does not come to hold."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not condition():
        assert loop.time() < deadline, "it did not come to hold in time"
        for party in parties:
            party.on_wires()
        await asyncio.sleep(0.001)


class Cable:
    """Two parties whose frames pass through the test's hands instead of sockets."""

    def __init__(self, *parties: Party) -> None:
        self.parties: dict[str, Party] = {}
        self.queues: dict[tuple[str, str], list[bytes]] = {}
        for party in parties:
            self.plug(party)

    def plug(self, party: Party) -> None:
        """Put a party in the place of that name; what was on its way from an earlier one stays on its way."""
        self.parties[party.name] = party
        for peer, link in party.wires.links.items():
            queue = self.queues.setdefault((party.name, peer), [])
            link.push = lambda frame, flags, queue=queue: queue.append(frame)

    def carry(self, source: str, target: str, fates: Iterable[int] = ()) -> None:
        """Bring what `source` has sent; a fate of 0 loses a frame, 2 brings it twice."""
        queue = self.queues[source, target]
        chosen = iter(fates)
        frames = [frame for frame in queue for _ in range(next(chosen, 1))]
        queue.clear()
        party = self.parties[target]
        party.wires.inbox.sort(frames)
        party.wires.peers.answer()

    def greet(self) -> None:
        """Let everybody greet everybody until all have answered."""
        for _ in range(4):
            for party in self.parties.values():
                for link in party.wires.links.values():
                    if not link.heard_us:
                        party.wires.peers.greet(link)
            for source, target in list(self.queues):
                self.carry(source, target)

    def repair(self) -> None:
        """Do at once what is otherwise done when time has passed."""
        for party in self.parties.values():
            for lane in party.wires.lanes:
                lane.progress_at = -1e9
            for route in party.wires.routes:
                route.asked_at = -1e9
            party.wires._tick()

    def close(self) -> None:
        for party in self.parties.values():
            party.wires.close()
