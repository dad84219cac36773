"""A node's own chance: a stream of random numbers that knows whether it has been drawn from."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

_WORDS = 624
_STATE = struct.Struct(f"<{_WORDS + 1}I?d")
_VERSION = 3


class Chance(Random):
    """A `Random` whose `used` tells whether it was drawn from since it was made, or since `rest()`.

    The first draw sets the flag and puts the plain functions in its own place, so that later draws cost nothing more.
    """

    used = False

    def random(self) -> float:
        self._use()
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        self._use()
        return super().getrandbits(k)

    def _use(self) -> None:
        self.used = True
        vars(self).update(random=super().random, getrandbits=super().getrandbits)

    def rest(self) -> None:
        """Note no use until the next draw."""
        for name in ("used", "random", "getrandbits"):
            vars(self).pop(name, None)


def pack_chance(chance: Random) -> bytes:
    """Return where a stream stands, as 2.5 kB."""
    _, words, spare = chance.getstate()
    return _STATE.pack(*words, spare is not None, spare or 0.0)


def unpack_chance(chance: Random, data: bytes) -> None:
    """Put a stream where it stood."""
    *words, has_spare, spare = _STATE.unpack(data)
    state: tuple[Any, ...] = (_VERSION, tuple(words), spare if has_spare else None)
    chance.setstate(state)
