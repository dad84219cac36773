"""What the run earned, how sure that is, and what it would have been without the hedge. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from nodes._lib.pnl import EXACT
from nodes._lib.report_data import PARTS, Floats, Run, Series, Times

DAY_S = 86_400
HOUR_NS = 3_600 * 10**9
LP_PARTS = ("carry", "lp_fees", "lvr", "gas", "swap_slippage")

REFERENCES = {
    "venue mid × declared rate": "the declared mark",
    "venue mid × 1": "the same with every rate taken as 1",
    "pool price": "the pool's own price for the LP, the declared mark for the hedge",
}


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the interval of PnL is spanned by, beside the reference price."""

    gas_gwei: tuple[float, ...]
    """Prices of gas; empty when gas was not priced in gwei."""
    run_gas_gwei: float
    """The price of gas in the run; 0 when it is not known."""
    taker_fee_bps: float
    half_spread_bps: float


def volatility(run: Run) -> dict[str, Any]:
    """Return how much equity moves per step, with the hedge and without, and how deep it falls."""
    step_ns = _step_ns(run)
    grid = np.arange(run.pnl_times[0], run.pnl_times[-1] + 1, step_ns, dtype=np.int64)
    sides: dict[str, Any] = {"step_s": int(step_ns // 10**9), "steps": max(0, len(grid) - 1)}
    for name, column in (("with_hedge", "equity"), ("without_hedge", "unhedged")):
        values = Series(run.pnl_times, run.pnl[column]).at(grid)
        changes = np.diff(values)
        deviation = float(np.std(changes)) if len(changes) else 0.0
        sides[name] = {
            "volatility_per_step": deviation,
            "volatility_per_day": deviation * sqrt(DAY_S * 1e9 / step_ns),
            "variance_per_step": deviation**2,
            "max_drawdown": float(np.max(drawdown(run.pnl[column]))),
        }
    hedged, bare = sides["with_hedge"], sides["without_hedge"]
    for name in ("volatility_per_step", "variance_per_step", "max_drawdown"):
        before = bare[name]
        sides[f"{name}_reduction"] = 1 - hedged[name] / before if before > 0 else None
    return sides


def _step_ns(run: Run) -> int:
    """Return a minute, or what lies between two rows when that is more."""
    between = int(np.median(np.diff(run.pnl_times))) if len(run.pnl_times) > 1 else 0
    minute = 60 * 10**9
    return max(minute, -(-between // minute) * minute)


def drawdown(values: Floats) -> Floats:
    """Return how far each value lies below the highest before it; 0 or positive."""
    return np.maximum.accumulate(values) - values


def hedge_error(run: Run) -> dict[str, Any] | None:
    """Return RMS and mean of |net exposure| over time, in base units and in the report currency."""
    times = run.exposure_times
    if len(times) < 2:
        return None
    weights = np.diff(np.append(times, max(run.last_ns, int(times[-1])))).astype(np.float64)
    net, lp = run.exposure["net"], run.exposure["lp"]
    price = run.mark.at(times)
    known = ~np.isnan(net)
    result: dict[str, Any] = {"unknown_share": _mean((~known).astype(np.float64), weights)}
    for name, values in (("with_hedge", net), ("without_hedge", lp)):
        usable = known & ~np.isnan(price)
        size, weight = np.abs(values), weights * known
        result[name] = {
            "rms_base": sqrt(_mean(np.where(known, size, 0.0) ** 2, weight)),
            "mean_base": _mean(np.where(known, size, 0.0), weight),
            "rms_value": sqrt(_mean(np.where(usable, size * price, 0.0) ** 2, weights * usable)),
            "mean_value": _mean(np.where(usable, size * price, 0.0), weights * usable),
        }
    bare = result["without_hedge"]["rms_base"]
    result["rms_reduction"] = 1 - result["with_hedge"]["rms_base"] / bare if bare > 0 else None
    return result


def _mean(values: Floats, weights: Floats) -> float:
    whole = float(np.sum(weights))
    return float(np.sum(values * weights)) / whole if whole > 0 else 0.0


# --- parts --------------------------------------------------------------------------------------------------------


def attribution(run: Run) -> dict[str, Any]:
    """Return the parts with and without the hedge, their sums and what is left over, in exact decimals."""
    last = {name: Decimal(run.pnl_last[name]) for name in (*PARTS, "equity", "start_equity", "unhedged", "rebalancing")}
    first_unhedged = _first_unhedged(run)
    with localcontext(EXACT):
        change = last["equity"] - last["start_equity"]
        parts = {name: last[name] for name in PARTS}
        alone = {name: last[name] for name in LP_PARTS}
        # What changing rates did to the LP's own quote: it is in the portfolio that rebalances, and not in carry.
        alone["basis"] = last["rebalancing"] - first_unhedged - last["carry"]
        change_alone = last["unhedged"] - first_unhedged
        return {
            "with_hedge": _table(parts, change),
            "without_hedge": _table(alone, change_alone),
        }


def _first_unhedged(run: Run) -> Decimal:
    # The first row is the start: all parts are 0 there, and the rebalancing portfolio is the LP itself.
    with localcontext(EXACT):
        last = {name: Decimal(run.pnl_last[name]) for name in ("unhedged", "rebalancing", *LP_PARTS)}
        deposit = Decimal(repr(float(run.pnl["start_equity"][0] - run.pnl["unhedged"][0])))
        start = Decimal(run.pnl_last["start_equity"]) - deposit
        return start if abs(start - Decimal(repr(float(run.pnl["unhedged"][0])))) < Decimal("0.01") else last["unhedged"]


def _table(parts: dict[str, Decimal], change: Decimal) -> dict[str, Any]:
    total = sum(parts.values(), Decimal(0))
    return {
        "parts": {name: money(value) for name, value in parts.items()},
        "sum": money(total),
        "change_of_equity": money(change),
        "residual": str((change - total).normalize()) if change != total else "0",
    }


def money(value: Decimal | float) -> float:
    """Return an amount to a hundredth of a cent."""
    return round(float(value), 4) + 0.0
