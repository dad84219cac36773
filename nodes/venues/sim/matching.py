"""How a simulated venue fills our orders against the market that it is shown.

Pure: no clock, no messages sent. The market is float64; what is ours is Decimal. Prices are compared as float64, in
which a price parsed from text equals the same price parsed as Decimal and converted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal

import msgspec

from nodes.messages import Book

Level = tuple[float, float]
Taken = dict[float, tuple[float, Decimal]]
"""By price: the size that a displayed level showed when we last took from it, and how much we have taken since."""


class RestingOrder(msgspec.Struct):
    """An order of ours at the venue. `queue_ahead` is the size that trades before it at its price, base units."""

    client_order_id: str
    venue_order_id: str
    side: str
    price: Decimal
    size: Decimal
    filled: Decimal = Decimal(0)
    queue_ahead: float = 0.0
    limit: float = 0.0
    """The price as float64."""

    def __post_init__(self) -> None:
        self.limit = float(self.price)

    @property
    def remaining(self) -> Decimal:
        """Base units that are still to be filled."""
        return self.size - self.filled


def is_market(book: Book) -> bool:
    """Return whether both sides are there, finite, and not crossed or locked."""
    return 0.0 < book.bid_price < book.ask_price < math.inf and book.bid_size > 0.0 and book.ask_size > 0.0


def levels_of(book: Book, side: str) -> list[Level]:
    """Return the displayed (price, size) levels on which orders of `side` rest, best first, without unusable ones."""
    if not book.levels:  # the best alone, without making lists of both sides
        best = (book.bid_price, book.bid_size) if side == "buy" else (book.ask_price, book.ask_size)
        return [best] if 0.0 < best[0] < math.inf and 0.0 < best[1] < math.inf else []
    bids, asks = book.sides()
    return [
        level for level in (bids if side == "buy" else asks) if 0.0 < level[0] < math.inf and 0.0 < level[1] < math.inf
    ]


def opposite(side: str) -> str:
    """Return the other side."""
    return "sell" if side == "buy" else "buy"


def reaches(side: str, limit: float, price: float) -> bool:
    """Return whether an order of `side` with this limit may trade at `price`."""
    return price <= limit if side == "buy" else price >= limit


def goes_through(side: str, limit: float, price: float) -> bool:
    """Return whether a trade at `price` is beyond a resting order's price: all that stood there has been filled."""
    return price < limit if side == "buy" else price > limit


def displayed_at(levels: list[Level], side: str, price: float) -> float | None:
    """Return the size displayed at `price` among `levels`, on which orders of `side` rest, best first.

    0 where the book shows that nobody rests there (better than the best, or a gap), None beyond the deepest level.
    """
    for level_price, size in levels:
        if level_price == price:
            return size
        if goes_through(side, price, level_price):
            return 0.0
    return None


def queue_at_arrival(levels: list[Level], side: str, price: float, queue_share: float) -> float:
    """Return the size ahead of an order that joins at `price`: `queue_share` of what is displayed there.

    Beyond the deepest displayed level the queue cannot be seen; it is taken to be as long as at that deepest level.
    """
    shown = displayed_at(levels, side, price)
    if shown is None:
        shown = levels[-1][1] if levels else 0.0
    return shown * queue_share


def queue_after_book(queue_ahead: float, levels: list[Level], side: str, price: float) -> float:
    """Return the size ahead once the book shows `levels`: never more than is displayed at the price.

    Cancellations are taken to come from behind the order until the level becomes too small for that.
    """
    shown = displayed_at(levels, side, price)
    return queue_ahead if shown is None else min(queue_ahead, shown)


def to_decimal(number: float) -> Decimal:
    """Return the Decimal of the shortest text of a float64, cleared of the last digits' noise of a subtraction."""
    return Decimal(repr(round(float(number), 12)))


def to_lot(size: float | Decimal, lot_size: Decimal) -> Decimal:
    """Return `size` rounded down to whole lots."""
    exact = size if isinstance(size, Decimal) else to_decimal(size)
    return (exact / lot_size).to_integral_value(ROUND_FLOOR) * lot_size


def take(
    levels: Iterable[Level], side: str, limit: float, size: Decimal, *, lot_size: Decimal, taken: Taken
) -> list[tuple[Decimal, Decimal]]:
    """Take up to `size` from the displayed `levels` (opposite side, best first); return the (price, size) parts.

    What is taken is noted in `taken`, so that a level that keeps showing the same size is not taken twice.
    """
    parts: list[tuple[Decimal, Decimal]] = []
    for price, shown in levels:
        if size <= 0 or not reaches(side, limit, price):
            break
        noted = taken.get(price)
        before = noted[1] if noted is not None and noted[0] == shown else Decimal(0)
        part = min(size, to_lot(to_decimal(shown) - before, lot_size))
        if part > 0:
            taken[price] = (shown, before + part)
            parts.append((to_decimal(price), part))
            size -= part
    return parts


def still_taken(taken: Taken, levels: Iterable[Level]) -> Taken:
    """Return the notes about levels that still show the size that they showed when we took from them."""
    return {price: taken[price] for price, shown in levels if price in taken and taken[price][0] == shown}


def by_priority(orders: Iterable[RestingOrder], side: str) -> list[RestingOrder]:
    """Return the orders of one side, best price first, then in the order in which they came."""
    chosen = [order for order in orders if order.side == side]
    chosen.sort(key=lambda order: -order.limit if side == "buy" else order.limit)
    return chosen


def fills_of_trade(
    orders: Iterable[RestingOrder],
    price: float,
    size: float,
    aggressor: str,
    *,
    participation: float,
    lot_size: Decimal,
) -> list[tuple[RestingOrder, Decimal]]:
    """Return what one printed trade fills of our resting orders, and move their queues on.

    A trade through an order's price fills it without regard to the queue; a trade at its price, by an aggressor of the
    other side, first uses up the queue ahead. All fills of one print together are at most `participation` of its size.
    """
    if not (0.0 < price < math.inf and 0.0 < size < math.inf):
        return []
    orders = [order for order in orders if reaches(order.side, order.limit, price)]
    if not orders:
        return []
    budget = to_lot(to_decimal(size) * to_decimal(participation), lot_size)
    fills: list[tuple[RestingOrder, Decimal]] = []
    for side in ("buy", "sell"):
        for order in by_priority(orders, side):
            limit = order.limit
            if goes_through(side, limit, price):
                order.queue_ahead = 0.0
                reached = budget
            elif price == limit and aggressor != side:
                past = size - order.queue_ahead
                order.queue_ahead = max(0.0, -past)
                reached = min(budget, to_lot(past * participation, lot_size)) if past > 0 else Decimal(0)
            else:
                continue
            part = min(order.remaining, reached)
            if part > 0:
                budget -= part
                fills.append((order, part))
    return fills
