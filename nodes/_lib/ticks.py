"""Prices and ticks: which tick a price has, which ranges a pool accepts, whichever of its tokens is token0.

Above this file prices are quote per base in whole tokens. A pool counts in ticks of token1 per token0 in raw units:
raw price = 1.0001^tick. Where the quote is token0 its tick rises when the base gets cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, floor, log, log1p

from nodes._lib.checks import require_positive, require_range

TICK_SPACING = {100: 1, 500: 10, 3000: 60, 10000: 200}
"""Ticks between usable range ends, by pool fee in hundredths of a bip."""

MAX_TICK = 887_272
"""Ticks run from -MAX_TICK to MAX_TICK."""

# log(1.0001) would carry the rounding of 1.0001 itself: 2e-11 of a price at tick 200,000.
_LOG_TICK = log1p(1e-4)
# A price this close to a tick, in ticks, is on it: more than float64 loses, and 1e-7 bp of price.
_ON_TICK = 1e-7


def raw_tick(price: float, decimals0: int, decimals1: int) -> float:
    """Return the tick of a price in token1 per token0 (whole tokens) as a real number, exact ticks as such."""
    require_positive(price=price)
    tick = log(price * 10.0 ** (decimals1 - decimals0)) / _LOG_TICK
    nearest = round(tick)
    return float(nearest) if abs(tick - nearest) < _ON_TICK else tick


def tick_at_price(price: float, decimals0: int, decimals1: int) -> int:
    """Return the greatest tick whose price, token1 per token0 in whole tokens, is not above this one."""
    return floor(raw_tick(price, decimals0, decimals1))


def price_at_tick(tick: int, decimals0: int, decimals1: int) -> float:
    """Return token1 per token0, in whole tokens, at a tick."""
    return exp(tick * _LOG_TICK) * 10.0 ** (decimals0 - decimals1)


def floor_to_spacing(tick: float, spacing: int) -> int:
    """Return the greatest multiple of the spacing that is not above the tick, within what a pool accepts."""
    edge = MAX_TICK // spacing
    return max(-edge, min(edge, floor(tick / spacing))) * spacing


def ceil_to_spacing(tick: float, spacing: int) -> int:
    """Return the smallest multiple of the spacing that is not below the tick, within what a pool accepts."""
    edge = MAX_TICK // spacing
    return max(-edge, min(edge, ceil(tick / spacing))) * spacing


@dataclass(frozen=True, slots=True)
class Orientation:
    """Token order, decimals and tick spacing of a pool: all that lies between quote per base and its ticks.

    Ranges of prices are (lower, upper) in quote per base, ranges of ticks (lower, upper) in the pool's own order.
    A position of base alone lies above the price in quote per base, one of quote alone below it.
    """

    base_decimals: int
    quote_decimals: int
    quote_is_token0: bool
    spacing: int

    def tick(self, price: float) -> float:
        """Return the pool's tick of a price in quote per base, as a real number."""
        # Token order flips the sign of the logarithm, decimals included.
        tick = raw_tick(price, self.base_decimals, self.quote_decimals)
        return -tick if self.quote_is_token0 else tick

    def price(self, tick: int) -> float:
        """Return quote per base at a tick of the pool."""
        return price_at_tick(-tick if self.quote_is_token0 else tick, self.base_decimals, self.quote_decimals)

    def prices(self, lower_tick: int, upper_tick: int) -> tuple[float, float]:
        """Return the price range (lower, upper) of a tick range."""
        ends = self.price(lower_tick), self.price(upper_tick)
        return (ends[1], ends[0]) if self.quote_is_token0 else ends

    def range_ticks(self, lower: float, upper: float) -> tuple[int, int]:
        """Return the tick range that contains a price range: ends on the spacing, widened, never tightened."""
        require_range(lower, upper)
        low, high = sorted((self.tick(lower), self.tick(upper)))
        return self._spaced(floor_to_spacing(low, self.spacing), ceil_to_spacing(high, self.spacing))

    def base_only_ticks(self, tick: int, upper: float) -> tuple[int, int]:
        """Return the tick range from the price to `upper` that needs no quote.

        `tick` is the pool's current one. The end at the price is rounded away from it, so that the range cannot
        straddle it; the outer end is widened, and lies at least one spacing further.
        """
        return self._one_sided(tick, self.tick(upper), above=not self.quote_is_token0)

    def quote_only_ticks(self, tick: int, lower: float) -> tuple[int, int]:
        """Return the tick range from `lower` to the price that needs no base; rounded as `base_only_ticks`."""
        return self._one_sided(tick, self.tick(lower), above=self.quote_is_token0)

    def _one_sided(self, tick: int, outer: float, above: bool) -> tuple[int, int]:
        below = floor_to_spacing(tick, self.spacing)
        if above:
            inner = below + self.spacing
            return self._spaced(inner, max(ceil_to_spacing(outer, self.spacing), inner + self.spacing))
        return self._spaced(min(floor_to_spacing(outer, self.spacing), below - self.spacing), below)

    def _spaced(self, lower: int, upper: int) -> tuple[int, int]:
        edge = MAX_TICK // self.spacing * self.spacing
        if not -edge <= lower < upper <= edge:
            raise ValueError(
                f"ticks {lower} to {upper} are no range within ±{edge}: check price, decimals, token order"
            )
        return lower, upper
