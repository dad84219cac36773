"""Estimate fill intensities and volatility from what was seen.

Intensity: fills arrive at rate A·exp(−k·distance) per side, distance in price, A per unit of the exposure's time.
Volatility: every function returns a variance of log returns per second; `annualised` makes the figure people quote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, expm1, inf, log, sqrt

from nodes._lib.checks import require_non_negative, require_positive

SECONDS_PER_YEAR = 31_536_000
"""Of a year of 365 days."""

_LN2 = log(2.0)


# --- intensity --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intensity:
    """A fitted intensity A·exp(−k·δ), with what is needed to decide whether to use it.

    `k_standard_error` is from the Hessian of the log-likelihood; `r_squared` is that of ln(fills/exposure) on distance.
    """

    A: float
    k: float
    k_standard_error: float
    fills: int
    r_squared: float


def fit_log_linear(
    distances: Sequence[float], exposures: Sequence[float], fills: Sequence[int]
) -> tuple[float, float, float]:
    """Return (A, k, R²) of an unweighted regression of ln(fills/exposure) on distance, levels without fills left out.

    A start and a check only: small counts bias it. Raises ValueError with fewer than two levels that were filled.
    """
    points = [(d, log(n / t)) for d, t, n in _levels(distances, exposures, fills) if n > 0]
    mean_d = sum(d for d, _ in points) / max(len(points), 1)
    spread = sum((d - mean_d) ** 2 for d, _ in points)
    if spread <= 0.0:
        raise ValueError("fills at fewer than two distances: quote at more distances or wait longer before fitting")
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((d - mean_d) * (y - mean_y) for d, y in points) / spread
    total = sum((y - mean_y) ** 2 for _, y in points)
    r_squared = slope * slope * spread / total if total > 0.0 else 0.0
    return exp(mean_y - slope * mean_d), -slope, r_squared


def fit_intensity(distances: Sequence[float], exposures: Sequence[float], fills: Sequence[int]) -> Intensity:
    """Return the maximum-likelihood intensity of counts of fills at distances.

    `exposures[j]` is the time during which a quote at `distances[j]` was live and the book existed. For given k the
    best A is ΣN/ΣT·exp(−kd); what remains is one equation in k, whose two sides are the mean distance of the fills seen
    and of the fills expected. It is monotone, so bisection finds the root.

    Raises ValueError when fewer than two distances were filled: then no finite k need fit.
    """
    levels = _levels(distances, exposures, fills)
    _, start, r_squared = fit_log_linear(distances, exposures, fills)
    count = sum(n for _, _, n in levels)
    seen = sum(n * d for d, _, n in levels) / count
    nearest = min(d for d, _, _ in levels)

    def expected(k: float) -> tuple[float, float, float]:
        # (sum of weights, mean, variance) of distance under T·exp(-k(d - nearest)).
        weights = [(d, t * exp(-k * (d - nearest))) for d, t, _ in levels]
        total = sum(w for _, w in weights)
        mean = sum(w * d for d, w in weights) / total
        return total, mean, sum(w * (d - mean) ** 2 for d, w in weights) / total

    width = 1.0 / (max(d for d, _, _ in levels) - nearest)
    low, high, step = start - width, start + width, width
    while expected(low)[1] < seen:
        low, step = low - step, step * 2.0
    step = width
    while expected(high)[1] > seen:
        high, step = high + step, step * 2.0
    while low < (k := (low + high) / 2.0) < high:
        if expected(k)[1] > seen:
            low = k
        else:
            high = k
    total, _, variance = expected(k)
    return Intensity(
        A=count / total * exp(k * nearest),
        k=k,
        k_standard_error=1.0 / sqrt(count * variance),
        fills=count,
        r_squared=r_squared,
    )


def _levels(
    distances: Sequence[float], exposures: Sequence[float], fills: Sequence[int]
) -> list[tuple[float, float, int]]:
    levels = [(d, t, n) for d, t, n in zip(distances, exposures, fills, strict=True) if t > 0.0]
    for distance, exposure, count in levels:
        if not (-inf < distance < inf and exposure < inf and count >= 0):
            raise ValueError(
                f"level at {distance}: exposure {exposure} and fills {count} must be finite and not negative"
            )
    return levels


def why_refuse(fit: Intensity, min_fills: int = 30, min_r_squared: float = 0.5) -> str:
    """Return why a fit should not replace the last good one, or "" when it may."""
    if not 0.0 < fit.k < inf:
        return f"k is {fit.k:.4g}: fills do not become rarer with distance"
    if fit.fills < min_fills:
        return f"{fit.fills} fills, fewer than {min_fills}"
    if fit.r_squared < min_r_squared:
        return f"R² of the log fit is {fit.r_squared:.2f}, below {min_r_squared}"
    return ""


def first_passage(waits_s: Sequence[float], censor_s: float) -> tuple[int, float]:
    """Return (fills, seconds at risk) of virtual orders at one distance.

    `waits_s` are the times until a trade went beyond each, infinite when none did; each is watched for `censor_s`.
    """
    require_positive(censor_s=censor_s)
    return sum(1 for wait in waits_s if wait <= censor_s), sum(min(wait, censor_s) for wait in waits_s)


# --- volatility -------------------------------------------------------------------------------------------------------


def annualised(variance_per_s: float) -> float:
    """Return the volatility per √year of 365 days."""
    return sqrt(variance_per_s * SECONDS_PER_YEAR)


def realised_variance(prices: Sequence[float], times_s: Sequence[float]) -> float:
    """Return Σr²/Σdt of log returns between prices at irregular times, per second. Gaps count with their length."""
    if len(prices) < 2 or len(prices) != len(times_s):
        raise ValueError(f"{len(prices)} prices and {len(times_s)} times: give at least two of each, in pairs")
    span = times_s[-1] - times_s[0]
    require_positive(span=span, **{f"prices[{i}]": p for i, p in enumerate(prices) if not 0.0 < p < inf})
    return sum(log(b / a) ** 2 for a, b in pairwise(prices)) / span


def parkinson_variance(highs: Sequence[float], lows: Sequence[float], bar_s: float) -> float:
    """Return the variance per second from highs and lows of bars: mean ln(H/L)² / (4·ln 2) / bar. Parkinson 1980."""
    require_positive(bar_s=bar_s)
    squares = [log(h / low) ** 2 for h, low in zip(highs, lows, strict=True)]
    return sum(squares) / len(squares) / (4.0 * _LN2) / bar_s


def garman_klass_variance(
    opens: Sequence[float], highs: Sequence[float], lows: Sequence[float], closes: Sequence[float], bar_s: float
) -> float:
    """Return the variance per second: mean of ln(H/L)²/2 − (2·ln 2 − 1)·ln(C/O)², / bar. Garman and Klass 1980."""
    require_positive(bar_s=bar_s)
    terms = [
        0.5 * log(h / low) ** 2 - (2.0 * _LN2 - 1.0) * log(c / o) ** 2
        for o, h, low, c in zip(opens, highs, lows, closes, strict=True)
    ]
    return sum(terms) / len(terms) / bar_s


def ewma_variance(variance: float, log_return: float, dt_s: float, half_life_s: float) -> float:
    """Return the variance per second after one more return, weighted exponentially in time.

    v² + (1 − 2^(−dt/half_life))·(r²/dt − v²). A gap counts with its length, not as one observation: two waits without
    movement do the same as one of their sum. At dt = 0 the formula's limit holds. Feed one observation per block:
    returns within a block are mostly noise.
    """
    if not (dt_s >= 0.0 and half_life_s > 0.0):
        require_non_negative(dt_s=dt_s)
        require_positive(half_life_s=half_life_s)
    exponent = dt_s * _LN2 / half_life_s
    if exponent == 0.0:
        return variance + log_return * log_return * _LN2 / half_life_s
    return variance * exp(-exponent) - log_return * log_return * expm1(-exponent) / dt_s
