"""Turn what a quoting model wants into a liquidity range.

Prices are quote per base. A range sells base from the price up to `upper` and buys it down to `lower`. The functions
that translate a model may return an end on the wrong side of the price (the model wants to cross): `widen` brings it
back before anything is minted. Own derivations, except where a source is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log1p, sqrt
from typing import Literal

from nodes._lib.checks import require_finite, require_fraction, require_non_negative, require_positive
from nodes._lib.clmm import liquidity_for

Range = tuple[float, float]
"""(lower, upper), quote per base."""


def match_execution(price: float, bid_distance: float, ask_distance: float, fee: float) -> Range:
    """Return the range whose mean execution prices, fee included, are a model's bid and ask (method A).

    A range swept from P to P_u sells at √(P·P_u) on average and earns the fee on top, so its log width is twice the
    log distance less the fee: ln(P_u/P) = 2·(ln(1 + δ_a/P) − φ), and ln(P/P_l) = 2·(−ln(1 − δ_b/P) − φ). Distances in
    price. This sets widths from edge; asymmetry follows inventory continuously.
    """
    require_positive(price=price)
    require_finite(bid_distance=bid_distance, ask_distance=ask_distance)
    require_fraction(fee=fee)
    if not (bid_distance < price and ask_distance > -price):
        raise ValueError(f"distances {bid_distance}, {ask_distance} at a price of {price}: quotes must be above 0")
    down = 2.0 * (-log1p(-bid_distance / price) - fee)
    up = 2.0 * (log1p(ask_distance / price) - fee)
    return price * exp(-down), price * exp(up)


def match_slope(price: float, skew: float, base_available: float, quote_available: float) -> tuple[float, Range]:
    """Return (L, range) in which selling base moves the price as a model's inventory skew would (method B).

    The model moves its reservation price by `skew` per base unit, the curve by 2·P^1.5/L: L = 2·P^1.5/skew. The ends
    are where the inventory that the bound leaves is used up. This sets density from risk. An end is 0 or infinite when
    the inventory outlasts the curve.
    """
    require_positive(price=price, skew=skew)
    require_non_negative(base_available=base_available, quote_available=quote_available)
    root = sqrt(price)
    liquidity = 2.0 * price * root / skew
    low = max(0.0, root - quote_available / liquidity)
    inverse_high = 1.0 / root - base_available / liquidity
    return liquidity, (low * low, 1.0 / inverse_high**2 if inverse_high > 0.0 else inf)


def wider(one: Range, other: Range) -> Range:
    """Return the range that contains both, end by end."""
    return min(one[0], other[0]), max(one[1], other[1])


def widen(limits: Range, price: float, min_log_width: float, max_log_width: float = inf) -> Range:
    """Return a range whose ends each lie within [min, max] log distance of the price, on their own side of it.

    One tick spacing is `spacing · 1e-4` of log width; below it no end can lie.
    """
    require_positive(price=price, min_log_width=min_log_width)
    if not max_log_width >= min_log_width:
        raise ValueError(f"max_log_width {max_log_width} is below min_log_width {min_log_width}: swap or equal them")
    lower, upper = limits
    down = log(price / lower) if lower > 0.0 else inf
    up = log(upper / price) if upper < inf else inf
    down, up = (min(max(width, min_log_width), max_log_width) for width in (down, up))
    return price * exp(-down), price * exp(up)


def split_budget(base: float, quote: float, limits: Range, price: float) -> tuple[float, float]:
    """Return the liquidities (above, below) of two positions that use up any amounts of base and quote.

    One position cannot hold an arbitrary mix: base goes into [price, upper], quote into [lower, price].
    """
    lower, upper = limits
    above = liquidity_for(base, 0.0, max(price, lower), upper, price) if price < upper else 0.0
    below = liquidity_for(0.0, quote, lower, min(price, upper), price) if price > lower else 0.0
    return above, below


# --- when to move -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Baseline:
    """Price and amounts in the positions when the last mint was confirmed; they change at the next one only."""

    price: float
    base: float
    quote: float


def edge_trigger(baseline: Baseline | None, price: float, base: float, quote: float, threshold: float) -> str:
    """Return why liquidity should be moved now, or "".

    Fires without a position, when the price has moved by more than `threshold` (a fraction), or when more than that
    fraction of the base or of the quote is gone since `baseline`. A token that was 0 then is not looked at. The caller
    acts once per crossing.
    """
    if baseline is None:
        return "no position"
    moved = (price - baseline.price) / baseline.price
    if abs(moved) > threshold:
        return f"price moved by {moved:+.2%}"
    for name, then, now in (("base", baseline.base, base), ("quote", baseline.quote, quote)):
        if then > 0.0 and (then - now) / then > threshold:
            return f"{name} fell by {(then - now) / then:.2%}"
    return ""


# --- compatibility ----------------------------------------------------------------------------------------------------


def compatible_widths(
    model: Literal["avellaneda_stoikov", "glft"],
    *,
    base_share: float,
    target_share: float,
    annual_log_vol: float,
    base_spread: float,
    gamma: float,
    min_width: float,
    max_width: float,
    execution_cost: float = 0.001,
) -> tuple[float, float]:
    """Return (up, down), fractions of the price, as the rule set of satyapravin/asymmetric_lp does.

    The skew is only a sign: the side that holds too much gets half the width, the other one twice it, so both jump by
    four at the target, and the limits decide most ranges. Kept to reproduce old runs; `match_execution` is the model.
    `base_share` is the share of value in the token that is priced. Base lies in [P, P·(1 + up)], quote in
    [P·(1 − down), P].
    """
    skew = base_share - target_share
    width = base_spread + gamma * annual_log_vol**2 * abs(skew)
    if model == "glft":
        width += execution_cost + 0.05 * abs(skew) + 0.2 * skew * skew
    up, down = (width / 2.0, width * 2.0) if skew > 0.0 else (width * 2.0, width / 2.0)
    if model == "glft":
        up, down = up * (1.0 + execution_cost), down * (1.0 + execution_cost)
    return min(max(up, min_width), max_width), min(max(down, min_width), max_width)
