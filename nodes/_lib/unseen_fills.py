"""Fills that a venue has reported and that the net exposure does not contain yet."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from nodes.messages import NetExposure, VenueFills

ZERO = Decimal(0)


class SideFills(msgspec.Struct):
    """What is known of the fills of one side, base, summed up since the run began."""

    reported: Decimal = ZERO
    """By updates of our own orders."""
    shown: Decimal = ZERO
    """By net exposure."""
    foreign: Decimal = ZERO
    """Shown, and of no order that we know."""
    ahead_ns: int = 0
    """Since when more is shown than reported; 0 when it is not."""

    @property
    def unseen(self) -> Decimal:
        """Reported and not shown."""
        return max(ZERO, self.reported + self.foreign - self.shown)

    def compare(self, now_ns: int, patience_ns: int) -> None:
        """Take for foreign what has been shown for longer than the patience and was not reported."""
        if self.shown - self.foreign <= self.reported:
            self.ahead_ns = 0
        elif not self.ahead_ns:
            self.ahead_ns = now_ns
        elif now_ns - self.ahead_ns > patience_ns:
            self.give_up()

    def give_up(self) -> None:
        """Take for foreign what is shown and was not reported."""
        self.foreign = max(self.foreign, self.shown - self.reported)
        self.ahead_ns = 0


class UnseenFills(msgspec.Struct):
    """Compare what order updates say was filled with the fills that net exposure says it contains (`filled`).

    Updates and exposure come on different wires, so that for a moment an order may be gone while the exposure still
    shows the position before its fill; who decides then decides twice. A fill is waited for until it is shown, however
    long that takes: an exposure that never shows it is not to be traded on.

    The exposure may also come first. What it shows for longer than `patience_ns` without an update to go with it, or
    when no order of ours is open (`expect`), was somebody else's trade and is not set against our next fill.
    """

    patience_ns: int = 0
    buys: SideFills = msgspec.field(default_factory=SideFills)
    sells: SideFills = msgspec.field(default_factory=SideFills)
    filled: tuple[VenueFills, ...] = ()
    """What the last exposure contains."""

    def expect(self) -> None:
        """Note that an order goes out, and that the ends of all before it have been reported."""
        self.buys.give_up()
        self.sells.give_up()

    def report(self, side: str, size: Decimal, now_ns: int) -> None:
        """Note `size` base filled."""
        fills = self.buys if side == "buy" else self.sells
        fills.compare(now_ns, self.patience_ns)
        fills.reported += size
        fills.compare(now_ns, self.patience_ns)

    def see(self, exposure: NetExposure, instrument: str, now_ns: int) -> None:
        """Note the fills of `instrument` that a new exposure contains."""
        buys, sells = self.buys, self.sells
        if exposure.filled == self.filled and not buys.ahead_ns and not sells.ahead_ns:
            return  # no news, and nothing that time would change
        self.filled = exposure.filled
        for filled in exposure.filled:
            if filled.instrument == instrument:
                buys.shown, sells.shown = filled.bought, filled.sold
        buys.compare(now_ns, self.patience_ns)
        sells.compare(now_ns, self.patience_ns)

    @property
    def bought(self) -> float:
        """Base bought that the exposure does not contain, positive."""
        return float(self.buys.unseen)

    @property
    def sold(self) -> float:
        """Base sold that the exposure does not contain, positive."""
        return float(self.sells.unseen)

    def __bool__(self) -> bool:
        buys, sells = self.buys, self.sells
        return buys.reported + buys.foreign > buys.shown or sells.reported + sells.foreign > sells.shown
