"""What a liquidity position holds and earns, in the integers of the pool's contract.

Token order, ticks and square-root prices are the contract's own here (token1 per token0, X96); an `Orientation` turns
them into base and quote. Rounding is against the position, as in the contract: what a mint takes is
rounded up, what a burn returns and a fee pays is rounded down.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from math import ceil, log, sqrt

import msgspec

from nodes._lib.ticks import MAX_TICK, Orientation

Q96 = 1 << 96
FEE_UNIT = 1_000_000
"""Fees are in hundredths of a bip: parts of a million."""

_EXACT = Context(prec=70)


def price_of_sqrt(orientation: Orientation, sqrt_price_x96: int) -> float:
    """Return quote per base, in whole tokens, at the contract's square-root price."""
    root = sqrt_price_x96 / Q96
    unit = 10.0 ** (orientation.base_decimals - orientation.quote_decimals)
    return unit / (root * root) if orientation.quote_is_token0 else root * root * unit


def sqrt_of_price(orientation: Orientation, price: float) -> int:
    """Return the contract's square-root price X96 of a price in quote per base (good to float64)."""
    unit = 10.0 ** (orientation.base_decimals - orientation.quote_decimals)
    return int(sqrt(unit / price if orientation.quote_is_token0 else price / unit) * Q96)


@lru_cache(maxsize=4096)
def sqrt_ratio_at_tick(tick: int) -> int:
    """Return the square-root price X96 at a tick, rounded up."""
    if not -MAX_TICK <= tick <= MAX_TICK:
        raise ValueError(f"tick {tick} is outside ±{MAX_TICK}")
    return ceil(_EXACT.multiply(_EXACT.sqrt(_EXACT.power(Decimal("1.0001"), tick)), Decimal(Q96)))


def amount0_between(lower: int, upper: int, liquidity: int, round_up: bool = False) -> int:
    """Return the token0 that `liquidity` holds between two square-root prices X96, lower first."""
    numerator = (liquidity << 96) * (upper - lower)
    if round_up:
        return _ceil_div(_ceil_div(numerator, upper), lower)
    return numerator // upper // lower


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def amount1_between(lower: int, upper: int, liquidity: int, round_up: bool = False) -> int:
    """Return the token1 that `liquidity` holds between two square-root prices X96, lower first."""
    product = liquidity * (upper - lower)
    return -(-product >> 96) if round_up else product >> 96


def liquidity_for(sqrt_price_x96: int, lower: int, upper: int, amount0: int, amount1: int) -> int:
    """Return the greatest liquidity in [lower, upper] (square-root prices X96) that both amounts can pay for."""
    if sqrt_price_x96 <= lower:
        return _liquidity0(lower, upper, amount0)
    if sqrt_price_x96 >= upper:
        return _liquidity1(lower, upper, amount1)
    return min(_liquidity0(sqrt_price_x96, upper, amount0), _liquidity1(lower, sqrt_price_x96, amount1))


def _liquidity0(lower: int, upper: int, amount0: int) -> int:
    return amount0 * (lower * upper >> 96) // (upper - lower)


def _liquidity1(lower: int, upper: int, amount1: int) -> int:
    return (amount1 << 96) // (upper - lower)


class Position(msgspec.Struct):
    """One position and its uncollected fees. Make it with `open_position`; the derived fields save work on each row."""

    position_id: str
    lower_tick: int
    upper_tick: int
    liquidity: int
    lower_sqrt: int
    upper_sqrt: int
    full0: int
    """Token0 that it holds at and below its lower end."""
    full1: int
    """Token1 that it holds at and above its upper end."""
    lower_price: float
    upper_price: float
    amount0: int = 0
    """Token0 that burning returns at the price to which it was moved last."""
    amount1: int = 0
    fees0: int = 0
    fees1: int = 0

    def move_to(self, sqrt_price_x96: int) -> tuple[int, int]:
        """Take over a new price; return what (token0, token1) the position has gained, negative for the one given."""
        before0, before1 = self.amount0, self.amount1
        self.amount0, self.amount1 = self.amounts(sqrt_price_x96)
        return self.amount0 - before0, self.amount1 - before1

    def amounts(self, sqrt_price_x96: int) -> tuple[int, int]:
        """Return (token0, token1) that burning all of it returns at this price, without fees."""
        if sqrt_price_x96 <= self.lower_sqrt:
            return self.full0, 0
        if sqrt_price_x96 >= self.upper_sqrt:
            return 0, self.full1
        upper = self.upper_sqrt
        return (
            (self.liquidity << 96) * (upper - sqrt_price_x96) // upper // sqrt_price_x96,
            self.liquidity * (sqrt_price_x96 - self.lower_sqrt) >> 96,
        )

    def cost(self, sqrt_price_x96: int) -> tuple[int, int]:
        """Return (token0, token1) that minting it takes at this price."""
        low, high = self.lower_sqrt, self.upper_sqrt
        at = min(max(sqrt_price_x96, low), high)
        return amount0_between(at, high, self.liquidity, True), amount1_between(low, at, self.liquidity, True)

    def share_of_bar(self, price_low: float, price_high: float) -> float:
        """Return the part of [price_low, price_high] that lies in the range, measured in ticks; 0 to 1.

        A bar that did not move counts in full when its price is in the range.
        """
        lower, upper = self.lower_price, self.upper_price
        if price_low >= lower and price_high <= upper:
            return 1.0
        low, high = max(price_low, lower), min(price_high, upper)
        return log(high / low) / log(price_high / price_low) if high > low else 0.0


def open_position(
    orientation: Orientation, position_id: str, ticks: tuple[int, int], liquidity: int, sqrt_price_x96: int
) -> Position:
    """Return a position of `liquidity` between two ticks (lower, upper) of the contract, at a price."""
    low, high = map(sqrt_ratio_at_tick, ticks)
    prices = orientation.prices(*ticks)
    position = Position(
        position_id=position_id,
        lower_tick=ticks[0],
        upper_tick=ticks[1],
        liquidity=liquidity,
        lower_sqrt=low,
        upper_sqrt=high,
        full0=amount0_between(low, high, liquidity),
        full1=amount1_between(low, high, liquidity),
        lower_price=prices[0],
        upper_price=prices[1],
    )
    position.move_to(sqrt_price_x96)
    return position


def fee_of(gained: int, fee: int) -> int:
    """Return the fee paid to a position by the swap that has added `gained` of its input token to the position.

    What goes in is what it adds to the liquidity on its way, and the fee on top: input × fee/(1 − fee). It holds for
    each position by itself, whatever the liquidity of others along the way.
    """
    return gained * fee // (FEE_UNIT - fee)


def diluted(fee: int, own: int, others: int) -> int:
    """Return what is left of a fee when our liquidity `own` joins that of `others`.

    A swap of the same size then moves the price less, by others/(others + own).
    """
    return fee * others // (others + own)
