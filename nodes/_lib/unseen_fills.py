"""Fills that a venue has reported and that the net exposure does not contain yet."""

from __future__ import annotations

import msgspec


class UnseenFills(msgspec.Struct):
    """Count what order updates say was filled until the exposure's venue part has moved by it.

    Updates and exposure come on different wires, so that for a moment an order may be gone while the exposure still
    shows the position before its fill; who decides then decides twice. What stays unseen for `patience_ns` is given up:
    the venue part has moved for another reason meanwhile.

    The exposure may also come first. What its venue part has moved since the last order went out (`expect`), within
    `patience_ns`, is taken for a fill whose update is still under way: without that the fill would be waited for in
    vain, until the next exposure after the patience is at an end.
    """

    patience_ns: int = 0
    bought: float = 0.0
    sold: float = 0.0
    since_ns: int = 0
    venue_base: float = 0.0
    early_bought: float = 0.0
    """Seen in the exposure since the last order went out, and not reported yet."""
    early_sold: float = 0.0
    early_ns: int = 0

    def expect(self) -> None:
        """Note that an order goes out: none of the moves before it is its fill."""
        self.early_bought = self.early_sold = 0.0

    def report(self, side: str, size: float, venue_base: float, now_ns: int) -> None:
        """Note `size` base filled, while the exposure known so far has `venue_base`."""
        if now_ns - self.early_ns > self.patience_ns:
            self.expect()
        if side == "buy":
            seen = min(size, self.early_bought)
            self.early_bought -= seen
        else:
            seen = min(size, self.early_sold)
            self.early_sold -= seen
        size = _less(size, seen)
        if not size:
            return
        if not (self.bought or self.sold):
            self.venue_base = venue_base
        if side == "buy":
            self.bought += size
        else:
            self.sold += size
        self.since_ns = now_ns

    def see(self, venue_base: float, now_ns: int) -> None:
        """Note the venue part of a new exposure."""
        change, self.venue_base = venue_base - self.venue_base, venue_base
        if change > 0:
            self.early_bought += _less(change, self.bought)
            self.bought = _less(self.bought, change)
            self.early_ns = now_ns
        elif change < 0:
            self.early_sold += _less(-change, self.sold)
            self.sold = _less(self.sold, -change)
            self.early_ns = now_ns
        if now_ns - self.since_ns > self.patience_ns:
            self.bought = self.sold = 0.0

    def __bool__(self) -> bool:
        return self.bought > 0.0 or self.sold > 0.0


def _less(amount: float, change: float) -> float:
    rest = amount - change
    return rest if rest > 1e-9 else 0.0
