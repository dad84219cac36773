"""How much LP exposure moves when the price moves, measured."""

from __future__ import annotations

from math import sqrt

import msgspec


class ExposureGamma(msgspec.Struct):
    """Estimate √(variance of LP exposure / variance of price), in base² per quote, from what was observed.

    It is the |Γ| of the positions as far as exposure follows the price, and contains whatever else moves exposure: the
    s/σ of `hedge_band`. Both variances are exponentially weighted with the same memory, in observations, so that their
    ratio does not depend on how the observations are spaced in time.
    """

    memory: int
    base: float = 0.0
    mid: float = 0.0
    base_square: float = 0.0
    mid_square: float = 0.0
    count: int = 0

    def observe(self, base: float, mid: float) -> None:
        """Note LP exposure and the mid price of one moment."""
        if self.count:
            keep, moved, change = 1.0 - 1.0 / self.memory, base - self.base, mid - self.mid
            self.base_square = keep * self.base_square + moved * moved
            self.mid_square = keep * self.mid_square + change * change
        self.base, self.mid = base, mid
        self.count += 1

    def value(self) -> float | None:
        """Return the estimate; None until one memory has been seen, or while the price has not moved."""
        if self.count <= self.memory or self.mid_square <= 0.0:
            return None
        return sqrt(self.base_square / self.mid_square)
