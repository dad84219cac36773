"""A stated model of an order book and of the trades inside a bar, for histories that have neither.

Bars say what was traded, not what stood in the book. Where a backtest has bars only, its book comes from here:
constant spread, depth and queue, measured once on real frames (`book_calibration`), around a path through each bar's
four prices.

What the model gets wrong, so that nobody takes its fills for the market's:

- The order of high and low inside a bar is a guess (`bar_path`). Strategies that profit from the order profit from it.
- Spread and depth do not react. In truth both shrink just before a price moves, so that a resting order is filled more
  often when it is about to lose (`markout_*_bps` says how much) and an aggressive one pays more in a hurry.
- Every step of the path trades in its own direction. In truth both sides trade at every price, so that queues on the
  quiet side also move.
- One capture of some minutes on one day stands for all days: scale it before trusting it at another volatility.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import msgspec

from nodes._lib.history import BadData

Level = tuple[float, float]


class BookModel(msgspec.Struct, frozen=True, gc=False):
    """Spread, depth, queue and trades of one instrument, as measured. Sizes are base units; a side is one side.

    `half_spread_bps` and the touch are means over time; depths are means over samples, within that distance of mid.
    The queue figures are those of an order of no size that joins the best price, seen from its placement on: filled
    when what stood before it has traded or been withdrawn (the queue never exceeds what is displayed), or when the
    price goes through. A markout is what a fill has earned at mid some seconds later, in bps of its price, before
    fees; a loss is negative.
    """

    instrument: str
    source: str
    seconds: float
    """Length of the capture."""
    tick: float
    """Smallest price step, quote per base."""
    half_spread_bps: float
    spread_ticks: float
    one_tick_share: float
    """Share of the time with a spread of one tick."""
    spread_p99_bps: float
    """Spread that was exceeded for 1 % of the time."""
    touch_depth_base: float
    """Mean size displayed at the best price."""
    depth_1bps_base: float
    depth_2bps_base: float
    depth_5bps_base: float
    depth_10bps_base: float
    trade_rate: float
    """Aggressive orders per second, both sides: prints of one side and one millisecond count as one."""
    mean_trade_base: float
    """Mean size of an aggressive order."""
    median_trade_base: float
    p99_trade_base: float
    through_volume_share: float
    """Share of volume that traded beyond the best price standing before the millisecond of its match."""
    queue_ahead_base: float
    """Median size displayed at the best price when joining it."""
    fill_share_60s: float
    """Share of such orders that were filled within 60 s."""
    time_to_fill_s: float
    """Median time to fill, counting those not filled; 60 when that is half of them or more."""
    markout_1s_bps: float
    markout_5s_bps: float
    markout_30s_bps: float
    mid_volatility: float
    """Annualised log volatility of the mid, from its changes over one second."""


def read_book_model(path: Path | str) -> BookModel:
    """Return a model from its JSON file. Raises BadData when the file is missing or is not such a model."""
    try:
        model = msgspec.json.decode(Path(path).read_bytes(), type=BookModel)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadData(path, 1, f"cannot be read as a book model: {error}") from error
    depths = (model.touch_depth_base, model.depth_1bps_base, model.depth_2bps_base, model.depth_5bps_base)
    if min(model.tick, model.half_spread_bps, *depths) <= 0.0:
        raise BadData(path, 1, "tick, half spread and depths must be positive")
    return model


def bar_path(open_: float, high: float, low: float, close: float, points: int) -> list[float]:
    """Return `points` + 1 prices from open to close that touch high and low and stay between them.

    A rising bar (close >= open) goes open, low, high, close, a falling one open, high, low, close: the extreme on the
    far side of the close comes first. It is a convention, not knowledge. Steps are shared among the three legs by
    their length, so that the longest step is as short as can be. Raises ValueError on prices that are no bar, and on
    fewer points than legs.
    """
    if not low <= min(open_, close) <= max(open_, close) <= high:
        raise ValueError(f"open {open_}, high {high}, low {low}, close {close} are no bar")
    turns = (low, high) if close >= open_ else (high, low)
    corners = [open_, *turns, close]
    lengths = [abs(end - start) for start, end in pairwise(corners)]
    if points < max(1, sum(length > 0.0 for length in lengths)):
        raise ValueError(f"{points} points cannot touch open, high, low and close; use 3 or more")
    path = [open_]
    for start, end, steps in zip(corners, corners[1:], _share_steps(lengths, points), strict=False):
        path += [start + (end - start) * step / steps for step in range(1, steps)]
        if steps:
            path.append(end)
    return path


def _share_steps(lengths: list[float], points: int) -> list[int]:
    # One step to each leg that has a length; each further one to the leg whose steps are longest.
    steps = [int(length > 0.0) for length in lengths]
    if not any(steps):
        return [points, 0, 0]
    for _ in range(points - sum(steps)):
        longest = max(range(3), key=lambda leg: lengths[leg] / (steps[leg] or 1))
        steps[longest] += 1
    return steps


def path_volumes(path: list[float], volume: float) -> list[float]:
    """Return the volume of each step of a path, in proportion to its length; equal shares where nothing moves.

    The sum is `volume` (to float64). The side that takes is the direction of the step: a model, see above.
    """
    lengths = [abs(end - start) for start, end in pairwise(path)]
    total = math.fsum(lengths)
    if total <= 0.0:
        return [volume / len(lengths)] * len(lengths)
    return [volume * (length / total) for length in lengths]


class BookShape:
    """The book of a model on one tick, to be put around any mid price: five levels a side, fewer on a coarse tick.

    The spread is the model's, in whole ticks and at least one; the book's own mid lies within half a tick of the one
    asked for. Behind the touch each depth of the model stands at the far end of its distance, which makes whoever
    takes it pay the worst price that the measurement allows. A price equals the float64 of its decimal text.
    """

    def __init__(self, model: BookModel, tick: float | None = None) -> None:
        self.tick = model.tick if tick is None else tick
        if not 0.0 < self.tick < math.inf:
            raise ValueError(f"tick is {self.tick}; it must be positive and finite")
        exact = Fraction(str(self.tick))
        self._numerator, self._denominator = exact.numerator, exact.denominator
        self._spread = 2 * model.half_spread_bps / 10_000
        self._touch = model.touch_depth_base
        self._behind: list[tuple[float, float]] = []  # distance from mid as a share of it, size
        depth = self._touch
        for distance_bps, within in (
            (1.0, model.depth_1bps_base),
            (2.0, model.depth_2bps_base),
            (5.0, model.depth_5bps_base),
            (10.0, model.depth_10bps_base),
        ):
            if within > depth:
                self._behind.append((distance_bps / 10_000, round(within - depth, 9)))
                depth = within

    def around(self, mid: float) -> tuple[list[Level], list[Level]]:
        """Return (bids, asks) of (price, size), best first. Raises ValueError when `mid` is not positive and finite."""
        if not 0.0 < mid < math.inf:
            raise ValueError(f"mid is {mid}; a price is positive and finite")
        numerator, denominator = self._numerator, self._denominator
        ticks = mid / self.tick
        spread = max(1, round(ticks * self._spread))
        bid = max(1, math.floor(ticks - spread / 2 + 0.5))
        ask = bid + spread
        bids = [(bid * numerator / denominator, self._touch)]
        asks = [(ask * numerator / denominator, self._touch)]
        for share, size in self._behind:
            distance = ticks * share
            lower, upper = math.ceil(ticks - distance), math.floor(ticks + distance)
            if lower < bid:
                bid = lower
                bids.append((bid * numerator / denominator, size))
            else:  # both on one tick
                bids[-1] = (bids[-1][0], bids[-1][1] + size)
            if upper > ask:
                ask = upper
                asks.append((ask * numerator / denominator, size))
            else:
                asks[-1] = (asks[-1][0], asks[-1][1] + size)
        return bids, asks


def book_around(mid: float, model: BookModel, tick: float | None = None) -> tuple[list[Level], list[Level]]:
    """Return (bids, asks) of `model` around `mid`; who needs many of them keeps a `BookShape`."""
    return BookShape(model, tick).around(mid)
