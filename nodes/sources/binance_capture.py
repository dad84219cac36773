"""Replay a recording of Binance's raw public frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from engine import Message, Node, Out, param
from nodes._lib.binance_feed import BestPrices, DepthSnapshot, DepthUpdate, TradePrint, read_frames
from nodes._lib.local_book import BookBuilder, Level
from nodes.messages import Book, Trade, pack_levels

NS_PER_MS = 1_000_000


class BinanceCapture(Node):
    """Books and trades of one Binance instrument, from frames as they came in.

    The book is built from the snapshot and the depth updates by the exchange's own sequence rules, and shown from the
    snapshot on; after a gap it is not shown. `bookTicker` frames run ahead of depth: a newer one replaces the best
    prices, with what depth knows behind them. Messages come at the time of receipt. `event_time_ns` is the exchange's;
    the two clocks may differ by seconds, so latency is to be measured against its own minimum.
    """

    simulated = "recorded frames stand in for the live stream"

    book = Out(Book, doc="After each change of the book.", tags={"pair": "instrument"})
    trade = Out(Trade, doc="Each trade from the book.", tags={"pair": "instrument"})

    file: str = param(path=True, doc="Capture, plain or .gz: lines of receive time in ns and frame.")
    venue: Literal["spot", "usdm"] = param(doc="Whose sequence rules hold: spot or USD-M futures.")
    instrument: str = param(doc="The instrument, as in ETH-USDT-PERP.")
    depth_levels: int = param(10, minimum=1, maximum=1_000, unit="levels", doc="Levels of each side to show.")
    best_prices: bool = param(True, doc="Whether bookTicker frames are used between depth updates.")

    def history(self) -> Iterator[tuple[int, Message]]:
        """Yield (receive time, book or trade)."""
        builder = BookBuilder(self.venue)
        bids: list[Level] = []
        asks: list[Level] = []
        for now, frame in read_frames(self.file):
            if isinstance(frame, TradePrint):
                if frame.kind == "MARKET" and frame.price > 0 and frame.size > 0:
                    yield now, self._trade(frame, now)
            elif isinstance(frame, BestPrices):
                if self.best_prices and builder.ready and frame.update_id > builder.last_update_id:
                    bid, ask = (frame.bid_price, frame.bid_size), (frame.ask_price, frame.ask_size)
                    behind = [bid, *(level for level in bids if level[0] < bid[0])]
                    beyond = [ask, *(level for level in asks if level[0] > ask[0])]
                    at_ns = (frame.transaction_time_ms or frame.event_time_ms) * NS_PER_MS
                    yield now, self._book(behind, beyond, at_ns or now, now)
            elif self._follow(builder, frame):
                bids, asks = builder.levels(self.depth_levels)
                yield now, self._book(bids, asks, frame.event_time_ms * NS_PER_MS or now, now)

    @staticmethod
    def _follow(builder: BookBuilder, frame: DepthSnapshot | DepthUpdate) -> bool:
        return builder.snapshot(frame) if isinstance(frame, DepthSnapshot) else builder.update(frame)

    def _book(self, bids: list[Level], asks: list[Level], at_ns: int, now: int) -> Book:
        levels = pack_levels(bids[: self.depth_levels], asks[: self.depth_levels])
        return Book(self.instrument, at_ns, now, *bids[0], *asks[0], levels)

    def _trade(self, frame: TradePrint, now: int) -> Trade:
        side: Literal["buy", "sell"] = "sell" if frame.buyer_is_maker else "buy"
        at_ns = frame.transaction_time_ms * NS_PER_MS
        return Trade(self.instrument, at_ns, now, frame.price, frame.size, side, str(frame.trade_id))
