"""Guéant, Lehalle and Fernandez-Tapia's market maker: exact quotes under an inventory bound, and their closed form.

Symbols, as in the papers: the mid follows dS = μ dt + σ dW, a quote at distance δ is filled at rate A·exp(−k·δ), each
fill has size `lot` (Δ, base units), γ is absolute risk aversion in 1/quote, ξ the part of it that also minds the risk
of fills (ξ = γ: CARA utility, model A; ξ = 0: only a running penalty γσ²q²/2, model B). Distances are in price and
positive when passive. Long inventory is positive. σ, A, μ and the horizon share one time unit.

Sources: Guéant, Lehalle, Fernandez-Tapia, "Dealing with the inventory risk", Mathematics and Financial Economics 7,
2013; Guéant, "Optimal market making", Applied Mathematical Finance 24, 2017 (arXiv 1605.01862), for Δ and ξ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, floor, log2, sqrt, ulp

import numpy as np
from numpy.typing import NDArray

from nodes._lib.avellaneda_stoikov import arrival_premium
from nodes._lib.checks import require_finite, require_non_negative, require_positive

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Market:
    """Parameters of the market and of the maker.

    `cost` is what each fill costs besides, in price: a maker fee or the mean adverse move after it; a rebate is
    negative. Quoting `cost + model(A·exp(−k·cost), k)` accounts for it exactly, as δ − cost is what is earned.
    `impact` is the permanent move of the mid against each fill, in price (ξ in the 2013 paper, not `xi` here).
    """

    A: float
    k: float
    gamma: float
    sigma: float
    lot: float = 1.0
    xi: float | None = None
    drift: float = 0.0
    impact: float = 0.0
    cost: float = 0.0

    def __post_init__(self) -> None:
        require_positive(A=self.A, k=self.k, gamma=self.gamma, sigma=self.sigma, lot=self.lot)
        require_non_negative(xi=self.fill_aversion, impact=self.impact)
        require_finite(drift=self.drift, cost=self.cost)

    @property
    def fill_aversion(self) -> float:
        """ξ, which is γ unless given."""
        return self.gamma if self.xi is None else self.xi

    @property
    def premium(self) -> float:
        """c1 = ln(1 + ξΔ/k)/(ξΔ): the distance that a maker without inventory risk would keep, in price."""
        return arrival_premium(self.fill_aversion * self.lot, self.k)

    @property
    def alpha(self) -> float:
        """kγσ²/(2Δ): decay of the value per squared base unit and time."""
        return self.k * self.gamma * self.sigma**2 / (2.0 * self.lot)

    @property
    def eta(self) -> float:
        """A·exp(−k·cost)·(1 + ξΔ/k)^−(1 + k/(ξΔ)): rate at which values of neighbouring inventories mix."""
        risk = self.fill_aversion * self.lot
        # (1 + r/k)^-(1 + k/r) = exp(-k·premium) / (1 + r/k), which stays exact as r goes to 0.
        return self.A * exp(-self.k * (self.cost + self.premium)) / (1.0 + risk / self.k)


# --- closed form ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """Quotes far from the horizon and from the bound: linear in inventory, cheap enough for each event.

    `c1` in price, `c2` in √time per base unit, `half_spread` in price, `skew` in price per base unit,
    `drift_shift` in price, added to the bid's distance and taken from the ask's.
    """

    c1: float
    c2: float
    half_spread: float
    skew: float
    drift_shift: float

    def distances(self, q: float) -> tuple[float, float]:
        """Return (mid − bid, ask − mid), in price, for an inventory of `q` base units."""
        lean = self.drift_shift + self.skew * q
        return self.half_spread + lean, self.half_spread - lean

    def reservation_price(self, mid: float, q: float) -> float:
        """Return the middle of the two quotes."""
        return mid - self.drift_shift - self.skew * q


def closed_form(market: Market) -> ClosedForm:
    """Return the asymptotic coefficients: good near q = 0, poor near an inventory bound.

    c2 = √(γ/(2AΔk)·(1 + ξΔ/k)^(k/(ξΔ) + 1)); half_spread = c1 + Δσc2/2; skew = σc2. Impact multiplies c2 by exp(k·ξ/4)
    and adds ξ/2 to both distances; drift shifts both quotes by −μ/(γσ²) of inventory. Guéant (2017), section 4.
    """
    c2 = sqrt(market.gamma / (2.0 * market.lot * market.k * market.eta)) * exp(market.k * market.impact / 4.0)
    skew = market.sigma * c2
    return ClosedForm(
        c1=market.premium,
        c2=c2,
        half_spread=market.cost + market.premium + market.impact / 2.0 + market.lot * skew / 2.0,
        skew=skew,
        drift_shift=-market.drift / (market.gamma * market.sigma**2) * skew,
    )


# --- exact, with a bound ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuoteTable:
    """Exact distances for inventories of −bound … bound lots, at one time to the horizon.

    `bids[i]` is for inventory i − bound and ends at bound − 1; `asks[i]` for i − bound + 1. All in price.
    """

    bound: int
    bids: tuple[float, ...]
    asks: tuple[float, ...]

    def distances(self, lots: float) -> tuple[float | None, float | None]:
        """Return (mid − bid, ask − mid) for a signed number of lots, linear between whole ones.

        A side is None when one more lot on it would pass the bound; past the bound the other side quotes as at it.
        """
        return _between(self.bids, lots + self.bound), _between(self.asks[::-1], self.bound - lots)


def _between(values: tuple[float, ...], at: float) -> float | None:
    if not at <= len(values) - 1:
        return None
    if at <= 0.0:
        return values[0]
    index = floor(at)
    part = at - index
    return values[index] if part == 0.0 else values[index] + part * (values[index + 1] - values[index])


class BoundedGlft:
    """Solve the exact problem with |inventory| ≤ `bound` lots.

    The value v satisfies v' = M·v with M tridiagonal: kγσ²Δn²/2 − kμn on the diagonal, −η·exp(−k·impact/2) beside it, n
    in lots; a distance is a logarithm of a ratio of neighbouring values. `terminal_penalty(base)` is what it costs to
    unwind that inventory at the horizon, quote units.

    exp(−M·t) is made by repeated squaring of a matrix without negative entries. Nothing is subtracted, so even the
    smallest values keep their relative precision; summing eigenvectors would lose it below 1e-16 of the largest value,
    which inventories near the bound reach. Building one costs a few milliseconds at bound 30: do it on new parameters,
    not on each event.
    """

    def __init__(self, market: Market, bound: int, terminal_penalty: Callable[[float], float] | None = None) -> None:
        if bound < 1:
            raise ValueError(f"bound is {bound} lots: give at least 1")
        self.market = market
        self.bound = bound
        lots = np.arange(-bound, bound + 1, dtype=np.float64)
        diagonal = market.alpha * (lots * market.lot) ** 2 - market.k * market.drift * lots
        beside = np.full(2 * bound, market.eta * exp(-market.k * market.impact / 2.0))
        self._matrix: Vector = np.diag(diagonal) - np.diag(beside, 1) - np.diag(beside, -1)
        unwind = np.array([terminal_penalty(n * market.lot) if terminal_penalty else 0.0 for n in lots])
        if not np.all(np.isfinite(unwind)):
            raise ValueError("terminal_penalty gives a number that is not finite: return the cost in quote units")
        exponent = -market.k * (unwind / market.lot + market.impact * lots**2 / 2.0)
        self._terminal: Vector = np.exp(exponent - exponent.max())
        # exp(-M·t) = exp(-c·t)·exp(growth·t) with growth >= 0; the first factor cancels in every ratio.
        self._growth: Vector = diagonal.max() * np.eye(2 * bound + 1) - self._matrix
        self._step = 1.0 / float(self._growth.sum(axis=1).max())
        self._powers: list[Vector] = [_exp_series(self._growth * self._step, np.eye(2 * bound + 1))]

    @property
    def smallest_eigenvalue(self) -> float:
        """Smallest eigenvalue of M, per time: the long-run growth rate of v is its negative."""
        return float(np.linalg.eigvalsh(self._matrix)[0])

    def at(self, time_left: float) -> QuoteTable:
        """Return the quotes at a time before the horizon. Any length works: values are rescaled as they grow."""
        require_non_negative(time_left=time_left)
        steps, rest = divmod(time_left, self._step)
        values = _exp_series(self._growth * rest, self._terminal)
        count, level = int(steps), 0
        while count:
            if count & 1:
                values = self._power(level) @ values
                values /= values.max()
            count, level = count >> 1, level + 1
        return self._table(values)

    def stationary(self) -> QuoteTable:
        """Return the quotes infinitely far from the horizon, which no terminal penalty reaches."""
        first, second = np.linalg.eigvalsh(self._matrix)[:2]
        # Past this time the second eigenvector is less than e^-80 of the first; no gap needs more than 1e30 steps.
        level = max(0, ceil(log2(80.0 / max(float(second - first) * self._step, 1e-30))))
        return self._table(self._power(level).sum(axis=1))

    def _power(self, level: int) -> Vector:
        # exp(growth·step·2^level) up to a factor.
        while len(self._powers) <= level:
            square = self._powers[-1] @ self._powers[-1]
            self._powers.append(square / square.max())
        return self._powers[level]

    def _table(self, values: Vector) -> QuoteTable:
        if values.min() <= 0.0:
            raise ValueError(
                f"inventories near the bound of {self.bound} lots are worth nothing at this risk aversion: "
                "lower the bound or gamma"
            )
        market = self.market
        steps = np.diff(np.log(values)) / market.k
        base = market.cost + market.premium + market.impact / 2.0
        return QuoteTable(self.bound, tuple((base - steps).tolist()), tuple((base + steps).tolist()))


def _exp_series(growth: Vector, target: Vector) -> Vector:
    """Return exp(growth) @ target for entries >= 0 and row sums <= 1, where 20 terms reach float precision."""
    term = result = target
    for order in range(1, 21):
        term = growth @ term / order
        result = result + term
    return result


# --- ticks ------------------------------------------------------------------------------------------------------------


def quote_ticks(
    bid: float, ask: float, tick_size: float, best_bid: float, best_ask: float, *, min_spread_ticks: int = 1
) -> tuple[int, int]:
    """Return (bid, ask) as whole numbers of ticks that never cross the book and never tighten by rounding.

    The bid is floored and the ask ceiled, both are moved back from the opposite best price so that post-only holds
    (at most one tick inside it), and a spread below `min_spread_ticks` is widened on both sides alike. Prices are in
    quote per base; a price within rounding error of a tick is on it.
    """
    require_positive(tick_size=tick_size, best_bid=best_bid, best_ask=best_ask)
    require_finite(bid=bid, ask=ask)
    bid_tick = min(floor_tick(bid, tick_size), ceil_tick(best_ask, tick_size) - 1)
    ask_tick = max(ceil_tick(ask, tick_size), floor_tick(best_bid, tick_size) + 1)
    missing = min_spread_ticks - (ask_tick - bid_tick)
    if missing > 0:
        bid_tick -= (missing + 1) // 2
        ask_tick += (missing + 1) // 2
    return bid_tick, ask_tick


def floor_tick(price: float, tick_size: float) -> int:
    """Return the greatest whole number of ticks that is not above the price."""
    ticks = price / tick_size
    return floor(ticks + 4.0 * ulp(ticks))


def ceil_tick(price: float, tick_size: float) -> int:
    """Return the smallest whole number of ticks that is not below the price."""
    ticks = price / tick_size
    return ceil(ticks - 4.0 * ulp(ticks))
