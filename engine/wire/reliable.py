"""Reliable wires: what has been sent and is not yet acknowledged, and what has been applied already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from typing import Any

import msgspec

from engine.message import Message

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
