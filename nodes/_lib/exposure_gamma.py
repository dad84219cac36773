"""How much LP exposure moves when the price moves, measured."""

from __future__ import annotations

from math import sqrt


class ExposureGamma:
    """Estimate √(variance of LP exposure / variance of price), in base² per quote, from what was observed.

    It is the |Γ| of the positions as far as exposure follows the price, and contains whatever else moves exposure: the
    s/σ of `hedge_band`. Both variances are exponentially weighted with the same memory, in observations, so that their
    ratio does not depend on how the observations are spaced in time.
    """

    __slots__ = ("base", "base_square", "count", "keep", "memory", "mid", "mid_square")

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.keep = 1.0 - 1.0 / memory
        self.base = self.mid = 0.0
        self.base_square = self.mid_square = 0.0
        self.count = 0

    def observe(self, base: float, mid: float) -> None:
        """Note LP exposure and the mid price of one moment."""
        if self.count:
            keep, moved, change = self.keep, base - self.base, mid - self.mid
            self.base_square = keep * self.base_square + moved * moved
            self.mid_square = keep * self.mid_square + change * change
        self.base, self.mid = base, mid
        self.count += 1

    def value(self) -> float | None:
        """Return the estimate; None until one memory has been seen, or while the price has not moved."""
        if self.count <= self.memory or self.mid_square <= 0.0:
            return None
        return sqrt(self.base_square / self.mid_square)
