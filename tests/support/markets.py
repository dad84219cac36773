"""Messages for tests of trading nodes, with the fields that a test does not care about filled in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nodes.messages import (
    Book,
    Fill,
    InventoryDelta,
    NetExposure,
    OrderRequest,
    OrderUpdate,
    Trade,
    VenueFills,
    VenuePosition,
    pack_levels,
)

PERP = "ETH-USDT-PERP"
S = 1_000_000_000


def book(
    bid: float = 2000.0,
    ask: float = 2000.1,
    bid_size: float = 5.0,
    ask_size: float = 5.0,
    *,
    bids: list[tuple[float, float]] | None = None,
    asks: list[tuple[float, float]] | None = None,
    at_s: float = 0.0,
    instrument: str = PERP,
) -> Book:
    """One level per side, or `bids` and `asks` as lists of (price, size), best first."""
    bids = bids or [(bid, bid_size)]
    asks = asks or [(ask, ask_size)]
    now_ns = round(at_s * S)
    levels = pack_levels(bids, asks) if len(bids) + len(asks) > 2 else b""
    return Book(instrument, now_ns, now_ns, bids[0][0], bids[0][1], asks[0][0], asks[0][1], levels)


def trade(price: float, size: float, aggressor: str, at_s: float = 0.0, instrument: str = PERP) -> Trade:
    return Trade(instrument, round(at_s * S), round(at_s * S), price, size, aggressor)


def place(
    order_id: str, side: str, price: str, size: str, at_s: float = 0.0, instrument: str = PERP, **fields: Any
) -> OrderRequest:
    return OrderRequest("place", order_id, instrument, round(at_s * S), side, Decimal(price), Decimal(size), **fields)


def cancel(order_id: str, at_s: float = 0.0) -> OrderRequest:
    return OrderRequest("cancel", order_id, PERP, round(at_s * S))


def update(order_id: str, status: str, side: str = "sell", size: str = "1", filled: str = "0") -> OrderUpdate:
    return OrderUpdate(order_id, "1", PERP, 0, status, side, Decimal("2000.1"), Decimal(size), Decimal(filled))


def exposure(net: float | None, venue: float = 0.0, at_s: float = 0.0) -> NetExposure:
    """Net exposure whose venue part is the sum of fills of one side."""
    unknown = ("lp",) if net is None else ()
    filled = (VenueFills(PERP, Decimal(str(max(0.0, venue))), Decimal(str(max(0.0, -venue)))),) if venue else ()
    return NetExposure("ETH", round(at_s * S), net, (net or 0.0) - venue, venue, unknown, filled)


def position(size: str, last_trade_id: str = "", at_s: float = 0.0, instrument: str = PERP) -> VenuePosition:
    zero = Decimal(0)
    return VenuePosition(instrument, round(at_s * S), Decimal(size), zero, zero, zero, zero, last_trade_id)


def fill(trade_id: str, side: str, size: str, instrument: str = PERP) -> Fill:
    return Fill(trade_id, "h-1", instrument, 0, side, Decimal(2000), Decimal(size), Decimal(0), "USDT", "maker", 2000.0)


def inventory(base: float, sequence: int = 1, epoch: int = 1, source: str = "chain:pool:wallet") -> InventoryDelta:
    return InventoryDelta(
        source=source,
        pool="pool",
        event_time_ns=0,
        block=0,
        block_hash="",
        expires_block=0,
        epoch=epoch,
        sequence=sequence,
        delta_base_wei=0,
        delta_base=base,
        base_target=0.0,
        base_in_positions=base,
        base_uncollected=0.0,
        base_in_wallet=0.0,
        quote_total=0.0,
        pending_base_change=0.0,
        price=2000.0,
        sqrt_price=2000.0**0.5,
        positions=(),
        value_usd=0.0,
        usd_rate=1.0,
        inventory_ratio=0.5,
        target_ratio=0.5,
        deviation=0.0,
    )
