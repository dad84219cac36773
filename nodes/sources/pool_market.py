"""A stand-in for a venue's market on days for which there is no venue data: the pool's own price."""

from __future__ import annotations

import math
from fractions import Fraction

from engine import NS_PER_S, In, Node, Out, param
from engine import state as kept
from nodes._lib.book_model import read_book_model
from nodes.messages import Book, PoolState, Trade


class PoolMarket(Node):
    """Quote a book around the pool's price, and print the pool's own volume as trades when that price moves.

    Results on it are too good, and no evidence about a hedge. A pool follows the venues with a lag of up to its fee,
    and LPs pay for that lag: loss versus rebalancing (LVR) is what arbitrageurs earn by trading against the pool when a
    venue has already moved. Here the venue moves together with the pool, so that a hedge tried against the pool's own
    price trades where no venue would still have traded, and earns part of the LVR that it should pay. Use it to try
    wiring, speed and mechanics.

    For each state: first the trade, if the price has moved, at the price reached and in the direction of the move, then
    the book: one level per side, of constant size, half a spread away from the price. With `model` (measured on a
    capture) its tick, spread and touch replace the params. With `refresh_s`, a book that would say nothing new is left
    out.
    """

    simulated = "a pool's own price stands in for a venue's market"

    pool = In(PoolState, doc="The pool that stands in for a venue.")
    book = Out(Book, doc="One per state, or see `refresh_s`.", tags={"pair": "instrument"})
    trade = Out(Trade, doc="One per state whose price has moved.", tags={"pair": "instrument"}, optional=True)

    instrument: str = param(doc="The instrument that is made up, as in ETH-USDT-PERP.")
    model: str = param("", path=True, doc="Book model, JSON; empty: the three numbers below.")
    tick_size: float = param(0.01, unit="quote", exclusiveMinimum=0, doc="Price step of the book.")
    half_spread_bps: float = param(0.5, unit="bps", minimum=0, doc="Distance of best bid and ask from the price.")
    touch_base: float = param(10.0, unit="base", exclusiveMinimum=0, doc="Size of the best bid and of the best ask.")
    volume_share: float = param(
        1.0, unit="fraction", minimum=0, doc="Size of a trade as a part of what the pool traded on that side."
    )
    refresh_s: float = param(
        0.0, unit="s", minimum=0, doc="While the price stands, time after which its book is sent again; 0: each time."
    )
    base_decimals: int = param(18, minimum=0, unit="1", doc="Decimals of the pool's base token.")
    quote_decimals: int = param(6, minimum=0, unit="1", doc="Decimals of the pool's quote token.")

    price: float = kept(0.0, doc="The pool's last price; 0 before the first.")
    sent_ns: int = kept(0, doc="Time of the last book.")

    def start(self) -> None:
        tick, half_spread_bps, self.touch = self.tick_size, self.half_spread_bps, self.touch_base
        if self.model:
            measured = read_book_model(self.model)
            tick, half_spread_bps, self.touch = measured.tick, measured.half_spread_bps, measured.touch_depth_base
        exact = Fraction(str(tick))
        self.numerator, self.denominator = exact.numerator, exact.denominator
        self.ticks_per_quote = 1.0 / tick
        self.half_spread = half_spread_bps / 1e4
        self.base_unit, self.quote_unit = 10.0**self.base_decimals, 10.0**self.quote_decimals
        self.refresh_ns = round(self.refresh_s * NS_PER_S)

    def on_pool(self, state: PoolState) -> None:
        price, before = state.price, self.price
        now_ns = state.event_time_ns
        if price == before and now_ns - self.sent_ns < self.refresh_ns:
            return
        if not 0.0 < price < math.inf:
            return
        self.sent_ns = now_ns
        ticks = price * self.ticks_per_quote
        if price != before:
            self.price = price
            if before:
                self._print(state, price > before, round(ticks), now_ns)
        away = max(0.5, ticks * self.half_spread)
        # Both ends are rounded away from the price: the spread is never below the model's, nor below one tick.
        bid = math.floor(ticks - away)
        ask = max(bid + 1, math.ceil(ticks + away))
        numerator, denominator, size = self.numerator, self.denominator, self.touch
        self.book(
            instrument=self.instrument,
            event_time_ns=now_ns,
            receive_time_ns=now_ns,
            bid_price=bid * numerator / denominator,
            bid_size=size,
            ask_price=ask * numerator / denominator,
            ask_size=size,
        )

    def _print(self, state: PoolState, buys: bool, ticks: int, now_ns: int) -> None:
        size = state.quote_in / self.quote_unit / state.price if buys else state.base_in / self.base_unit
        size *= self.volume_share
        if size > 0.0:
            self.trade(
                instrument=self.instrument,
                event_time_ns=now_ns,
                receive_time_ns=now_ns,
                price=ticks * self.numerator / self.denominator,
                size=size,
                aggressor="buy" if buys else "sell",
            )
