"""Avellaneda and Stoikov's market maker: reservation price, spread and quotes.

Symbols, as in the paper: the mid follows dS = σ dW (σ in price per √time, not a log volatility); a quote at distance δ
from the mid is filled at rate A·exp(−k·δ); utility is −exp(−γ·wealth), γ in 1/quote; one fill is one unit of inventory;
q is signed, long positive. Any time unit will do as long as σ, A and the horizon share it.

Source: Avellaneda and Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008.
"""

from __future__ import annotations

from math import log1p

from nodes._lib.checks import require_finite, require_non_negative, require_positive


def arrival_premium(gamma: float, k: float) -> float:
    """Return the distance, in price, that pays for waiting: ln(1 + γ/k) / γ, and its limit 1/k for γ = 0.

    Both sides of a quote contain it. `gamma` is per quote and per fill of size 1; with fills of size Δ pass γ·Δ.
    """
    require_non_negative(gamma=gamma)
    require_positive(k=k)
    return log1p(gamma / k) / gamma if gamma > 0.0 else 1.0 / k


def inventory_risk(gamma: float, sigma: float, time_left: float) -> float:
    """Return g = γ·σ²·(T − t), in price per unit of inventory."""
    require_non_negative(gamma=gamma, sigma=sigma, time_left=time_left)
    return gamma * sigma * sigma * time_left


def reservation_price(mid: float, q: float, *, gamma: float, sigma: float, time_left: float) -> float:
    """Return r = S − q·γ·σ²·(T − t): a long inventory lowers it, a short one raises it."""
    require_finite(mid=mid, q=q)
    return mid - q * inventory_risk(gamma, sigma, time_left)


def indifference_prices(mid: float, q: float, *, gamma: float, sigma: float, time_left: float) -> tuple[float, float]:
    """Return (bid, ask) at which one more unit bought or sold, and then held to the horizon, changes no utility.

    Their mean is the reservation price. Section 2.2 of the paper, inventory frozen afterwards: these are not quotes.
    """
    require_finite(mid=mid, q=q)
    risk = inventory_risk(gamma, sigma, time_left)
    return mid - (1.0 + 2.0 * q) * risk / 2.0, mid + (1.0 - 2.0 * q) * risk / 2.0


def optimal_spread(*, gamma: float, k: float, sigma: float, time_left: float) -> float:
    """Return ask − bid = γσ²(T − t) + (2/γ)·ln(1 + γ/k), in price; it does not depend on inventory."""
    return inventory_risk(gamma, sigma, time_left) + 2.0 * arrival_premium(gamma, k)


def quote_distances(q: float, *, gamma: float, k: float, sigma: float, time_left: float) -> tuple[float, float]:
    """Return (mid − bid, ask − mid), in price.

    A negative distance asks to trade through the mid, to shed a large inventory; a post-only quoter clamps it.
    """
    require_finite(q=q)
    risk = inventory_risk(gamma, sigma, time_left)
    premium = arrival_premium(gamma, k)
    return premium + (0.5 + q) * risk, premium + (0.5 - q) * risk


def quotes(mid: float, q: float, *, gamma: float, k: float, sigma: float, time_left: float) -> tuple[float, float]:
    """Return (bid, ask): the optimal spread centred on the reservation price."""
    require_finite(mid=mid)
    bid_distance, ask_distance = quote_distances(q, gamma=gamma, k=k, sigma=sigma, time_left=time_left)
    return mid - bid_distance, mid + ask_distance


def mean_spread(*, gamma: float, k: float, sigma: float, horizon: float) -> float:
    """Return the optimal spread averaged over [0, T]; the paper's "symmetric" strategy quotes it around the mid."""
    return inventory_risk(gamma, sigma, horizon) / 2.0 + 2.0 * arrival_premium(gamma, k)


def discount_rate(gamma: float, sigma: float, q_max: float) -> float:
    """Return the rate ω = γ²σ²(q_max + 1)²/2, per time, that keeps |q| within q_max in the infinite-horizon case."""
    require_non_negative(gamma=gamma, sigma=sigma, q_max=q_max)
    return 0.5 * (gamma * sigma * (q_max + 1.0)) ** 2


def discounted_indifference_prices(
    mid: float, q: float, *, gamma: float, sigma: float, omega: float
) -> tuple[float, float]:
    """Return (bid, ask) indifference prices with an infinite horizon and discount rate ω (per time).

    Section 2.3 of the paper. For a stationary quoting rule use the limit of Guéant, Lehalle and Fernandez-Tapia.

    Raises ValueError when ω ≤ γ²σ²q²/2, or is too small for one more unit on either side.
    """
    require_finite(mid=mid, q=q)
    require_positive(gamma=gamma, sigma=sigma, omega=omega)
    unit = (gamma * sigma) ** 2
    room = 2.0 * omega - unit * q * q
    bid_term, ask_term = -(1.0 + 2.0 * q) * unit, (1.0 - 2.0 * q) * unit
    if room <= 0.0 or room + min(bid_term, ask_term) <= 0.0:
        raise ValueError(
            f"omega is {omega}, too small for an inventory of {q}: use discount_rate(gamma, sigma, q_max) with "
            f"q_max of at least {abs(q)}"
        )
    return mid + log1p(bid_term / room) / gamma, mid + log1p(ask_term / room) / gamma
