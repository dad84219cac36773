"""Reliable wires: what has been sent and is not yet acknowledged, and what has been applied already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import PipelineError
from engine.message import Message
from engine.wire.frame import PORT_SHIFT, WITHIN_PORT_MASK, at_port, unpack

if TYPE_CHECKING:
    from engine.wire.lane import Lane
    from engine.wire.route import Route

_ID_BYTES = 8
REMEMBERED_IDS = 2_048
RESEND_AT_ONCE = 1_000
"""Most frames that are sent again in one go; the rest follows as these are acknowledged."""


class SentState(msgspec.Struct, array_like=True):
    """What is journaled of one port to one peer: where the wire began, what is acknowledged, and the frames since."""

    start: int
    acknowledged: int
    frames: list[tuple[int, bytes]]


class Unacknowledged:
    """Frames of one port to one peer, from sending until the peer has applied them and put their effect on disk.

    `start` is the sequence after which the wire began, `acknowledged` the last one that the peer has acknowledged.
    """

    __slots__ = ("acknowledged", "frames", "start")

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.acknowledged = start
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

    def state(self) -> SentState:
        return SentState(self.start, self.acknowledged, list(self.frames))

    def restore(self, state: SentState) -> None:
        self.start, self.acknowledged = state.start, state.acknowledged
        self.frames = deque(state.frames)


class Identities:
    """The business ids of the newest messages of one wire: what is told twice is applied once.

    A message class declares which fields make up its id: `identity = ("source", "number")`.
    """

    __slots__ = ("_ids", "_order", "_read")

    def __init__(self, kind: type[Message]) -> None:
        self._read: Callable[[Any], Any] = attrgetter(*identity_of(kind))
        self._ids: set[bytes] = set()
        self._order: deque[bytes] = deque()

    def add(self, message: Message) -> bool:
        """Note a message; return whether its id is new."""
        found = blake2b(msgspec.msgpack.encode(self._read(message)), digest_size=_ID_BYTES).digest()
        if found in self._ids:
            return False
        self._ids.add(found)
        self._order.append(found)
        if len(self._order) > REMEMBERED_IDS:
            self._ids.discard(self._order.popleft())
        return True

    def discard_newest(self) -> None:
        """Take back the last `add`: its message has not been applied after all."""
        self._ids.discard(self._order.pop())

    def state(self) -> bytes:
        return b"".join(self._order)

    def restore(self, data: bytes) -> None:
        self._order = deque(data[at : at + _ID_BYTES] for at in range(0, len(data), _ID_BYTES))
        self._ids = set(self._order)


def identity_of(kind: type[Message]) -> tuple[str, ...]:
    """Return the fields that make up the business id of a message type; empty where it has none."""
    fields: tuple[str, ...] = getattr(kind, "identity", ())
    return fields


class WiresState(msgspec.Struct, array_like=True):
    """What is journaled: of each remote port the last id applied and the business ids; of each lane what it owes."""

    incoming: dict[str, tuple[int, bytes]]
    outgoing: dict[str, SentState]


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(WiresState).decode


def state_of(routes: list[Route], lanes: list[Lane]) -> bytes:
    """Return what of these is journaled."""
    return _encode_state(
        WiresState(
            {
                str(route.table): (
                    route.applied & WITHIN_PORT_MASK,
                    route.identities.state() if route.identities is not None else b"",
                )
                for route in routes
            },
            {_name(lane): lane.unacknowledged.state() for lane in lanes if lane.unacknowledged is not None},
        )
    )


def take_up(data: bytes, routes: list[Route], lanes: list[Lane], sent: Callable[[Lane], int]) -> None:
    """Put routes and lanes back where they were; `sent` tells how much a lane's port has sent so far.

    Raises PipelineError when something is owed to a process that does not read it any more.
    """
    state = _decode_state(data) if data else WiresState({}, {})
    for route in routes:
        applied, identities = state.incoming.get(str(route.table), (0, b""))
        if applied:
            route.applied = route.committed = route.table.number << PORT_SHIFT | applied
            route.expect(route.applied + 1)
        if route.identities is not None:
            route.identities.restore(identities)
    for lane in lanes:
        if lane.unacknowledged is None:
            continue
        kept = state.outgoing.pop(_name(lane), None) or SentState(sent(lane), sent(lane), [])
        number = lane.port.number
        if kept.frames and unpack(kept.frames[0][1])[0] >> PORT_SHIFT != number:
            kept.frames = [(sequence, at_port(frame, number)) for sequence, frame in kept.frames]
        lane.unacknowledged.restore(kept)
    lost = [name for name, kept in state.outgoing.items() if kept.frames]
    if lost:
        raise PipelineError(
            f"the journal holds messages that were not acknowledged for {', '.join(lost)}, which this topology has "
            "not; start with a new run folder"
        )


def _name(lane: Lane) -> str:
    return f"{lane.port} -> {lane.link.peer}"
