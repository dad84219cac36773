"""Reliable wires: what has been sent and is not yet acknowledged, and what has been applied already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import PipelineError
from engine.message import Message
from engine.run.journal import QueueNews
from engine.wire.frame import PORT_SHIFT, WITHIN_PORT_MASK, at_port, unpack

if TYPE_CHECKING:
    from engine.wire.lane import Lane
    from engine.wire.route import Route

_ID_BYTES = 8
_OWED = "owed "
REMEMBERED_IDS = 2_048
RESEND_AT_ONCE = 1_000
"""Most frames that are sent again in one go; the rest follows as these are acknowledged."""


class Unacknowledged:
    """Frames of one port to one peer, from sending until the peer has applied them and put their effect on disk.

    `start` is the sequence after which the wire began, `acknowledged` the last one that the peer has acknowledged.
    On disk are the frames above `forgotten` up to `written`.
    """

    __slots__ = ("acknowledged", "forgotten", "frames", "start", "written")

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.acknowledged = self.forgotten = self.written = start
        self.frames: deque[tuple[int, bytes]] = deque()

    def __len__(self) -> int:
        return len(self.frames)

    def add(self, sequence: int, frame: bytes) -> None:
        self.frames.append((sequence, frame))

    def acknowledge(self, sequence: int) -> bool:
        """Forget all up to `sequence`; return whether that was news. What was never sent is not acknowledged."""
        frames = self.frames
        before = len(frames)
        while frames and frames[0][0] <= sequence:
            self.acknowledged = frames.popleft()[0]
        return len(frames) < before

    def after(self, sequence: int, before: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the oldest frames above `sequence` and below `before`, some at a time."""
        wanted = (each for each in self.frames if each[0] > sequence and (before is None or each[0] < before))
        return islice(wanted, RESEND_AT_ONCE)

    def news(self, name: str) -> QueueNews | None:
        """Return what the disk does not know, under the name of a queue; None where it knows all."""
        first = self.acknowledged + 1 if self.acknowledged > self.forgotten else 0
        rows = _newest(self.frames, self.written)
        return QueueNews(name, first, rows) if first or rows else None

    def settle(self) -> None:
        """Note that the news is on disk."""
        self.forgotten = self.acknowledged
        if self.frames:
            self.written = self.frames[-1][0]

    def restore(self, start: int, acknowledged: int, frames: Iterable[tuple[int, bytes]]) -> None:
        self.start, self.acknowledged = start, acknowledged
        self.frames = deque(frames)
        self.written = acknowledged
        self.settle()


class Identities:
    """The business ids of the newest messages of one wire: what is told twice is applied once.

    A message class declares which fields make up its id: `identity = ("source", "number")`. Ids are numbered from 1 as
    they come; on disk are those above `forgotten` up to `written`.
    """

    __slots__ = ("_ids", "_order", "_read", "count", "forgotten", "written")

    def __init__(self, kind: type[Message]) -> None:
        self._read: Callable[[Any], Any] = attrgetter(*identity_of(kind))
        self._ids: set[bytes] = set()
        self._order: deque[tuple[int, bytes]] = deque()
        self.count = self.forgotten = self.written = 0

    def add(self, message: Message) -> bool:
        """Note a message; return whether its id is new."""
        found = blake2b(msgspec.msgpack.encode(self._read(message)), digest_size=_ID_BYTES).digest()
        if found in self._ids:
            return False
        self._ids.add(found)
        self.count += 1
        self._order.append((self.count, found))
        if len(self._order) > REMEMBERED_IDS:
            self._ids.discard(self._order.popleft()[1])
        return True

    def discard_newest(self) -> None:
        """Take back the last `add`: its message has not been applied after all."""
        self._ids.discard(self._order.pop()[1])
        self.count -= 1

    def news(self, name: str) -> QueueNews | None:
        """Return what the disk does not know, under the name of a queue; None where it knows all."""
        if self.count == self.written:
            return None
        oldest = self._order[0][0]
        return QueueNews(name, oldest if oldest > self.forgotten + 1 else 0, _newest(self._order, self.written))

    def settle(self) -> None:
        """Note that the news is on disk."""
        self.written = self.count
        if self._order:
            self.forgotten = self._order[0][0] - 1

    def restore(self, rows: Iterable[tuple[int, bytes]]) -> None:
        self._order = deque(rows)
        self._ids = {found for _, found in self._order}
        self.count = self._order[-1][0] if self._order else 0
        self.settle()


def _newest(queue: deque[tuple[int, bytes]], above: int) -> list[tuple[int, bytes]]:
    """Return the rows above a number, in order; it costs nothing for those that are not."""
    found = list(takewhile(lambda row: row[0] > above, reversed(queue)))
    found.reverse()
    return found


def identity_of(kind: type[Message]) -> tuple[str, ...]:
    """Return the fields that make up the business id of a message type; empty where it has none."""
    fields: tuple[str, ...] = getattr(kind, "identity", ())
    return fields


class WiresState(msgspec.Struct, array_like=True):
    """What is journaled as a whole: of each remote port the last id applied; of each lane (start, acknowledged)."""

    incoming: dict[str, int]
    outgoing: dict[str, tuple[int, int]]


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(WiresState).decode


class Books:
    """What of routes and lanes is on disk, and what is yet to be written: the new only, however much is owed.

    A few numbers are written as a whole; the frames that a lane owes and the business ids of a route are queues.
    """

    def __init__(self, routes: list[Route], lanes: list[Lane]) -> None:
        self.routes = routes
        self.lanes = lanes

    def _queues(self) -> Iterator[tuple[str, Unacknowledged | Identities]]:
        for lane in self.lanes:
            if lane.unacknowledged is not None:
                yield _OWED + _name(lane), lane.unacknowledged
        for route in self.routes:
            if route.identities is not None:
                yield _ids_of(route), route.identities

    def news(self) -> tuple[bytes, list[QueueNews]]:
        """Return what is written as a whole, and what is new in the queues since `settle`."""
        incoming = {str(route.table): route.applied & WITHIN_PORT_MASK for route in self.routes}
        outgoing = {
            _name(lane): (lane.unacknowledged.start, lane.unacknowledged.acknowledged)
            for lane in self.lanes
            if lane.unacknowledged is not None
        }
        news = [found for name, queue in self._queues() if (found := queue.news(name)) is not None]
        return _encode_state(WiresState(incoming, outgoing)), news

    def settle(self) -> None:
        """Note that the news is on disk."""
        for _, queue in self._queues():
            queue.settle()

    def take_up(self, data: bytes, queues: Mapping[str, list[tuple[int, bytes]]], sent: Callable[[Lane], int]) -> None:
        """Put routes and lanes back where they were; `sent` tells how much a lane's port has sent so far.

        Raises PipelineError when something is owed to a process that does not read it any more.
        """
        state = _decode_state(data) if data else WiresState({}, {})
        for route in self.routes:
            applied = state.incoming.get(str(route.table), 0)
            if applied:
                route.applied = route.committed = route.table.number << PORT_SHIFT | applied
                route.expect(route.applied + 1)
            if route.identities is not None:
                route.identities.restore(queues.get(_ids_of(route), ()))
        owed = {name.removeprefix(_OWED): rows for name, rows in queues.items() if name.startswith(_OWED)}
        for lane in self.lanes:
            if lane.unacknowledged is not None:
                start, acknowledged = state.outgoing.get(_name(lane), (sent(lane), sent(lane)))
                frames = owed.pop(_name(lane), [])
                lane.unacknowledged.restore(start, acknowledged, _numbered(frames, lane.port.number))
        if owed:
            raise PipelineError(
                f"the journal holds messages that were not acknowledged for {', '.join(owed)}, which this topology has "
                "not; start with a new run folder"
            )


def _numbered(frames: list[tuple[int, bytes]], number: int) -> Iterator[tuple[int, bytes]]:
    """Yield frames under the number that their port has now: those on disk keep that which it had."""
    for sequence, frame in frames:
        yield sequence, frame if unpack(frame)[0] >> PORT_SHIFT == number else at_port(frame, number)


def _ids_of(route: Route) -> str:
    return f"ids {route.table}" + (" by hub" if route.hub else "")


def _name(lane: Lane) -> str:
    return f"{lane.port} -> {lane.link.peer}"
