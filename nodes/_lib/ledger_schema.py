"""The tables of the ledger, and how a message becomes a row.

The SQL below is the definition: a column's name is the message's field, and its SQL type with the field's own type says
how the value is written. Decimals, and integers that may not fit in 64 bits, are text; what has parts is JSON text. A
change is a new entry in `MIGRATIONS`, never an edit of an old one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from engine import Message
from nodes import messages

MIGRATIONS = (
    """
    CREATE TABLE commits (
        number INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, digest TEXT NOT NULL
    ) STRICT;
    CREATE TABLE meta (seq INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT NOT NULL) STRICT;
    CREATE TABLE orders (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, action TEXT NOT NULL, client_order_id TEXT NOT NULL,
        instrument TEXT NOT NULL, side TEXT NOT NULL, price TEXT NOT NULL, size TEXT NOT NULL,
        time_in_force TEXT NOT NULL, post_only INTEGER NOT NULL, reason TEXT NOT NULL, reference_price REAL NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX one_intent ON orders (client_order_id) WHERE action = 'place';
    CREATE TABLE updates (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, client_order_id TEXT NOT NULL,
        venue_order_id TEXT NOT NULL, instrument TEXT NOT NULL, status TEXT NOT NULL, side TEXT NOT NULL,
        price TEXT NOT NULL, size TEXT NOT NULL, filled_size TEXT NOT NULL, reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE fills (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, instrument TEXT NOT NULL, trade_id TEXT NOT NULL,
        client_order_id TEXT NOT NULL, side TEXT NOT NULL, price TEXT NOT NULL, size TEXT NOT NULL, fee TEXT NOT NULL,
        fee_currency TEXT NOT NULL, liquidity TEXT NOT NULL, mid REAL NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX one_fill ON fills (instrument, trade_id);
    CREATE TABLE positions (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, instrument TEXT NOT NULL, size TEXT NOT NULL,
        entry_price TEXT NOT NULL, realised TEXT NOT NULL, fees TEXT NOT NULL, funding TEXT NOT NULL,
        last_trade_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE verdicts (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, verdict_id TEXT NOT NULL, request_id TEXT NOT NULL,
        passed INTEGER NOT NULL, rule TEXT NOT NULL, detail TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX one_verdict ON verdicts (verdict_id);
    CREATE TABLE commands (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, command_id TEXT NOT NULL, pool TEXT NOT NULL,
        action TEXT NOT NULL, price REAL NOT NULL, lower_price REAL NOT NULL, upper_price REAL NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX one_command ON commands (command_id);
    CREATE TABLE lp_states (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, pool TEXT NOT NULL, block INTEGER NOT NULL,
        price REAL NOT NULL, positions TEXT NOT NULL, wallet_base TEXT NOT NULL, wallet_quote TEXT NOT NULL,
        native_base TEXT NOT NULL, fees_base TEXT NOT NULL, fees_quote TEXT NOT NULL, gas_base TEXT NOT NULL,
        swap_base TEXT NOT NULL, swap_quote TEXT NOT NULL, base_decimals INTEGER NOT NULL,
        quote_decimals INTEGER NOT NULL, confirmed TEXT NOT NULL, pending TEXT NOT NULL,
        block_closed INTEGER NOT NULL, block_hash TEXT NOT NULL
    ) STRICT;
    CREATE TABLE deltas (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, source TEXT NOT NULL, block INTEGER NOT NULL,
        epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, delta_base_wei TEXT NOT NULL, delta_base REAL NOT NULL,
        base_target REAL NOT NULL, price REAL NOT NULL, value_usd REAL NOT NULL, usd_rate REAL NOT NULL,
        inventory_ratio REAL NOT NULL, deviation REAL NOT NULL, volatility REAL NOT NULL
    ) STRICT;
    CREATE TABLE exposures (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, base TEXT NOT NULL, net_base REAL,
        lp_base REAL NOT NULL, venue_base REAL NOT NULL, unknown TEXT NOT NULL
    ) STRICT;
    CREATE TABLE marks (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, asset TEXT NOT NULL, currency TEXT NOT NULL,
        price REAL NOT NULL, source TEXT NOT NULL
    ) STRICT;
    CREATE TABLE rates (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, currency TEXT NOT NULL, "into" TEXT NOT NULL,
        rate REAL NOT NULL, expires_ns INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE targets (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, pool TEXT NOT NULL, price REAL NOT NULL,
        lower_price REAL NOT NULL, upper_price REAL NOT NULL, reservation_price REAL NOT NULL,
        exposure_base REAL NOT NULL, volatility REAL NOT NULL
    ) STRICT;
    CREATE TABLE pnl (
        seq INTEGER PRIMARY KEY, event_time_ns INTEGER NOT NULL, block INTEGER NOT NULL, currency TEXT NOT NULL,
        mark TEXT NOT NULL, equity TEXT NOT NULL, start_equity TEXT NOT NULL, carry TEXT NOT NULL,
        lp_fees TEXT NOT NULL, lvr TEXT NOT NULL, hedge_price TEXT NOT NULL, funding TEXT NOT NULL,
        venue_fees TEXT NOT NULL, gas TEXT NOT NULL, swap_slippage TEXT NOT NULL, basis TEXT NOT NULL,
        lp_base TEXT NOT NULL, venue_base TEXT NOT NULL, holding TEXT NOT NULL, unhedged TEXT NOT NULL,
        rebalancing TEXT NOT NULL
    ) STRICT;
    """,
)
"""The SQL that brings a file from version n to n + 1 (`PRAGMA user_version`)."""

_MESSAGES: dict[str, type[Message]] = {
    "orders": messages.OrderRequest,
    "updates": messages.OrderUpdate,
    "fills": messages.Fill,
    "positions": messages.VenuePosition,
    "verdicts": messages.GateVerdict,
    "commands": messages.LpCommand,
    "lp_states": messages.LpState,
    "deltas": messages.InventoryDelta,
    "exposures": messages.NetExposure,
    "marks": messages.Mark,
    "rates": messages.Conversion,
    "targets": messages.RangeTarget,
    "pnl": messages.PnlState,
}


@dataclass(frozen=True, slots=True)
class Key:
    """What may be booked once: the fields that name it, and those in which a repeat has to agree."""

    fields: tuple[str, ...]
    agree: tuple[str, ...]
    where: tuple[str, str] | None = None
    """(field, value): the key holds for such rows only."""


KEYS = {
    "orders": Key(("client_order_id",), ("instrument", "side", "price", "size"), where=("action", "place")),
    "fills": Key(("instrument", "trade_id"), ("side", "price", "size")),
    "verdicts": Key(("verdict_id",), ("request_id", "passed")),
    "commands": Key(("command_id",), ("action", "lower_price", "upper_price")),
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns after `seq`, and what fills it.

    `make_row` is the function (seq, message) -> row, `is_whole` the test of a row that every number in it is one (not
    NaN).
    """

    name: str
    columns: tuple[str, ...]
    make_row: Callable[[int, Any], tuple[Any, ...]]
    is_whole: Callable[[tuple[Any, ...]], bool]

    @property
    def insert(self) -> str:
        """The SQL that adds one row."""
        return self.insert_many(1)

    def insert_many(self, rows: int) -> str:
        """Return the SQL that adds so many rows at once."""
        row = f"({', '.join('?' * (len(self.columns) + 1))})"
        return f"INSERT INTO {self.name} VALUES {', '.join([row] * rows)}"

    @property
    def select(self) -> str:
        """The SQL that reads every row in order of `seq`."""
        return f"SELECT * FROM {self.name} ORDER BY seq"


def _columns(table: str) -> dict[str, str]:
    """Return (name: type) of a table's columns after `seq`, from the SQL."""
    found = re.search(rf"CREATE TABLE {table} \(\s*seq INTEGER PRIMARY KEY,(.*?)\n?\s*\) STRICT", MIGRATIONS[0], re.S)
    assert found is not None, f"no SQL for table {table}"
    pairs = (column.split()[:2] for column in found.group(1).split(","))
    return {name.strip('"'): kind for name, kind in pairs}


def _row_maker(message: type[Message], columns: dict[str, str]) -> Callable[[int, Any], tuple[Any, ...]]:
    # Compiled for each table: a generic loop over fields would cost several times as much as all else.
    types = {field.name: field.type for field in msgspec.structs.fields(message)}
    values = ", ".join(_value(f"m.{name}", kind, types[name]) for name, kind in columns.items())
    scope = {"to_json": lambda value: msgspec.json.encode(value).decode()}
    make: Callable[[int, Any], tuple[Any, ...]] = eval(f"lambda seq, m: (seq, {values})", scope)
    return make


def _number_test(columns: dict[str, str]) -> Callable[[tuple[Any, ...]], bool]:
    # Compiled for the same reason; only a REAL can be NaN, which alone is not equal to itself.
    places = [place for place, kind in enumerate(columns.values(), 1) if kind == "REAL"]
    test = " and ".join(f"row[{place}] == row[{place}]" for place in places)
    is_whole: Callable[[tuple[Any, ...]], bool] = eval(f"lambda row: {test or True}")
    return is_whole


def _value(value: str, kind: str, declared: Any) -> str:
    known = _plain(declared)
    if kind == "REAL":
        # An int or a negative zero would come back from the file as something else, and its digest would not hold.
        number = f"float({value}) + 0.0"
        return number if known is float else f"(None if {value} is None else {number})"
    if kind == "INTEGER":
        return f"int({value})" if known is bool else value
    if known is str or "Literal" in str(known):
        return value
    return f"to_json({value})" if "tuple" in str(known) else f"str({value})"


def _plain(declared: Any) -> Any:
    """Return the type beneath `Annotated`."""
    while hasattr(declared, "__metadata__"):
        declared = declared.__origin__
    return declared


def _table(name: str, message: type[Message]) -> Table:
    columns = _columns(name)
    return Table(name, tuple(columns), _row_maker(message, columns), _number_test(columns))


META = Table("meta", ("key", "value"), lambda seq, fact: (seq, *fact), lambda row: True)
TABLES = {"meta": META} | {name: _table(name, message) for name, message in _MESSAGES.items()}
"""Every table but `commits`, in the order in which its rows enter the hash chain."""
