"""Measure on recorded frames what `book_model` needs: spread, depth, trades, queues and markouts.

Frames are taken in the order received. The touch is `bookTicker`'s, the depth behind it the rebuilt book's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from statistics import fmean, median
from typing import Literal

import msgspec

from engine import NS_PER_S, PipelineError
from nodes._lib.binance_feed import BestPrices, DepthSnapshot, DepthUpdate, TradePrint, read_frames
from nodes._lib.book_model import BookModel
from nodes._lib.local_book import BookBuilder

FILL_WINDOW_S = 60.0
SAMPLE_S = 1.0
DEPTH_SAMPLE_NS = NS_PER_S // 10
MARKOUTS_S = (1.0, 5.0, 30.0)
DEPTHS_BPS = (1.0, 2.0, 5.0, 10.0)
_YEAR_S = 365 * 86_400


class _Touch(msgspec.Struct, frozen=True, gc=False):
    at_ns: int
    matched_ms: int  # 0 on spot, which does not say
    bid: float
    bid_size: float
    ask: float
    ask_size: float

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / 2


class _Print(msgspec.Struct, frozen=True, gc=False):
    at_ns: int
    matched_ms: int
    price: float
    size: float
    buys: bool


class _Recorded(msgspec.Struct):
    touches: list[_Touch]
    prints: list[_Print]
    depths: list[tuple[float, ...]]  # mean of both sides, one per distance of DEPTHS_BPS


class _Queue:
    """An order of no size at the best price, in the sense of `BookModel`: what stands before it, and when it fills."""

    def __init__(self, touch: _Touch, buys: bool) -> None:
        self.at_ns = touch.at_ns
        self.buys = buys
        self.price, self.ahead = (touch.bid, touch.bid_size) if buys else (touch.ask, touch.ask_size)
        self.joined = self.ahead

    def sees_touch(self, touch: _Touch) -> bool:
        """Return whether the order is filled, because the price has gone through it."""
        best, size, other = (
            (touch.bid, touch.bid_size, touch.ask) if self.buys else (touch.ask, touch.ask_size, touch.bid)
        )
        if best == self.price:
            self.ahead = min(self.ahead, size)
        elif (best < self.price) if self.buys else (best > self.price):
            self.ahead = 0.0  # all that was displayed here is gone; ours would be the best price
        return (other <= self.price) if self.buys else (other >= self.price)

    def sees_print(self, trade: _Print) -> bool:
        """Return whether the trade fills the order."""
        if trade.buys == self.buys:
            return False
        if trade.price == self.price:
            self.ahead -= trade.size
            return self.ahead < 0.0
        return (trade.price < self.price) if self.buys else (trade.price > self.price)


def calibrate(
    path: Path | str, instrument: str, venue: Literal["spot", "usdm"], tick: float, source: str = ""
) -> BookModel:
    """Return the book model of a capture. The same file gives the same numbers, which are rounded to six digits.

    Raises BadData on a capture that cannot be read, PipelineError on one with no book, no trades or under two minutes.
    """
    seen = _record(path, venue)
    touches, prints = seen.touches, seen.prints
    seconds = (touches[-1].at_ns - touches[0].at_ns) / NS_PER_S if touches else 0.0
    if seconds < 2 * FILL_WINDOW_S or not prints or not seen.depths:
        raise PipelineError(
            f"{path} holds {seconds:.0f} s, {len(touches)} best prices, {len(prints)} trades and {len(seen.depths)} "
            "books; a calibration needs 120 s and some of each. Was the right venue named?"
        )
    spread_bps = [((touch.ask - touch.bid) / touch.mid * 1e4, span) for touch, span in _spans(touches)]
    spread_ticks = [(round((touch.ask - touch.bid) / tick), span) for touch, span in _spans(touches)]
    orders = _orders(prints)
    volume = sum(trade.size for trade in prints)
    through = sum(
        trade.size for trade, best in zip(prints, _standing(touches, prints), strict=True) if _beyond(trade, best)
    )
    depths = [fmean(column) for column in zip(*seen.depths, strict=True)]
    queues = _queue_figures(touches, prints)
    figures = BookModel(
        instrument=instrument,
        source=source or Path(path).name,
        seconds=seconds,
        tick=tick,
        half_spread_bps=_time_mean(spread_bps) / 2,
        spread_ticks=_time_mean(spread_ticks),
        one_tick_share=_time_mean([(float(ticks == 1), span) for ticks, span in spread_ticks]),
        spread_p99_bps=_time_quantile(spread_bps, 0.99),
        touch_depth_base=_time_mean([((touch.bid_size + touch.ask_size) / 2, span) for touch, span in _spans(touches)]),
        depth_1bps_base=depths[0],
        depth_2bps_base=depths[1],
        depth_5bps_base=depths[2],
        depth_10bps_base=depths[3],
        trade_rate=len(orders) / seconds,
        mean_trade_base=fmean(orders),
        median_trade_base=median(orders),
        p99_trade_base=sorted(orders)[int(0.99 * len(orders))],
        through_volume_share=through / volume,
        mid_volatility=_volatility(touches),
        **queues,
    )
    return msgspec.structs.replace(
        figures,
        **{
            name: float(f"{value:.6g}")
            for name, value in msgspec.structs.asdict(figures).items()
            if type(value) is float
        },
    )


# --- reading ------------------------------------------------------------------------------------------------------


def _record(path: Path | str, venue: Literal["spot", "usdm"]) -> _Recorded:
    book = BookBuilder(venue)
    seen = _Recorded([], [], [])
    next_depth_ns = 0
    for at_ns, frame in read_frames(path):
        if isinstance(frame, BestPrices):
            prices = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
            seen.touches.append(_Touch(at_ns, frame.transaction_time_ms, *prices))
        elif isinstance(frame, TradePrint):
            if seen.touches and frame.kind == "MARKET":
                buys = not frame.buyer_is_maker
                seen.prints.append(_Print(at_ns, frame.transaction_time_ms, frame.price, frame.size, buys))
        elif isinstance(frame, DepthSnapshot):
            book.snapshot(frame)
        elif isinstance(frame, DepthUpdate) and book.update(frame) and at_ns >= next_depth_ns:
            next_depth_ns = at_ns + DEPTH_SAMPLE_NS
            seen.depths.append(tuple(fmean(book.depth(distance)) for distance in DEPTHS_BPS))
    return seen


# --- figures ------------------------------------------------------------------------------------------------------


def _spans(touches: list[_Touch]) -> Iterator[tuple[_Touch, int]]:
    # Each touch with the time for which it stood, ns.
    for touch, following in pairwise(touches):
        yield touch, following.at_ns - touch.at_ns


def _time_mean(values: Iterable[tuple[float, int]]) -> float:
    total, time = 0.0, 0
    for value, span in values:
        total += value * span
        time += span
    return total / time


def _time_quantile(values: Iterable[tuple[float, int]], share: float) -> float:
    ordered = sorted(values)
    limit = share * sum(span for _, span in ordered)
    for value, span in ordered:
        limit -= span
        if limit <= 0:
            return value
    return ordered[-1][0]


def _standing(touches: list[_Touch], prints: list[_Print]) -> Iterator[_Touch]:
    # For each trade the touch before the millisecond of its match; by time of receipt where the venue does not say.
    if touches[-1].matched_ms:
        times, wanted = [touch.matched_ms for touch in touches], [trade.matched_ms for trade in prints]
    else:
        times, wanted = [touch.at_ns for touch in touches], [trade.at_ns for trade in prints]
    for at in wanted:
        yield touches[max(0, bisect_left(times, at) - 1)]


def _beyond(trade: _Print, best: _Touch) -> bool:
    return trade.price > best.ask if trade.buys else trade.price < best.bid


def _orders(prints: list[_Print]) -> list[float]:
    # Sizes of aggressive orders: prints of one side matched in one millisecond are one order.
    sizes: dict[tuple[int, bool], float] = {}
    for trade in prints:
        key = (trade.matched_ms, trade.buys)
        sizes[key] = sizes.get(key, 0.0) + trade.size
    return list(sizes.values())


def _mids(touches: list[_Touch], every_s: float) -> list[float]:
    times = [touch.at_ns for touch in touches]
    count = int((times[-1] - times[0]) / NS_PER_S / every_s)
    grid = (times[0] + int(step * every_s * NS_PER_S) for step in range(count + 1))
    return [touches[bisect_right(times, at_ns) - 1].mid for at_ns in grid]


def _volatility(touches: list[_Touch]) -> float:
    mids = _mids(touches, 1.0)
    returns = [log(after / before) for before, after in pairwise(mids)]
    return sqrt(fmean(change * change for change in returns) * _YEAR_S)


def _queue_figures(touches: list[_Touch], prints: list[_Print]) -> dict[str, float]:
    # Join the best bid and ask once a second, and follow each order until it fills or its window ends.
    events: list[_Touch | _Print] = sorted([*touches, *prints], key=lambda event: event.at_ns)
    times = [event.at_ns for event in events]
    touch_times = [touch.at_ns for touch in touches]
    window_ns = int(FILL_WINDOW_S * NS_PER_S)
    last_ns = touch_times[-1] - window_ns
    joined, waits = [], []
    markouts: dict[float, list[float]] = {after_s: [] for after_s in MARKOUTS_S}
    start_ns = touch_times[0]
    while start_ns <= last_ns:
        touch = touches[bisect_right(touch_times, start_ns) - 1]
        for buys in (True, False):
            queue = _Queue(touch, buys)
            joined.append(queue.joined)
            filled_ns = _follow(queue, events, bisect_left(times, start_ns + 1), start_ns + window_ns)
            waits.append((filled_ns - start_ns) / NS_PER_S if filled_ns else float("inf"))
            for after_s, gains in markouts.items():
                later_ns = filled_ns + int(after_s * NS_PER_S)
                if filled_ns and later_ns <= touch_times[-1]:
                    change = touches[bisect_right(touch_times, later_ns) - 1].mid / queue.price - 1
                    gains.append(change * 1e4 if buys else -change * 1e4)
        start_ns += int(SAMPLE_S * NS_PER_S)
    return {
        "queue_ahead_base": median(joined),
        "fill_share_60s": fmean(wait <= FILL_WINDOW_S for wait in waits),
        "time_to_fill_s": min(median(waits), FILL_WINDOW_S),
        **{f"markout_{after_s:.0f}s_bps": fmean(gains) for after_s, gains in markouts.items()},
    }


def _follow(queue: _Queue, events: list[_Touch | _Print], index: int, until_ns: int) -> int:
    # The time of the fill, 0 when there is none before `until_ns`.
    for at in range(index, len(events)):
        event = events[at]
        if event.at_ns > until_ns:
            return 0
        if queue.sees_print(event) if isinstance(event, _Print) else queue.sees_touch(event):
            return event.at_ns
    return 0
