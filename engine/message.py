"""Messages: immutable typed records that travel on wires."""

from __future__ import annotations

from typing import ClassVar, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True)
class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=False):
    """Base of every message.

    A subclass is a record whose fields are annotated and documented; the field's name ends in its unit. Messages are
    encoded as arrays, so a field may be added only at the end and with a default. They hold no reference cycles
    (they are invisible to the garbage collector), so a field is a scalar, a `bytes`, a tuple or another message.

    `delivery` is what the message demands of every wire that carries it: "any", or "reliable" for what must be
    neither lost nor conflated.
    """

    delivery: ClassVar[str] = "any"

    identity: ClassVar[tuple[str, ...]] = ()
    """Fields that together name what happened, whoever tells it and however often; empty where nothing does."""
