"""What a report needs from a ledger, as arrays. Times are ns since 1970 in int64, everything else float64."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes._lib.ledger_file import reading
from nodes._lib.ledger_schema import TABLES

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

PARTS = ("carry", "lp_fees", "lvr", "hedge_price", "basis", "funding", "venue_fees", "gas", "swap_slippage")
"""The parts of PnL that sum to the change of equity."""

LEVELS = ("mark", "equity", "start_equity", *PARTS, "lp_base", "venue_base", "holding", "unhedged", "rebalancing")


@dataclass(frozen=True, slots=True)
class Series:
    """Values that hold from their time until the next."""

    times: Times
    values: Floats

    def at(self, times: Times) -> Floats:
        """Return the value that holds at each time; before the first it is NaN."""
        if not len(self.times):
            return np.full(len(times), np.nan)
        places = np.searchsorted(self.times, times, side="right") - 1
        return np.where(places >= 0, self.values[np.maximum(places, 0)], np.nan)


@dataclass(frozen=True, slots=True)
class Run:
    """One ledger, read."""

    facts: dict[str, str]
    pnl_times: Times
    pnl: dict[str, Floats]
    pnl_first: dict[str, Any]
    """The first row of `pnl` as it is written: the start, when every part is 0."""
    pnl_last: dict[str, Any]
    currency: str
    marks: dict[str, Series]
    mark_sources: list[str]
    rates: dict[tuple[str, str], Series]
    lp_times: Times
    lp: dict[str, Floats]
    """price, lower, upper (NaN without a position), base, quote, gas (base units)."""
    commands_done: list[tuple[int, str]]
    """(time, command id) of each confirmation."""
    exposure_times: Times
    exposure: dict[str, Floats]
    """net (NaN while unknown), lp, venue, in base units."""
    pool: str
    orders: list[dict[str, Any]]
    updates: list[dict[str, Any]]
    fills: list[dict[str, Any]]
    positions: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    commands: list[dict[str, Any]]
    first_ns: int
    last_ns: int

    @property
    def has_pnl(self) -> bool:
        """Whether LP and hedge were accounted for; without it there is execution only."""
        return len(self.pnl_times) > 1

    def rate_at(self, pair: str, time_ns: int) -> float:
        """Return the rate of a pool's or instrument's quote into the report currency; 1 where none is declared."""
        parts = pair.split("-")
        series = self.rates.get((parts[1], self.currency)) if len(parts) > 1 else None
        rate = float(series.at(np.array([time_ns], dtype=np.int64))[0]) if series else 1.0
        return 1.0 if isnan(rate) else rate

    @property
    def mark(self) -> Series:
        """The mark of the base asset; without marks, empty."""
        for series in self.marks.values():
            return series
        return Series(np.array([], dtype=np.int64), np.array([]))


def read_run(path: Path) -> Run:
    """Read a ledger; raises LedgerError when it cannot be read."""
    with reading(path) as db:
        pnl = _rows(db, "pnl")
        marks = _rows(db, "marks")
        states = _rows(db, "lp_states")
        exposures = _rows(db, "exposures")
        lp_times, lp, done = _lp(states)
        first, last = _period(db)
        return Run(
            facts={row["key"]: row["value"] for row in _rows(db, "meta")},
            pnl_times=_times(pnl),
            pnl={name: np.array([float(row[name]) for row in pnl]) for name in LEVELS},
            pnl_first=pnl[0] if pnl else {},
            pnl_last=pnl[-1] if pnl else {},
            currency=pnl[-1]["currency"] if pnl else marks[-1]["currency"] if marks else "USD",
            marks=_by(marks, lambda row: row["asset"], "price"),
            mark_sources=sorted({row["source"] for row in marks}),
            rates=_by(_rows(db, "rates"), lambda row: (row["currency"], row["into"]), "rate"),
            lp_times=lp_times,
            lp=lp,
            commands_done=done,
            exposure_times=_times(exposures),
            exposure={
                "net": np.array([np.nan if row["net_base"] is None else row["net_base"] for row in exposures]),
                "lp": np.array([row["lp_base"] for row in exposures]),
                "venue": np.array([row["venue_base"] for row in exposures]),
            },
            pool=states[-1]["pool"] if states else "",
            orders=_rows(db, "orders"),
            updates=_rows(db, "updates"),
            fills=_rows(db, "fills"),
            positions=_rows(db, "positions"),
            verdicts=_rows(db, "verdicts"),
            commands=_rows(db, "commands"),
            first_ns=first,
            last_ns=last,
        )


def _rows(db: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    names = ("seq", *TABLES[table].columns)
    return [dict(zip(names, row, strict=True)) for row in db.execute(TABLES[table].select)]


def _times(rows: list[dict[str, Any]]) -> Times:
    return np.array([row["event_time_ns"] for row in rows], dtype=np.int64)


def _by(rows: list[dict[str, Any]], key: Any, value: str) -> dict[Any, Series]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {name: Series(_times(of), np.array([row[value] for row in of])) for name, of in found.items()}


def _lp(states: list[dict[str, Any]]) -> tuple[Times, dict[str, Floats], list[tuple[int, str]]]:
    columns: dict[str, list[float]] = {name: [] for name in ("price", "lower", "upper", "base", "quote", "gas")}
    done: list[tuple[int, str]] = []
    for state in states:
        base_unit, quote_unit = 10.0 ** -state["base_decimals"], 10.0 ** -state["quote_decimals"]
        # LpPosition as an array: id, lower and upper price, ticks, liquidity, base, quote, fees in base and quote.
        positions = json.loads(state["positions"])
        base = int(state["wallet_base"]) + int(state["native_base"]) + sum(each[6] + each[8] for each in positions)
        quote = int(state["wallet_quote"]) + sum(each[7] + each[9] for each in positions)
        columns["price"].append(state["price"])
        columns["lower"].append(min((each[1] for each in positions), default=np.nan))
        columns["upper"].append(max((each[2] for each in positions), default=np.nan))
        columns["base"].append(base * base_unit)
        columns["quote"].append(quote * quote_unit)
        columns["gas"].append(int(state["gas_base"]) * base_unit)
        if state["confirmed"] and (not done or done[-1][1] != state["confirmed"]):
            done.append((state["event_time_ns"], state["confirmed"]))
    return _times(states), {name: np.array(values) for name, values in columns.items()}, done


def _period(db: sqlite3.Connection) -> tuple[int, int]:
    first, last = 2**63, 0
    for name in TABLES:
        if name != "meta":
            low, high = db.execute(f"SELECT min(event_time_ns), max(event_time_ns) FROM {name}").fetchone()
            if low is not None:
                first, last = min(first, low), max(last, high)
    return (first, last) if last else (0, 0)
