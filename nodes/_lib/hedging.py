"""Hedge an LP: how far net exposure may stray, how much to trade, and how to lean passive quotes.

Sizes are base units, long positive; prices are quote per base; costs in quote per base unit, paid is positive.
"""

from __future__ import annotations

from math import cbrt, copysign, inf

from nodes._lib.checks import require_finite, require_non_negative, require_positive
from nodes._lib.clmm import amounts


def hedge_band(
    cost: float,
    position_gamma: float,
    *,
    gamma: float,
    sigma: float,
    inventory_noise: float = 0.0,
    smallest: float = 0.0,
    largest: float = inf,
) -> float:
    """Return the half width H, in base units, within which not hedging is cheaper than hedging.

    H³ = 3·c·s²/(2·γ·σ²), where s² = (Γσ)² + noise² is the variance of exposure per time: the position's own gamma Γ
    (base² per quote; its sign does not matter) and fills that do not follow the price (`inventory_noise`, base per
    √time). `cost` is what crossing the spread takes: fee and half spread; `gamma` is risk aversion in 1/quote, `sigma`
    in price per √time. Kept between the smallest order and the risk limit.

    Source: Whalley and Wilmott, Mathematical Finance 7, 1997 (r = 0); the noise term is our extension.
    """
    require_non_negative(cost=cost, sigma=sigma, inventory_noise=inventory_noise, smallest=smallest)
    require_positive(gamma=gamma)
    require_finite(position_gamma=position_gamma)
    if not largest >= smallest:
        raise ValueError(f"largest band {largest} is below the smallest {smallest}: raise it to at least one lot")
    # (s/σ)²: without noise σ cancels, and noise without price risk need never be hedged.
    squared = position_gamma * position_gamma
    if inventory_noise > 0.0:
        squared = squared + (inventory_noise / sigma) ** 2 if sigma > 0.0 else inf
    width = cbrt(1.5 * cost * squared / gamma) if cost > 0.0 else 0.0
    return min(max(width, smallest), largest)


def running_cost(half_width: float, gamma: float, sigma: float) -> float:
    """Return the expected loss γσ²H²/2 of a band, risk and cost together, in quote per time."""
    return gamma * (sigma * half_width) ** 2 / 2.0


def merton_band(fraction: float, relative_aversion: float, cost_fraction: float) -> float:
    """Return the half width, as a share of wealth, around a target share of wealth in the risky asset.

    (3/(2R)·π²(1 − π)²·κ)^(1/3) with κ the one-way cost as a fraction. Source: Davis and Norman 1990, small-cost limit.
    """
    require_finite(fraction=fraction)
    require_positive(relative_aversion=relative_aversion)
    require_non_negative(cost_fraction=cost_fraction)
    return cbrt(1.5 / relative_aversion * (fraction * (1.0 - fraction)) ** 2 * cost_fraction)


def hedge_trade(error: float, half_width: float, inside: float = 0.0) -> float:
    """Return the signed size, buy positive, that brings a hedge error (actual − wanted exposure) back into its band.

    Trades to the edge, which is best when costs are proportional; `inside` from 0 to 1 goes that far from the edge to
    the centre, which is better with a fixed cost per trade. 0 inside the band.
    """
    require_finite(error=error)
    require_non_negative(half_width=half_width)
    if not 0.0 <= inside <= 1.0:
        raise ValueError(f"inside is {inside}: give a fraction from 0 (to the edge) to 1 (to the centre)")
    if abs(error) <= half_width:
        return 0.0
    return copysign(half_width * (1.0 - inside), error) - error


# --- passive quotes ---------------------------------------------------------------------------------------------------


def micro_price(bid: float, bid_size: float, ask: float, ask_size: float) -> float:
    """Return the mid weighted by the opposite sizes: more waiting to buy means a price nearer to the ask."""
    total = bid_size + ask_size
    if not 0.0 < total < inf:
        require_positive(total_size=total)
    return (bid * ask_size + ask * bid_size) / total


def skewed_quotes(fair: float, half_spread: float, skew: float, exposure: float) -> tuple[float, float]:
    """Return (bid, ask) around a fair price, both lower when long. `skew` is price per base unit, not negative."""
    require_non_negative(skew=skew)
    centre = fair - skew * exposure
    return centre - half_spread, centre + half_spread


def skewed_sizes(size: float, exposure: float, bound: float) -> tuple[float, float]:
    """Return (bid size, ask size): in full on the side that reduces exposure, fading to 0 at `bound` on the other."""
    require_non_negative(size=size)
    require_positive(bound=bound)
    adding = size * max(0.0, 1.0 - abs(exposure) / bound)
    return (adding, size) if exposure > 0.0 else (size, adding)


# --- when the LP is not heard -----------------------------------------------------------------------------------------


def lp_base_limits(liquidity: float, lower: float, upper: float) -> tuple[float, float]:
    """Return the least and greatest base that a position can hold at any price."""
    return 0.0, amounts(liquidity, lower, upper, lower)[0]


def certain_excess(other_exposure: float, lp_low: float, lp_high: float, limit: float) -> float:
    """Return by how much net exposure passes ±`limit` whatever the LP holds within [lp_low, lp_high]; signed, else 0.

    A silent LP is no reason to trade. It becomes one when every holding that is possible breaches the hard limit.
    """
    require_finite(other_exposure=other_exposure, lp_low=lp_low, lp_high=lp_high)
    require_non_negative(limit=limit)
    if lp_low > lp_high:
        raise ValueError(f"LP base from {lp_low} to {lp_high}: give the lower end first")
    if other_exposure + lp_low > limit:
        return other_exposure + lp_low - limit
    if other_exposure + lp_high < -limit:
        return other_exposure + lp_high + limit
    return 0.0
