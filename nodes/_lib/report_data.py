"""What a report needs from a ledger, as arrays. Times are ns since 1970 in int64, everything else float64."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import msgspec
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

    def rate_at(self, pair: str, times: Times) -> Floats:
        """Return the rate of a pool's or instrument's quote into the report currency; 1 where none is declared."""
        parts = pair.split("-")
        series = self.rates.get((parts[1], self.currency)) if len(parts) > 1 else None
        return np.nan_to_num(series.at(times), nan=1.0) if series else np.ones(len(times))

    def rate_of_fills(self) -> Floats:
        """Return for each fill the rate of its quote into the report currency."""
        times = np.array([fill["event_time_ns"] for fill in self.fills], dtype=np.int64)
        pairs = np.array([fill["instrument"] for fill in self.fills])
        rates = np.ones(len(times))
        for pair in set(pairs):
            of = pairs == pair
            rates[of] = self.rate_at(str(pair), times[of])
        return rates

    @property
    def mark(self) -> Series:
        """The mark of the base asset; without marks, empty."""
        for series in self.marks.values():
            return series
        return Series(np.array([], dtype=np.int64), np.array([]))


def read_run(path: Path) -> Run:
    """Read a ledger; raises LedgerError when it cannot be read."""
    with reading(path) as db:
        pnl_times, pnl = _columns(db, "pnl", LEVELS)
        exposure_times, exposure = _columns(db, "exposures", ("net_base", "lp_base", "venue_base"))
        first_pnl, last_pnl = _ends(db, "pnl")
        _, last_mark = _ends(db, "marks")
        _, last_lp = _ends(db, "lp_states")
        lp_times, lp, done = _lp(db)
        first, last = _period(db)
        return Run(
            facts=dict(db.execute("SELECT key, value FROM meta ORDER BY seq")),
            pnl_times=pnl_times,
            pnl=pnl,
            pnl_first=first_pnl,
            pnl_last=last_pnl,
            currency=last_pnl.get("currency") or last_mark.get("currency") or "USD",
            marks={asset: of for (asset,), of in _series(db, "marks", "price", ("asset",)).items()},
            mark_sources=sorted(source for (source,) in db.execute("SELECT DISTINCT source FROM marks")),
            rates=_series(db, "rates", "rate", ("currency", '"into"')),
            lp_times=lp_times,
            lp=lp,
            commands_done=done,
            exposure_times=exposure_times,
            exposure=dict(zip(("net", "lp", "venue"), exposure.values(), strict=True)),
            pool=last_lp.get("pool", ""),
            orders=_rows(db, "orders"),
            updates=_rows(db, "updates"),
            fills=_rows(db, "fills"),
            positions=_rows(db, "positions"),
            verdicts=_rows(db, "verdicts"),
            commands=_rows(db, "commands"),
            first_ns=first,
            last_ns=last,
        )


def _columns(db: sqlite3.Connection, table: str, names: tuple[str, ...]) -> tuple[Times, dict[str, Floats]]:
    """Return times and columns of a large table; NULL is NaN."""
    values = ", ".join(f"CAST({name} AS REAL)" for name in names)
    rows = db.execute(f"SELECT event_time_ns, {values} FROM {table} ORDER BY seq").fetchall()
    times = np.array([row[0] for row in rows], dtype=np.int64)
    columns = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), len(names))
    return times, {name: columns[:, place] for place, name in enumerate(names)}


def _series(db: sqlite3.Connection, table: str, value: str, key: tuple[str, ...]) -> dict[Any, Series]:
    """Return one series for each value of the key's columns."""
    found: dict[Any, tuple[list[int], list[float]]] = {}
    for time, number, *names in db.execute(
        f"SELECT event_time_ns, {value}, {', '.join(key)} FROM {table} ORDER BY seq"
    ):
        times, numbers = found.setdefault(tuple(names), ([], []))
        times.append(time)
        numbers.append(number)
    return {name: Series(np.array(of[0], dtype=np.int64), np.array(of[1])) for name, of in found.items()}


def _ends(db: sqlite3.Connection, table: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first and the last row as written; empty when there is none."""
    names = ("seq", *TABLES[table].columns)
    ends = (db.execute(f"SELECT * FROM {table} ORDER BY seq {way} LIMIT 1").fetchone() for way in ("", "DESC"))
    first, last = (dict(zip(names, row, strict=True)) if row else {} for row in ends)
    return first, last


def _rows(db: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    names = ("seq", *TABLES[table].columns)
    return [dict(zip(names, row, strict=True)) for row in db.execute(TABLES[table].select)]


def _lp(db: sqlite3.Connection) -> tuple[Times, dict[str, Floats], list[tuple[int, str]]]:
    times: list[int] = []
    rows: list[tuple[float, ...]] = []
    done: list[tuple[int, str]] = []
    decode = msgspec.json.decode
    for time, price, text, base, quote, native, gas, base_decimals, quote_decimals, confirmed in db.execute(
        "SELECT event_time_ns, price, positions, CAST(wallet_base AS REAL), CAST(wallet_quote AS REAL), "
        "CAST(native_base AS REAL), CAST(gas_base AS REAL), base_decimals, quote_decimals, confirmed "
        "FROM lp_states ORDER BY seq"
    ):
        lower, upper, held_base, held_quote = inf, -inf, base + native, quote
        # LpPosition as an array: id, lower and upper price, ticks, liquidity, base, quote, fees in base and quote.
        for position in decode(text):
            lower, upper = min(lower, position[1]), max(upper, position[2])
            held_base += position[6] + position[8]
            held_quote += position[7] + position[9]
        base_unit, quote_unit = 10.0**-base_decimals, 10.0**-quote_decimals
        times.append(time)
        rows.append((price, lower, upper, held_base * base_unit, held_quote * quote_unit, gas * base_unit))
        if confirmed and (not done or done[-1][1] != confirmed):
            done.append((time, confirmed))
    names = ("price", "lower", "upper", "base", "quote", "gas")
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    columns[np.isinf(columns)] = np.nan  # the range of no position
    return (
        np.array(times, dtype=np.int64),
        {name: columns[:, place] for place, name in enumerate(names)},
        done,
    )


def utc(time_ns: int) -> str:
    """Return a time in words, to the second."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _period(db: sqlite3.Connection) -> tuple[int, int]:
    first, last = 2**63, 0
    for name in TABLES:
        if name != "meta":
            low, high = db.execute(f"SELECT min(event_time_ns), max(event_time_ns) FROM {name}").fetchone()
            if low is not None:
                first, last = min(first, low), max(last, high)
    return (first, last) if last else (0, 0)
