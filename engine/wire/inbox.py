"""What comes in from other processes: frames are examined, put in order under their policies, and delivered."""

from __future__ import annotations

import logging
import struct
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from engine.errors import NodeFailed
from engine.message import Message
from engine.run.host import Host
from engine.run.port import Port
from engine.wire.codec import UNDECODABLE
from engine.wire.frame import (
    ACK,
    END,
    EPOCH_SHIFT,
    HEADER_BYTES,
    HELLO,
    LAST_VALUE,
    MOST_PORTS,
    PORT_SHIFT,
    REPEAT,
    SEQUENCE_MASK,
    SKIPPED,
    VERSION,
    WITHIN_PORT_MASK,
    parts,
    tail_parts,
    unpack,
)
from engine.wire.lane import Flow
from engine.wire.link import Link
from engine.wire.route import ALL, FRAME, MESSAGE, WANTED, Entry, Route
from engine.wire.table import WireTable

TAKE_AT_ONCE = 50_000
KEEP_WHEN_PAUSED = 100_000
"""A paused process goes on taking frames up to so many, so that processes that wait for each other go on.

Then it takes only TRICKLE in each tick, so that those before it are held up: acknowledgements and greetings, which may
end the pause, come the same way. At twice as many the wires are reported as stalled."""
TRICKLE = 64
CHUNK = 64
SLICE_NS = 50_000_000
"""After so long a drain lets timers and other sockets have their turn."""

HUB_GRACE_NS = 500_000_000
"""An end waits so long for messages that a hub has yet to bring."""

KNOWN_FLAGS = LAST_VALUE | END | ACK | HELLO | REPEAT | SKIPPED
log = logging.getLogger("wires")


class Words(Protocol):
    """What processes say to each other beside messages; each is called with a frame that is well formed."""

    def on_greeting(self, payload: bytes) -> None: ...

    def on_acknowledged(self, message_id: int, flags: int) -> None: ...

    def on_gap(self, route: Route) -> None: ...

    def on_repeated(self, route: Route) -> None: ...

    def on_end(self, route: Route) -> None: ...

    def on_damaged(self, route: Route) -> None: ...

    def hold(self) -> None: ...


class Inbox:
    """Frames that have been taken from the sockets and not yet been delivered.

    `refused` counts by reason what is no frame for this process; nothing that a peer sends raises. `aside` is what came
    before all that is `pending`, from processes that a paused one does not deliver from.
    """

    def __init__(self, table: WireTable, host: Host, flow: Flow, words: Words) -> None:
        self.table = table
        self.host = host
        self.flow = flow
        self.words = words
        self.routes: list[Route | None] = [None] * MOST_PORTS
        self.hub_routes: list[Route | None] = [None] * MOST_PORTS
        self.pending: deque[Entry] = deque()
        self.aside: deque[Entry] = deque()
        self._open_to: frozenset[Link] | None = None
        """Whose entries were not set aside when others were."""
        self.refused: Counter[str] = Counter()
        self.late_ends: list[Entry] = []
        self.plain = True
        """Whether every route delivers all that comes, so that no message has to wait for those behind it."""
        self.delivered = 0
        """Messages that needed a closer look before they were delivered."""

    def add(self, route: Route) -> None:
        (self.hub_routes if route.hub else self.routes)[route.table.number] = route
        self.plain = self.plain and route.plain

    def refuse(self, reason: str, detail: str) -> None:
        """Count a frame that is not for this process, and log the first of its kind."""
        self.refused[reason] += 1
        if self.refused[reason] == 1:
            log.warning("refused a frame (%s): %s; more of the kind are only counted", reason, detail)

    # --- taking -----------------------------------------------------------------------------------------------

    def sort(self, frames: Iterable[bytes], *, hub: bool = False) -> None:
        """Examine frames in order of arrival and queue what is to be delivered."""
        routes, append = self.hub_routes if hub else self.routes, self.pending.append
        for frame in frames:
            try:
                message_id, _, sent_ns, tail = unpack(frame)
            except struct.error:
                self._too_short(frame)
                continue
            route = routes[message_id >> PORT_SHIFT]
            if route is not None and tail == route.tail and message_id == route.expected:
                route.expected = message_id + 1
            elif not self._examine(frame, message_id, tail, route, hub):
                continue
            assert route is not None, "what has no route is refused"
            if route.plain:
                append((route, message_id, sent_ns, frame, None, ALL))
            else:
                self._place([route, message_id, sent_ns, frame, None, route.everyone])

    def _too_short(self, frame: bytes) -> None:
        self.refuse("length", f"{len(frame)} bytes, fewer than a header's {HEADER_BYTES}")

    def _examine(self, frame: bytes, message_id: int, tail: int, route: Route | None, hub: bool) -> bool:
        """Return whether a frame that is not simply the next of its port is to be delivered."""
        schema, flags, version = tail_parts(tail)
        number, epoch, sequence = parts(message_id)
        if version != VERSION or flags & ~KNOWN_FLAGS:
            self.refuse("version", f"version {version} and flags {flags:#x}; this is version {VERSION}")
        elif hub and flags & ~LAST_VALUE:
            self.refuse("foreign", f"a hub brings a frame with flags {flags:#x}; processes say such things directly")
        elif flags == HELLO:
            self.words.on_greeting(frame[HEADER_BYTES:])
        elif flags & ACK:
            self.words.on_acknowledged(message_id, flags)
        elif flags & END and not hub and (ending := self._routes_of(number)):
            for each in ending:
                self._end(each, message_id, schema)
        elif route is None:
            known = self.table.by_number.get(number)
            if known is None:
                self.refuse("port", f"port number {number} is not in the table")
            else:
                self.refuse("foreign", f"port {known} has no wire to this process")
        elif schema != route.table.schema:
            self.refuse("schema", f"port {route.table} sends schema {schema:#06x}, this process knows another")
        elif epoch < route.peer.epoch and not flags & (REPEAT | LAST_VALUE):
            self.refuse("epoch", f"port {route.table} sends in epoch {epoch} after epoch {route.peer.epoch}")
        elif sequence == 0:
            self.refuse("sequence", f"port {route.table} sends a message without a number")
        elif route.reliable:
            return self._next_reliable(route, message_id, sequence)
        else:
            return self._newer(route, message_id, flags)
        return False

    def _next_reliable(self, route: Route, message_id: int, sequence: int) -> bool:
        wanted = route.expected & SEQUENCE_MASK
        if not route.peer.greeted:
            return False  # it is sent again once it is known what is missing
        if sequence < wanted:
            route.repeated += 1
            self.words.on_repeated(route)
            return False
        if sequence > wanted:
            self.words.on_gap(route)
            return False
        route.gap_since = None
        route.accept(message_id)
        return True

    def _newer(self, route: Route, message_id: int, flags: int) -> bool:
        newest, expected = message_id & WITHIN_PORT_MASK, route.expected & WITHIN_PORT_MASK
        if flags & LAST_VALUE:
            if route.live and newest < expected:
                route.repeated += 1
                return False
        elif not route.peer.greeted and route.is_state and not route.hub:
            return False  # its newest state comes with the greeting, and must not be taken for older than this
        elif expected and (newest >> EPOCH_SHIFT == expected >> EPOCH_SHIFT or route.table.is_history):
            missing = (newest & SEQUENCE_MASK) - (expected & SEQUENCE_MASK)
            if missing < 0:
                route.repeated += 1
                return False
            if flags & SKIPPED:
                route.skipped += missing
            else:
                route.lost += missing
        route.live = True
        route.accept(message_id)
        return True

    def _routes_of(self, number: int) -> list[Route]:
        return [route for routes in (self.routes, self.hub_routes) if (route := routes[number]) is not None]

    def _end(self, route: Route, message_id: int, schema: int) -> None:
        _, epoch, _ = parts(message_id)
        if schema != route.table.schema or epoch < route.peer.epoch:
            self.refuse("epoch", f"the end of port {route.table} comes from epoch {epoch} after {route.peer.epoch}")
        elif route.ended:
            self.words.on_end(route)
        else:
            self.pending.append((route, message_id, time.time_ns(), None, None, ALL))

    def bring_late_ends(self) -> None:
        """Look again at ends that were told directly while messages were still on their way through a hub."""
        self.pending.extend(self.late_ends)
        self.late_ends.clear()

    def _place(self, entry: Entry) -> None:
        """Queue a message for wires that do not all want every one; what it supersedes or pushes out is struck off."""
        route = entry[0]
        if route.keyed:
            try:
                entry[MESSAGE] = route.decode(entry[FRAME][HEADER_BYTES:])
            except UNDECODABLE as error:
                self._undecodable(route, error)
                return
        for group in route.groups:
            struck = group.take(entry)
            if struck is not None:
                struck[WANTED] &= ~group.bit
                if not struck[WANTED]:
                    struck[FRAME] = struck[MESSAGE] = None
        self.pending.append(entry)

    def _undecodable(self, route: Route, error: Exception) -> None:
        self.refuse("undecodable", f"port {route.table}: {error}")
        if route.reliable:
            self.words.on_damaged(route)

    # --- delivering -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.pending) + len(self.aside)

    def waiting(self) -> Iterator[Entry]:
        """Yield what is to be delivered."""
        yield from self.aside
        yield from self.pending

    def tidy(self) -> None:
        """Forget entries that nobody wants any more, to have room for others."""
        for entries in (self.aside, self.pending):
            wanted = [entry for entry in entries if entry[WANTED]]
            if len(wanted) < len(entries):
                entries.clear()
                entries.extend(wanted)

    def _bring_back(self) -> None:
        """Put what was set aside before all that has come since."""
        self.pending.extendleft(reversed(self.aside))
        self.aside.clear()

    def _set_aside(self, entry: Entry) -> bool:
        """Return whether an entry is not to be delivered now: it waits, or what came before it is to be seen first."""
        open_to = self.flow.open_to
        if self.aside and open_to != self._open_to:
            self.pending.appendleft(entry)
            self._bring_back()
            return True
        if open_to is None or entry[0].peer in open_to:
            return False
        self._open_to = open_to
        self.aside.append(entry)
        return True

    def deliver(self) -> int:
        """Deliver what may be delivered into the host until the slice is over, see `Flow`; return how many.

        What a failing node raises goes through; the rest stays pending.
        """
        before = self.delivered
        if self.aside and self.flow.open_to != self._open_to:
            self._bring_back()
        return self.host.receive(self._arrivals()) + self.delivered - before

    def deliver_straight(self, frames: list[bytes]) -> int:
        """Do what `sort` and `deliver` do in one go, where nothing is pending and no route needs to know what follows.

        What is left of the frames is pending afterwards.
        """
        count, at, until_ns = 0, 0, 0
        rest: Iterator[bytes] = iter(())
        try:
            while at < len(frames) and not (self.pending or self.aside or self.flow.paused):
                now_ns = time.time_ns()
                until_ns = until_ns or now_ns + SLICE_NS
                if now_ns > until_ns:
                    break
                self._sample(frames[at], now_ns)
                rest = iter(frames[at : at + CHUNK])
                at += CHUNK
                count += self.host.receive(self._straight(rest))
                self.flow.pour()
        finally:
            self.sort(rest)
            self.sort(frames[at:])
        return count

    def _sample(self, frame: bytes, now_ns: int) -> None:
        """Note how long one message has been on its way."""
        if len(frame) >= HEADER_BYTES:
            message_id, _, sent_ns, _ = unpack(frame)
            route = self.routes[message_id >> PORT_SHIFT]
            if route is not None:
                route.latency.add(now_ns - sent_ns)
                route.sent_ns = sent_ns

    def _straight(self, frames: Iterator[bytes]) -> Iterator[tuple[Port, int, Message]]:
        routes = self.routes
        for frame in frames:
            try:
                message_id, _, _, tail = unpack(frame)
            except struct.error:
                self._too_short(frame)
                continue
            route = routes[message_id >> PORT_SHIFT]
            if route is not None and tail == route.tail and message_id == route.expected:
                route.expected = message_id + 1
            elif not self._examine(frame, message_id, tail, route, False):
                if self.pending:
                    return  # an end: it comes before what follows it
                continue
            assert route is not None, "what has no route is refused"
            body = frame[HEADER_BYTES:]
            try:
                message = route.fast(body)
            except UNDECODABLE:
                try:
                    message = route.decode(body)
                except UNDECODABLE as error:
                    self._undecodable(route, error)
                    continue
            sequence = message_id - route.base
            if not 0 < sequence <= SEQUENCE_MASK:
                sequence = route.rebase(message_id)
            if route.reliable:
                self.words.hold()
            yield route.port, sequence, message
            route.applied = message_id

    def _arrivals(self) -> Iterator[tuple[Port, int, Message]]:
        pending, flow = self.pending, self.flow
        popleft = pending.popleft
        until_ns = 0
        while pending and not flow.shut:
            flow.pour()
            now_ns = time.time_ns()
            until_ns = until_ns or now_ns + SLICE_NS
            if now_ns > until_ns:
                return
            first = pending[0]
            if first[FRAME] is not None:
                first[0].latency.add(now_ns - first[2])
            for _ in range(min(CHUNK, len(pending))):
                route, message_id, sent_ns, frame, _, _ = entry = popleft()
                if (flow.paused or self.aside) and self._set_aside(entry):
                    continue
                if route.careful or frame is None:
                    self._deliver_one(route, entry, now_ns)
                else:
                    try:
                        message = route.decode(frame[HEADER_BYTES:])
                    except UNDECODABLE as error:
                        self._undecodable(route, error)
                        continue
                    sequence = message_id - route.base
                    if not 0 < sequence <= SEQUENCE_MASK:
                        sequence = route.rebase(message_id)
                    yield route.port, sequence, message
                    route.applied = message_id
                    route.sent_ns = sent_ns
                if flow.shut:
                    break

    def _deliver_one(self, route: Route, entry: Entry, now_ns: int) -> None:
        """Deliver an entry that needs a closer look."""
        if entry[FRAME] is None:
            if not entry[WANTED] or route.ended:
                return
            missing = (route.expected & SEQUENCE_MASK) <= (entry[1] & SEQUENCE_MASK)
            if route.hub and missing and now_ns - entry[2] < HUB_GRACE_NS:
                self.late_ends.append(entry)
            else:
                route.ended = True
                self.words.on_end(route)
            return
        message = entry[MESSAGE]
        if message is None:
            try:
                message = route.decode(entry[FRAME][HEADER_BYTES:])
            except UNDECODABLE as error:
                self._undecodable(route, error)
        wanted = entry[WANTED] & route.everyone
        for group in () if route.plain else route.groups:
            if wanted & group.bit and not group.release(entry, now_ns):
                wanted &= ~group.bit
        if message is None or not wanted:
            return
        if route.reliable:
            self.words.hold()
        route.port.sent = route.rebase(entry[1]) - 1
        new = route.identities is None or route.identities.add(message)
        if new:
            self._inject(route, message, wanted)
            self.delivered += 1
        else:
            route.repeated += 1
        route.applied, route.sent_ns = entry[1], entry[2]

    def _inject(self, route: Route, message: Message, wanted: int) -> None:
        try:
            if wanted == route.everyone and not route.shared:
                self.host.inject(route.port, message)
            else:
                route.inject_some(self.host, message, wanted)
        except NodeFailed:
            if route.identities is not None:
                route.identities.discard_newest()
            raise
