"""How orders were filled, what the market did after, what gates decided, and how sound the data is."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np

from nodes._lib.report_data import Run, Times

MARKOUT_S = (1, 5, 30, 300)
NS = 10**9


def fills(run: Run) -> dict[str, Any] | None:
    """Return what was traded, at which price against the mid, and how the price moved after; None without a fill.

    All in bps of the price, weighted by volume; positive is good for us: bought below the mid, or the price rose after
    a purchase. A markout within the time between two marks is not known, and None.
    """
    if not run.fills:
        return None
    price = np.array([float(fill["price"]) for fill in run.fills])
    size = np.array([float(fill["size"]) for fill in run.fills])
    sign = np.array([1.0 if fill["side"] == "buy" else -1.0 for fill in run.fills])
    mid = np.array([fill["mid"] for fill in run.fills])
    maker = np.array([fill["liquidity"] == "maker" for fill in run.fills])
    times = np.array([fill["event_time_ns"] for fill in run.fills], dtype=np.int64)
    fee = np.array([float(fill["fee"]) for fill in run.fills])
    in_quote = np.array([fill["fee_currency"] == fill["instrument"].split("-")[1] for fill in run.fills])
    volume = price * size
    with_mid = mid > 0
    slippage = np.where(with_mid, sign * (mid - price) / price * 10_000, 0.0)
    rate = run.rate_of_fills()
    every_s = _marks_every_s(run, times)
    markouts = []
    for horizon in MARKOUT_S:
        then = times + horizon * NS
        later = run.mark.at(then) / rate
        usable = (then <= run.last_ns) & ~np.isnan(later)
        moved = sign * (np.where(usable, later, price) - price) / price * 10_000
        seen = every_s is None or horizon >= every_s
        bps = _weighted(moved, volume * usable) if seen else None
        markouts.append({"after_s": horizon, "bps": bps, "fills": int(np.count_nonzero(usable))})
    return {
        "count": len(run.fills),
        "volume_base": round(float(np.sum(size)), 6),
        "volume_quote": round(float(np.sum(volume)), 2),
        "bought_base": round(float(np.sum(size[sign > 0])), 6),
        "sold_base": round(float(np.sum(size[sign < 0])), 6),
        "maker_share": _weighted(maker.astype(np.float64), volume),
        "fee_bps": _weighted(fee / volume * 10_000, volume * in_quote),
        "slippage_bps": _weighted(slippage, volume * with_mid),
        "slippage_maker_bps": _weighted(slippage, volume * (with_mid & maker)),
        "slippage_taker_bps": _weighted(slippage, volume * (with_mid & ~maker)),
        "markouts": markouts,
        "marks_every_s": every_s,
        "time_to_fill": time_to_fill(run),
    }


def _marks_every_s(run: Run, times: Times) -> float | None:
    """Return the usual time between two marks at a fill, s; a ledger keeps both there. None with fewer than two."""
    marks = np.unique(run.mark.times)
    if len(marks) < 2:
        return None
    gaps = np.diff(marks)
    # The gaps that end and that begin at the first mark not before the fill; the ledger may have thinned out one.
    place = np.searchsorted(marks, times)
    last = len(gaps) - 1
    nearest = np.minimum(gaps[np.clip(place - 1, 0, last)], gaps[np.clip(place, 0, last)])
    return round(float(np.median(nearest)) / NS, 3)


def _weighted(values: Any, weights: Any) -> float | None:
    whole = float(np.sum(weights))
    return round(float(np.sum(values * weights)) / whole, 4) + 0.0 if whole > 0 else None


def time_to_fill(run: Run) -> dict[str, Any] | None:
    """Return the time from asking for an order to its first fill, s; None when no fill's order is known."""
    asked = {order["client_order_id"]: order["event_time_ns"] for order in run.orders if order["action"] == "place"}
    first: dict[str, int] = {}
    for fill in run.fills:
        first.setdefault(fill["client_order_id"], fill["event_time_ns"])
    waits = np.array([(at - asked[name]) / NS for name, at in first.items() if name in asked])
    if not len(waits):
        return None
    return {
        "median_s": round(float(np.median(waits)), 3),
        "p90_s": round(float(np.percentile(waits, 90)), 3),
        "longest_s": round(float(np.max(waits)), 3),
        "orders": len(waits),
    }


def orders(run: Run) -> dict[str, int]:
    """Return how many orders were asked for and what became of them."""
    placed = {order["client_order_id"] for order in run.orders if order["action"] == "place"}
    last: dict[str, str] = {}
    for update in run.updates:
        # A cancel that came too late is answered with a rejection of the cancel, not of the order.
        if update["status"] != "rejected" or update["client_order_id"] not in last:
            last[update["client_order_id"]] = update["status"]
    ends = Counter(last.get(name, "no answer") for name in placed)
    return {"placed": len(placed), "cancel requests": len(run.orders) - len(placed)} | dict(sorted(ends.items()))


def gates(run: Run) -> list[dict[str, Any]]:
    """Return the decisions of all gates by rule."""
    counts = Counter((verdict["rule"], bool(verdict["passed"])) for verdict in run.verdicts)
    return [{"rule": rule, "passed": passed, "count": count} for (rule, passed), count in sorted(counts.items())]


def quality(run: Run, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was counted and compared about the data: each with its value and whether it is as it should be."""
    found: list[dict[str, Any]] = []

    def note(name: str, value: str, fine: bool) -> None:
        found.append({"name": name, "value": value, "fine": fine})

    note("ledger", f"{facts['rows']:,} rows in {facts['commits']:,} commits, hash chain holds", True)
    repeats = {name: count for name, count in facts["repeats"].items() if count and name != "commands"}
    note("repeats not booked again", ", ".join(f"{name} {n}" for name, n in sorted(repeats.items())) or "none", True)
    states = orders(run)
    note("orders without an outcome", str(states.get("no answer", 0)), not states.get("no answer"))
    late = sum(update["status"] == "rejected" and "post-only" in update["reason"] for update in run.updates)
    other = states.get("rejected", 0) - late
    note("post-only orders that would have traded", str(late), True)
    note("orders refused for other reasons", str(other), not other)
    for instrument, (held, booked) in _reconciled(run).items():
        agree = held == booked
        text = f"{held:f} = sum of fills" if agree else f"venue {held:f}, sum of fills {booked:f}"
        note(f"position in {instrument}", text, agree)
    unknown = facts["unknown_share"]
    if unknown is not None:
        note("net exposure not known", f"{unknown:.2%} of the time", unknown < 0.01)
    if run.has_pnl:
        gap = float(np.max(np.diff(run.pnl_times))) / NS
        usual = float(np.median(np.diff(run.pnl_times))) / NS
        note("longest gap in PnL", f"{gap:,.0f} s (usual {usual:,.0f} s)", gap <= max(10 * usual, 600))
    return found


def _reconciled(run: Run) -> dict[str, tuple[Decimal, Decimal]]:
    """Return by instrument what the venue says it holds at the end, and what first position and fills make it."""
    result = {}
    for instrument in sorted({position["instrument"] for position in run.positions}):
        levels = [position for position in run.positions if position["instrument"] == instrument]
        opening = Decimal(levels[0]["size"])
        own = [fill for fill in run.fills if fill["instrument"] == instrument]
        # The first level contains the fills that came before it.
        later = [fill for fill in own if fill["seq"] > levels[0]["seq"]]
        booked = sum((Decimal(fill["size"]) * (1 if fill["side"] == "buy" else -1) for fill in later), opening)
        result[instrument] = (Decimal(levels[-1]["size"]), booked)
    return result
