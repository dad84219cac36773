"""Make a venue's market out of recorded bars, by a stated model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise

from engine import NS_PER_S, Message, Node, Out, param
from nodes._lib.book_model import BookShape, bar_path, path_volumes, read_book_model
from nodes._lib.history import read_bars
from nodes._lib.replay_span import bounds_ns, last_replayed_ns
from nodes.messages import Bar, Book, Trade, pack_levels


class BarMarket(Node):
    """A book and trades along a path through each bar's open, extremes and close.

    The bar's `points` steps are spread evenly over its time. Each is a trade of its share of the volume, in the
    direction of the step, and then the book of the model around the price reached. What is sent at a time tells of the
    path up to then only; the bar itself is sent when it is over. What the model gets wrong is said in
    `nodes/_lib/book_model.py`: read it before believing a fill.
    """

    simulated = "a path through recorded bars stands in for a live market"

    book = Out(Book, doc="The model's book at each point of the path.", tags={"pair": "instrument"})
    trade = Out(Trade, doc="One per step of the path.", tags={"pair": "instrument"})
    bar = Out(Bar, optional=True, doc="Each bar, at its end.", tags={"pair": "instrument"})

    file: str = param(path=True, doc="Bars, CSV or CSV.gz: start of the bar in UTC, open, high, low, close, volume.")
    model: str = param(path=True, doc="Book model, JSON, as measured on a capture.")
    instrument: str = param(doc="The instrument, as in ETH-USDT-PERP.")
    bar_s: int = param(60, unit="s", minimum=1, doc="Length of a bar.")
    points: int = param(4, minimum=3, maximum=120, unit="1", doc="Steps of the path in a bar.")
    tick_size: float = param(0.0, unit="quote", minimum=0, doc="Price step of the book; 0 takes the model's.")
    begin: str = param("", doc="First time to replay, as YYYY-MM-DD HH:MM:SS in UTC; empty for the file's first.")
    end: str = param("", doc="Time at which to end, in the same form; empty for the file's last.")
    repeat: int = param(
        1, minimum=1, unit="1", doc="Replay the file so many times, one after the other; for benchmarks."
    )

    def history(self) -> Iterator[tuple[int, Message]]:
        """Yield (time, trade, book or bar)."""
        model = read_book_model(self.model)
        self._tick = self.tick_size or model.tick
        self._shape = BookShape(model, self._tick)
        begin_ns, end_ns = bounds_ns(self.begin, self.end)
        shift_ns = 0
        for turn in count(1):
            first: Bar | None = None
            close, last_end_ns = 0.0, 0
            for bar in read_bars(self.file, self.instrument, start_ns=begin_ns, end_ns=end_ns, bar_s=self.bar_s):
                first = first or bar
                opens = bar.open != close or bar.start_time_ns != last_end_ns
                yield from self._of_bar(bar, shift_ns, opens)
                close, last_end_ns = bar.close, bar.event_time_ns
            if turn == self.repeat or first is None:
                return
            shift_ns += last_end_ns - first.start_time_ns

    def history_end_ns(self) -> int:
        """Return about when the replay ends."""
        return last_replayed_ns([self.file], 0, self.begin, self.end, self.repeat)

    def _of_bar(self, bar: Bar, shift_ns: int, opens: bool) -> Iterator[tuple[int, Message]]:
        """Yield what a bar sends; its open only where it is not the close of the bar before."""
        start_ns, points = bar.start_time_ns + shift_ns, self.points
        instrument, tick = self.instrument, self._tick
        path = bar_path(bar.open, bar.high, bar.low, bar.close, points)
        volumes = path_volumes(path, bar.volume)
        if opens:
            yield start_ns, self._book(path[0], start_ns)
        step_ns = self.bar_s * NS_PER_S / points
        for number, ((before, price), volume) in enumerate(zip(pairwise(path), volumes, strict=True), 1):
            now = start_ns + round(step_ns * number)
            if volume > 0:
                # A still price is traded from both sides in turn.
                buys = price > before or (price == before and number % 2 == 1)
                traded = round(round(price / tick) * tick, 8)
                yield now, Trade(instrument, now, now, traded, volume, "buy" if buys else "sell")
            yield now, self._book(price, now)
        yield now, Bar(instrument, now, start_ns, bar.open, bar.high, bar.low, bar.close, bar.volume)

    def _book(self, mid: float, now: int) -> Book:
        bids, asks = self._shape.around(mid)
        bid, ask = bids[0], asks[0]
        return Book(self.instrument, now, now, bid[0], bid[1], ask[0], ask[1], pack_levels(bids, asks))
