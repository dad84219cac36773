"""What the run earned, how sure that is, and what it would have been without the hedge. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from nodes._lib.pnl import EXACT
from nodes._lib.report_data import PARTS, Floats, Run, Series

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
    with localcontext(EXACT):
        last = {name: Decimal(run.pnl_last[name]) for name in (*PARTS, "equity", "unhedged", "rebalancing")}
        first = {name: Decimal(run.pnl_first[name]) for name in ("equity", "unhedged", "rebalancing", "carry")}
        parts = {name: last[name] for name in PARTS}
        alone = {name: last[name] for name in LP_PARTS}
        # What changing rates did to the LP's own quote: the rebalancing portfolio has it, and it is not carry.
        alone["basis"] = last["rebalancing"] - first["rebalancing"] - last["carry"] + first["carry"]
        return {
            "with_hedge": _table(parts, last["equity"] - first["equity"]),
            "without_hedge": _table(alone, last["unhedged"] - first["unhedged"]),
        }


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


# --- the interval -------------------------------------------------------------------------------------------------


def interval(run: Run, taker_run: Run | None, assumptions: Assumptions) -> dict[str, Any]:
    """Return PnL under every combination of stated assumptions, and what may be said of its sign."""
    gas = [*assumptions.gas_gwei] if assumptions.run_gas_gwei > 0 and assumptions.gas_gwei else [None]
    outcomes: list[dict[str, Any]] = []
    values: list[float] = []
    repriced = 0.0 if taker_run else repriced_as_taker(run, assumptions)
    for execution, gwei, reference in product(_executions(run), gas, REFERENCES):
        source, shift = run, 0.0
        if execution == "taker":
            source, shift = taker_run or run, repriced
        factor = gwei / assumptions.run_gas_gwei if gwei is not None else 1.0
        pnl = change_under(source, reference) + shift + float(source.pnl["gas"][-1]) * (factor - 1)
        values.append(money(pnl))
        outcomes.append({"execution": execution, "gas_gwei": gwei, "reference": reference, "pnl": values[-1]})
    low, high = min(values), max(values)
    base = money(float(run.pnl["equity"][-1] - run.pnl["equity"][0]))
    sampling = sampling_error(run)
    return {
        "as_run": base,
        "low": low,
        "high": high,
        "sampling_error": None if sampling is None else money(sampling),
        "taker_from": "variant run" if taker_run else "each maker fill priced as crossing the spread",
        "outcomes": outcomes,
        "verdict": verdict(low, high, base, sampling, run.currency),
    }


def _executions(run: Run) -> list[str]:
    return ["as run", "taker"] if any(fill["liquidity"] == "maker" for fill in run.fills) else ["as run"]


def verdict(low: float, high: float, as_run: float, sampling: float | None, currency: str) -> str:
    """Say what the interval shows about the sign of PnL, and nothing more."""
    span = f"{low:+,.2f} to {high:+,.2f} {currency}"
    if low <= 0 <= high:
        return f"PnL over the stated assumptions is {span}: not distinguishable from zero."
    sign = "positive" if low > 0 else "negative"
    text = f"PnL is {sign} under every stated assumption: {span}."
    if sampling is None:
        return f"{text} The period is too short to tell it from chance."
    if abs(as_run) < 2 * sampling:
        text += (
            f" It is within two standard errors ({2 * sampling:,.2f} {currency}, from hourly changes) of zero, so a "
            "period as long as this one does not tell it from chance."
        )
    return text


def sampling_error(run: Run) -> float | None:
    """Return the standard error of total PnL from the spread of its hourly changes; None below 12 hours."""
    hours = np.arange(run.pnl_times[0], run.pnl_times[-1] + 1, HOUR_NS, dtype=np.int64)
    if len(hours) < 13:
        return None
    changes = np.diff(Series(run.pnl_times, run.pnl["equity"]).at(hours))
    return float(np.std(changes, ddof=1)) * sqrt(len(changes))


def change_under(run: Run, reference: str) -> float:
    """Return the change of equity when the base is valued at another reference price (see REFERENCES)."""
    return _equity_under(run, reference, -1) - _equity_under(run, reference, 0)


def _equity_under(run: Run, reference: str, place: int) -> float:
    equity, unhedged, mark = (float(run.pnl[name][place]) for name in ("equity", "unhedged", "mark"))
    base = float(run.pnl["lp_base"][place])
    if reference == "venue mid × declared rate":
        return equity
    at = run.pnl_times[[place]]
    pool_rate = float(run.rate_at(run.pool, at)[0])
    if reference == "pool price":
        price = float(Series(run.lp_times, run.lp["price"]).at(at)[0])
        return equity + base * (price * pool_rate - mark)
    venue_rate = float(run.rate_at(run.fills[0]["instrument"], at)[0]) if run.fills else pool_rate
    return base * mark / venue_rate + (unhedged - base * mark) / pool_rate + (equity - unhedged) / venue_rate


def repriced_as_taker(run: Run, assumptions: Assumptions) -> float:
    """Return what PnL changes by when each maker fill had crossed the spread when its order was decided on.

    It then pays the order's reference price (the mid that the decision saw) ± half the spread, and the taker fee.
    """
    asked = {order["client_order_id"]: order for order in run.orders if order["action"] == "place"}
    total = 0.0
    for fill, rate in zip(run.fills, run.rate_of_fills().tolist(), strict=True):
        order = asked.get(fill["client_order_id"])
        if fill["liquidity"] != "maker" or order is None or not order["reference_price"]:
            continue
        sign = 1.0 if fill["side"] == "buy" else -1.0
        price, size = float(fill["price"]), float(fill["size"])
        crossed = order["reference_price"] * (1 + sign * assumptions.half_spread_bps / 10_000)
        fee = crossed * size * assumptions.taker_fee_bps / 10_000
        total += (-sign * size * (crossed - price) - (fee - float(fill["fee"]))) * rate
    return total


def alternatives(run: Run) -> list[dict[str, Any]]:
    """Return what other portfolios of the same start became: change, volatility per step, deepest fall."""
    step_ns = _step_ns(run)
    grid = np.arange(run.pnl_times[0], run.pnl_times[-1] + 1, step_ns, dtype=np.int64)
    result = []
    for name, values in equity_curves(run).items():
        changes = np.diff(Series(run.pnl_times, values).at(grid))
        result.append(
            {
                "name": name,
                "change": money(values[-1]),
                "volatility_per_step": money(float(np.std(changes))) if len(changes) else 0.0,
                "max_drawdown": money(np.max(drawdown(values))),
            }
        )
    return result


def equity_curves(run: Run) -> dict[str, Floats]:
    """Return the change of equity since the start of each portfolio."""
    columns = {
        "hedged LP": "equity",
        "unhedged LP": "unhedged",
        "rebalancing": "rebalancing",
        "holding": "holding",
    }
    curves = {name: run.pnl[column] - run.pnl[column][0] for name, column in columns.items()}
    return curves | {"cash": np.zeros(len(run.pnl_times))}
