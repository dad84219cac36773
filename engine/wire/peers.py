"""What processes say to each other beside messages: greetings, acknowledgements, what is missing, and ends."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable

from engine.run.calls import Watch
from engine.run.host import Host
from engine.topology.plan import PlannedWire
from engine.wire.codec import UNDECODABLE
from engine.wire.frame import (
    ACK,
    END,
    MOST_PORTS,
    REPEAT,
    SEQUENCE_MASK,
    Greeting,
    PortGreeting,
    decode_greeting,
    hello,
    id_base,
    pack,
    parts,
    tail,
)
from engine.wire.lane import FIRST_PATIENCE_S, Flow, Lane
from engine.wire.link import Link
from engine.wire.route import Route
from engine.wire.table import WireTable, wire_name

ASK_AGAIN_S = 0.05
REPAIR_WITHIN_S = 5.0
"""A gap of a reliable wire that is still there after so long, its writer alive, is reported as broken."""
LONGEST_PATIENCE_S = 8.0
STALLED_AFTER_S = 30.0
"""A wire has stalled when its process has been paused so long, with nothing delivered or acknowledged meanwhile."""
log = logging.getLogger("wires")


class Peers:
    """The other processes: who is there, in which epoch, what each still owes and what it is owed.

    `met` is true once all have been greeted; `gone` are those that have died and may come back.
    """

    def __init__(self, table: WireTable, process: str, epoch: int, host: Host, flow: Flow) -> None:
        self.table = table
        self.process = process
        self.epoch = epoch
        self.host = host
        self.flow = flow
        self.links = {peer: Link(peer, flow) for peer in table.peers(process)}
        for peer, link in self.links.items():
            beyond = table.reached(peer)
            link.returns = frozenset(each for name, each in self.links.items() if name in beyond | {peer})
        self.routes: list[Route] = []
        self.direct: dict[int, Route] = {}
        self.lanes: list[Lane] = []
        self.gone: set[str] = set()
        self.met = False
        self.on_broken: Callable[[str], None] = _log_broken
        self.refuse: Callable[[str, str], None] = _refuse_nothing
        self.address: Callable[[str], str] = str
        self._names = tuple(table.processes)
        self._broken: set[str] = set()
        self._answer: dict[Route, None] = {}
        self.stalls = 0
        self._progress: object = None
        self._progress_at = 0.0

    def add(self, route: Route) -> None:
        self.routes.append(route)
        if not route.hub:
            self.direct[route.table.number] = route

    # --- greetings --------------------------------------------------------------------------------------------

    def greet(self, link: Link) -> None:
        ports = tuple(
            PortGreeting(
                lane.port.number,
                self.host.ports[lane.port.key].sent,
                lane.unacknowledged.start,
                lane.unacknowledged.acknowledged,
            )
            for lane in link.lanes.values()
            if lane.unacknowledged is not None
        )
        heard = link.epoch if link.greeted else 0
        link.say(hello(Greeting(self.process, self.epoch, heard, ports), time.time_ns()))

    def on_greeting(self, payload: bytes) -> None:
        """Answer a process that greets; one that is new here is sent what it may lack."""
        try:
            greeting = decode_greeting(payload)
        except UNDECODABLE as error:
            self.refuse("undecodable", f"a greeting: {error}")
            return
        link = self.links.get(greeting.process)
        if link is None or link.final:
            self.refuse("foreign", f"process {greeting.process!r} greets, with which no wire is shared")
            return
        if not max(link.epoch, 1) <= greeting.epoch < MOST_PORTS:
            self.refuse("epoch", f"process {link.peer!r} greets in epoch {greeting.epoch} after {link.epoch}")
            return
        news = not link.greeted or greeting.epoch > link.epoch
        if news:
            if link.epoch:
                link.reconnect(self.address(link.peer))
            self.gone.discard(link.peer)
            self._expect(link, greeting)
            link.greet(greeting.epoch)
        link.heard_us |= greeting.heard == self.epoch
        if news or greeting.heard != self.epoch:
            self.greet(link)
        if news and not self.flow.holding:
            link.catch_up()

    def _expect(self, link: Link, greeting: Greeting) -> None:
        """Set what comes next on every port of a peer, by what it says and what has been applied here."""
        for route in self.routes:
            if (
                route.peer is link
                and not (route.expected or route.reliable or route.hub)
                and greeting.epoch == self.epoch == 1
            ):
                route.expect(id_base(route.table.number, 1) + 1)
        for said in greeting.ports:
            route_or_none = self.direct.get(said.port)
            if route_or_none is None or route_or_none.peer is not link or not route_or_none.reliable:
                self.refuse("foreign", f"process {link.peer!r} greets for port {said.port}")
                continue
            route = route_or_none
            last = (route.expected - 1) & SEQUENCE_MASK if route.expected else None
            if last is None:
                last = said.start & SEQUENCE_MASK
                if said.acknowledged != said.start:
                    self._break(route, f"{said.acknowledged} were acknowledged here, but the journal knows of none")
            elif said.sent < last:
                self._break(route, f"{last} came, but the writer's journal knows of {said.sent}")
            elif said.acknowledged > last:
                self._break(route, f"{said.acknowledged} were acknowledged, but the journal here knows of {last}")
            route.expect((id_base(route.table.number, greeting.epoch) | last) + 1)
            route.gap_since = None

    def on_acknowledged(self, message_id: int, flags: int) -> None:
        """A peer has applied all of a port up to a sequence, or asks for what comes after it, or has heard its end."""
        number, epoch, sequence = parts(message_id)
        peer_number = epoch  # an acknowledgement says who sends it in the place of the epoch
        link = self._by_index(peer_number)
        lane = link.lanes.get(number) if link is not None else None
        if link is None or lane is None:
            self.refuse("foreign", f"port number {number} is acknowledged by a process that does not read it")
        elif flags & END:
            if lane.end is not None:
                lane.end.acknowledged = True
                self.flow.soon()
        elif lane.unacknowledged is None:
            self.refuse("foreign", f"port {lane.port} is acknowledged, but is not reliable")
        elif flags & REPEAT:
            link.send_again(lane, sequence)
        elif lane.unacknowledged.acknowledge(sequence):
            lane.progress_at = time.monotonic()
            link.weigh()
            if not lane.unacknowledged:
                self.flow.soon()

    def _by_index(self, index: int) -> Link | None:
        return self.links.get(self._names[index]) if index < len(self._names) else None

    def _word(self, route: Route, sequence: int, flags: int) -> None:
        index = self._names.index(self.process)
        message_id = id_base(route.table.number, index) | sequence
        route.peer.say(pack(message_id, 0, time.time_ns(), tail(route.table.schema, flags)))

    def acknowledge(self, route: Route) -> None:
        self._word(route, route.committed & SEQUENCE_MASK, ACK)

    def on_repeated(self, route: Route) -> None:
        """Acknowledge once more what has been applied before."""
        self._answer[route] = None

    def on_gap(self, route: Route) -> None:
        """Ask for what is missing on a reliable wire."""
        now = time.monotonic()
        if route.gap_since is None:
            route.gap_since = now
        if now - route.asked_at >= ASK_AGAIN_S:
            route.asked_at = now
            self._word(route, (route.expected - 1) & SEQUENCE_MASK, ACK | REPEAT)

    def on_damaged(self, route: Route) -> None:
        """Report a reliable message that cannot be read: sending it again would not help."""
        self._break(route, "a message cannot be decoded")

    def on_end(self, route: Route) -> None:
        """Close a node's ports once all of them have ended, and tell the writer that its end has been heard."""
        node_id = route.table.node
        if all(other.ended for other in self.routes if other.table.node == node_id):
            self.host.close(node_id)
        self._word(route, route.applied & SEQUENCE_MASK, ACK | END)

    def _break(self, route: Route, reason: str) -> None:
        self._report([wire for group in route.groups for wire in group.wires], f"is broken: {reason}")

    def _report(self, wires: list[PlannedWire], what: str) -> None:
        for name in map(wire_name, wires):
            if name not in self._broken:
                self._broken.add(name)
                log.error("wire %s %s", name, what)
                self.on_broken(name)

    def report_again(self) -> None:
        """Report wires that are still broken when they next show it: a run that is rearmed does not mend them."""
        self._broken.clear()

    def answer(self) -> None:
        """Acknowledge once more what has come once more."""
        for route in self._answer:
            self.acknowledge(route)
        self._answer.clear()

    def hold(self) -> None:
        """Hold back all that is sent from now on until `committed()`."""
        if not self.flow.holding:
            self.flow.pour()  # what came before is no longer held back
            self.flow.holding = True
            for link in self.links.values():
                link.direct = False

    # --- time passes ------------------------------------------------------------------------------------------

    def repair(self) -> None:
        """Repair: flush what waits, ask again for what is missing, send again what nobody acknowledges."""
        now = time.monotonic()
        for link in self.links.values():
            if link.backlog or link.urgent:
                link.flush()
            if link.greeted:
                for lane in link.lanes.values():
                    self._insist(lane, now)
            elif self.met and not (link.final or link.urgent):
                self.greet(link)  # it may be back already: news of its end and its greeting come by different ways
        for route in self.routes:
            if route.gap_since is not None and route.peer.greeted:
                if now - route.gap_since > REPAIR_WITHIN_S:
                    missing = route.expected & SEQUENCE_MASK
                    self._break(route, f"number {missing} is missing and was not sent again in {REPAIR_WITHIN_S:g} s")
                self.on_gap(route)

    def watch(self, waiting: int, most: int) -> None:
        """Report the wires for which this process is paused when that has no end: `waiting` are its frames in memory.

        That is so when peers that are there acknowledge nothing any more, and when more than `most` wait, as where
        processes answer each message with more than one. It is for whoever runs the process to halt the run.
        """
        if not self.flow.full:
            self._progress = None
            return
        lanes = [lane for link in self.flow.full if link.greeted for lane in link.lanes.values()]
        owing = [lane for lane in lanes if lane.unacknowledged]
        owed = [(lane, lane.unacknowledged.acknowledged) for lane in owing if lane.unacknowledged is not None]
        progress = ([route.applied for route in self.routes], owed)
        now = time.monotonic()
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        still_s = now - self._progress_at
        if owing and still_s > STALLED_AFTER_S:
            self._stall(owing, f"has stalled: paused, and nothing was acknowledged for {still_s:.0f} s")
        elif waiting > most:
            waits = [lane for lane in lanes if lane.unacknowledged or (lane.kind == "block" and lane.queued)]
            self._stall(waits, f"has stalled: paused, and {waiting:,} frames wait here: more comes than leaves")

    def _stall(self, lanes: list[Lane], what: str) -> None:
        wires = [wire for lane in lanes for wire in lane.wires]
        if any(wire_name(wire) not in self._broken for wire in wires):
            self.stalls += 1
            self._report(wires, f"{what}; slow down what is sent, or break the way round")

    def _insist(self, lane: Lane, now: float) -> None:
        owed = lane.unacknowledged
        if lane.queued or lane.held_from is not None or now - lane.progress_at < lane.patience_s:
            return
        lane.progress_at = now
        if owed:
            lane.patience_s = min(lane.patience_s * 2, LONGEST_PATIENCE_S)
            lane.link.send_again(lane, owed.acknowledged)
        elif lane.end is not None and not lane.end.acknowledged:
            lane.link.put_end(lane, lane.end)
        else:
            lane.patience_s = FIRST_PATIENCE_S

    # --- life -------------------------------------------------------------------------------------------------

    def tell_stale(self) -> None:
        """Tell inputs with `on_stale` whose writers are all gone, without waiting for their time to pass."""
        host = self.host
        for watch in host.watches:
            if watch.stale or watch.cancelled:
                continue
            here = (watch.node, watch.input)
            writers = [port for port in host.ports.values() if here in port.targets and not port.closed]
            if writers and all(self.table.process_of[port.node] in self.gone for port in writers):
                self._silence(watch)

    def _silence(self, watch: Watch) -> None:
        host = self.host
        host.calls[:] = [entry for entry in host.calls if entry[2] is not watch]
        heapq.heapify(host.calls)
        watch.stale = True
        host.call(watch.node, "input_stale", (watch.input, watch.action))


def _log_broken(wire: str) -> None:
    log.error("wire %s cannot be repaired, and nobody is there to halt the run", wire)


def _refuse_nothing(reason: str, detail: str) -> None:
    log.warning("refused a frame (%s): %s", reason, detail)
