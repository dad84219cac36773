"""A linear position at a simulated venue: size, mean entry, realised profit, fees and funding. Pure; all is Decimal."""

from __future__ import annotations

from decimal import Decimal

import msgspec

YEAR_S = 31_536_000
"""A year of 365 days, s."""


class Account(msgspec.Struct):
    """Position and money of one linear instrument. `size` in base, long positive; money in quote, received positive."""

    size: Decimal = Decimal(0)
    entry_price: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    """Paid is positive."""
    funding: Decimal = Decimal(0)

    def book_fill(self, signed_size: Decimal, price: Decimal, fee: Decimal) -> None:
        """Add one fill; `signed_size` is positive for a buy. What closes realises against the mean entry."""
        self.fees += fee
        before = self.size
        after = before + signed_size
        if before * signed_size >= 0:
            if after:
                self.entry_price = (self.entry_price * abs(before) + price * abs(signed_size)) / abs(after)
        else:
            closed = min(abs(before), abs(signed_size))
            self.realised += (price - self.entry_price) * (closed if before > 0 else -closed)
            if not after:
                self.entry_price = Decimal(0)
            elif after * before < 0:
                self.entry_price = price
        self.size = after

    def pay_funding(self, mid: Decimal, rate_annual: Decimal, interval_s: Decimal) -> None:
        """Settle funding of one interval: with a positive rate the long pays and the short receives."""
        self.funding -= self.size * mid * rate_annual * interval_s / YEAR_S


def fee_of(price: Decimal, size: Decimal, fee_bps: Decimal) -> Decimal:
    """Return the fee in quote of one fill; a rebate (negative `fee_bps`) is negative."""
    return price * size * fee_bps / 10_000
