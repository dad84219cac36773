"""A concentrated-liquidity position in real numbers: what it holds, is worth, loses to arbitrage and earns in fees.

Prices and ranges are quote per base in whole tokens, whichever of them the pool calls token0; liquidity L is
√(base · quote) on the virtual curve, in the same units. Amounts are never negative. For the wei-exact arithmetic of a
pool see `pool_position`; this file is for decisions.

Sources: Uniswap v3 whitepaper, 2021; Milionis, Moallemi, Roughgarden, Zhang, "Automated market making and
loss-versus-rebalancing", 2022 (arXiv 2208.06046); with fees: Milionis, Moallemi, Roughgarden 2023 (arXiv 2305.14604)
and, for blocks at a constant spacing, Nezlobin and Tassy 2025 (arXiv 2505.05113).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, pi, pow, sqrt
from typing import Literal

from nodes._lib.checks import (
    require_fraction,
    require_non_negative,
    require_positive,
    require_range,
)


def human_liquidity(raw: int, base_decimals: int, quote_decimals: int) -> float:
    """Return L in whole tokens of a contract's L, which counts in the tokens' smallest units."""
    return raw / pow(10.0, (base_decimals + quote_decimals) / 2.0)


def amounts(liquidity: float, lower: float, upper: float, price: float) -> tuple[float, float]:
    """Return (base, quote) held by a position at a price."""
    low, high, at = _roots(liquidity, lower, upper, price)
    return liquidity * (high - at) / (at * high), liquidity * (at - low)


def value(liquidity: float, lower: float, upper: float, price: float) -> float:
    """Return the value of a position in quote, without fees."""
    base, quote = amounts(liquidity, lower, upper, price)
    return base * price + quote


def delta(liquidity: float, lower: float, upper: float, price: float) -> float:
    """Return dV/dP in base units. It equals the base held, so a hedge of the position is short that much."""
    return amounts(liquidity, lower, upper, price)[0]


def gamma(liquidity: float, lower: float, upper: float, price: float) -> float:
    """Return d²V/dP², in base² per quote: −L/(2·P^1.5) inside the range, never positive, 0 outside."""
    _roots(liquidity, lower, upper, price)
    return -liquidity / (2.0 * price * sqrt(price)) if lower < price < upper else 0.0


def liquidity_for(base: float, quote: float, lower: float, upper: float, price: float) -> float:
    """Return the greatest L in a range that both amounts can pay for; in range, one of them may be left over."""
    require_non_negative(base=base, quote=quote)
    low, high, at = _roots(0.0, lower, upper, price)
    from_base = base * at * high / (high - at) if at < high else inf
    from_quote = quote / (at - low) if at > low else inf
    return min(from_base, from_quote)


def impermanent_loss(lower: float, upper: float, entry_price: float, price: float) -> float:
    """Return V(P)/(x0·P + y0) − 1 ≤ 0: against holding what was put in at `entry_price`. Any L gives the same."""
    base, quote = amounts(1.0, lower, upper, entry_price)
    return value(1.0, lower, upper, price) / (base * price + quote) - 1.0


def lvr_rate(liquidity: float, lower: float, upper: float, price: float, log_vol: float) -> float:
    """Return the loss versus rebalancing, v²·L·√P/4 in range and 0 outside, in quote per time; a loss is positive.

    `log_vol` is per √time and sets the unit of time. This, not impermanent loss, is what a hedged position pays.
    """
    _roots(liquidity, lower, upper, price)
    require_non_negative(log_vol=log_vol)
    return log_vol * log_vol * liquidity * sqrt(price) / 4.0 if lower < price < upper else 0.0


# A random walk looked at in steps of one passes a barrier by 0.5826 = -ζ(1/2)/√(2π) standard deviations on average.
_BLOCK_FACTOR = {"poisson": sqrt(2.0), "constant": sqrt(2.0 * pi) / 1.4603545088095868}


def arbitrage_probability(
    fee: float, log_vol: float, block_s: float, spacing: Literal["poisson", "constant"] = "poisson"
) -> float:
    """Return the share of blocks with an arbitrage, which is the part of LVR that is lost despite the fee.

    1/(1 + c·φ/(v·√b)) with c = √2 for exponential and −√(2π)/ζ(1/2) ≈ 1.7164 for constant block times. `fee` is
    one-way, as a fraction; `log_vol` is per √s and `block_s` the mean block time in s.
    """
    require_fraction(fee=fee)
    require_positive(log_vol=log_vol, block_s=block_s)
    return 1.0 / (1.0 + _BLOCK_FACTOR[spacing] * fee / (log_vol * sqrt(block_s)))


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap within one range. `amount_in` includes the fee, which is in the token paid in."""

    token_in: Literal["base", "quote"]
    amount_in: float
    fee_amount: float
    amount_out: float


def swap(liquidity: float, price_before: float, price_after: float, fee: float) -> Swap:
    """Return the swap that moves the price: quote is paid in to raise it, base to lower it."""
    require_non_negative(liquidity=liquidity)
    require_positive(price_before=price_before, price_after=price_after)
    require_fraction(fee=fee)
    before, after = sqrt(price_before), sqrt(price_after)
    quote = liquidity * abs(after - before)
    base = quote / (before * after)
    net_in, out = (quote, base) if after > before else (base, quote)
    gross = net_in / (1.0 - fee)
    return Swap("quote" if after > before else "base", gross, gross * fee, out)


def path_fees(prices: Iterable[float], liquidity: float, lower: float, upper: float, fee: float) -> tuple[float, float]:
    """Return the (base, quote) fees that a path of market prices brings through arbitrage alone.

    The pool follows the market with a dead band of one fee and starts at the first price. Noise trades that come back
    within the band are not seen, so this is the floor of fee income where no volumes are known.
    """
    require_range(lower, upper)
    require_fraction(fee=fee)
    base_fees = quote_fees = pool = 0.0
    for price in prices:
        require_positive(price=price)
        if not pool:
            pool = price
            continue
        target = min(max(pool, price * (1.0 - fee)), price / (1.0 - fee))
        if target != pool:
            start, end = (min(max(at, lower), upper) for at in (pool, target))
            moved = swap(liquidity, start, end, fee)
            if moved.token_in == "quote":
                quote_fees += moved.fee_amount
            else:
                base_fees += moved.fee_amount
            pool = target
    return base_fees, quote_fees


def _roots(liquidity: float, lower: float, upper: float, price: float) -> tuple[float, float, float]:
    """Return the square roots of the range ends and of the price, brought into the range."""
    if not (0.0 <= liquidity < inf and 0.0 < lower < upper < inf and 0.0 < price < inf):
        require_non_negative(liquidity=liquidity)
        require_range(lower, upper)
        require_positive(price=price)
    low, high = sqrt(lower), sqrt(upper)
    return low, high, min(max(sqrt(price), low), high)
