"""A venue's order book, rebuilt here from a snapshot and the changes after it.

The sequence rules are Binance's, which differ between spot and USD-M futures; a book that may be wrong is never shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Literal

from engine import PipelineError
from nodes._lib.binance_feed import DepthSnapshot, DepthUpdate

Level = tuple[float, float]


class NoBook(PipelineError):
    """The book is not known: no snapshot yet, or a change was lost. Fetch a snapshot, then ask again."""


class _Side:
    # Sizes by price, and the prices sorted so that the best comes last, where lists are cheap to change: `sign` is +1
    # for bids and -1 for asks, and `keys` holds sign × price.
    __slots__ = ("keys", "sign", "sizes")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.sizes: dict[float, float] = {}
        self.keys: list[float] = []

    def load(self, levels: list[Level]) -> None:
        self.sizes = {self.sign * price: size for price, size in levels if size > 0.0}
        self.keys = sorted(self.sizes)

    def apply(self, levels: list[Level]) -> None:
        sizes, keys, sign = self.sizes, self.keys, self.sign
        for price, size in levels:
            key = sign * price
            if size > 0.0:
                if key not in sizes:
                    keys.insert(bisect_left(keys, key), key)
                sizes[key] = size
            elif key in sizes:
                del sizes[key]
                del keys[bisect_left(keys, key)]

    def best(self, count: int) -> list[Level]:
        sizes, sign = self.sizes, self.sign
        return [(sign * key, sizes[key]) for key in self.keys[: -count - 1 : -1]]

    def within(self, limit: float) -> float:
        # Sum of sizes at `limit` and better.
        keys = self.keys
        return sum(self.sizes[key] for key in keys[bisect_left(keys, self.sign * limit) :])


class BookBuilder:
    """Follow one book: feed it snapshots and updates in the order received, ask it for levels.

    `venue` chooses the rule by which an update follows the one before: on "spot" `U` is the previous `u` + 1, on
    "usdm" `pu` is the previous `u`. Until a snapshot fits, updates are kept (the last `buffer`, which bounds how old a
    snapshot may be). After a gap nothing is shown until the next snapshot: `ready` is False and `why_not` says why.
    Levels deeper than the snapshot are unknown until they change, so deep sums are lower bounds.
    """

    def __init__(self, venue: Literal["spot", "usdm"], buffer: int = 10_000) -> None:
        self.venue = venue
        self.ready = False
        self.why_not = "no snapshot yet"
        self.gaps = 0
        self.last_update_id = 0
        self._joined = False  # whether an update has followed the snapshot
        self._bids = _Side(+1)
        self._asks = _Side(-1)
        self._kept: deque[DepthUpdate] = deque(maxlen=buffer)

    def snapshot(self, snapshot: DepthSnapshot) -> bool:
        """Start from a snapshot and the updates kept. Return False when it is older than those: fetch a newer one."""
        self.ready, self._joined, self.why_not = True, False, ""
        self.last_update_id = snapshot.last_update_id
        self._bids.load(snapshot.bids)
        self._asks.load(snapshot.asks)
        kept = list(self._kept)
        self._kept.clear()
        for index, update in enumerate(kept):
            if not self._follow(update):
                self.why_not = f"the snapshot {snapshot.last_update_id} is too old: {self.why_not}"
                self._kept.extend(kept[index + 1 :])
                break
        return self.ready

    def update(self, update: DepthUpdate) -> bool:
        """Apply an update, or keep it for the next snapshot. Return whether the book can be shown."""
        if not self.ready:
            self._kept.append(update)
            return False
        return self._follow(update)

    def _follow(self, update: DepthUpdate) -> bool:
        last = self.last_update_id
        if update.last_update_id < last or (update.last_update_id == last and (self._joined or self.venue == "spot")):
            return True  # older than the book, or a repetition
        if self.venue == "spot":
            fits = update.first_update_id <= last + 1
        elif self._joined:
            fits = update.previous_update_id == last
        else:
            fits = update.first_update_id <= last
        if not fits:
            self._lose(update)
            return False
        self._bids.apply(update.bids)
        self._asks.apply(update.asks)
        self.last_update_id = update.last_update_id
        self._joined = True
        return True

    def _lose(self, update: DepthUpdate) -> None:
        self.gaps += 1
        self.ready = False
        self.why_not = (
            f"updates between {self.last_update_id} and {update.first_update_id} are lost "
            f"({update.symbol}, pu {update.previous_update_id}, u {update.last_update_id})"
        )
        self._bids.load([])
        self._asks.load([])
        self._kept.append(update)

    def levels(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return up to `count` (price, size) of bids and asks, best first.

        Raises NoBook while the book is not known, when a side is empty, and when the best prices cross.
        """
        if not self.ready:
            raise NoBook(f"{self.why_not}; waiting for a snapshot")
        bids, asks = self._bids.best(count), self._asks.best(count)
        if not bids or not asks or bids[0][0] >= asks[0][0]:
            raise NoBook(f"update {self.last_update_id} leaves no two-sided book: {bids[:1]} against {asks[:1]}")
        return bids, asks

    def depth(self, distance_bps: float) -> tuple[float, float]:
        """Return the (bid, ask) size within `distance_bps` of mid, base units. Raises NoBook as `levels` does."""
        bids, asks = self.levels(1)
        mid = (bids[0][0] + asks[0][0]) / 2
        distance = mid * distance_bps / 10_000
        return self._bids.within(mid - distance), self._asks.within(mid + distance)
