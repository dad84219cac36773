"""Pre-trade limits: pure functions, each of one rule.

Each returns None when the order passes, otherwise (rule, detail) with the numbers compared. A number that is missing or
not finite never passes. What counts over time is a record, so that a gate can declare it as state. The rules are those
of SEC 15c3-5(c), RTS 6 Article 15 and the FIA's best practices (2024).
"""

from __future__ import annotations

import math
import sys
from decimal import Decimal

import msgspec

from nodes.messages import Book, NetExposure, OrderRequest

Breach = tuple[str, str]
LARGEST = sys.float_info.max
"""Stands for no limit where a number has to go through JSON, which has no infinity."""


def known_instrument(order: OrderRequest, instrument: str) -> Breach | None:
    """Demand an order for the one instrument that the gate guards."""
    if order.instrument != instrument:
        return "instrument", f"{order.instrument} is not {instrument}"
    return None


def well_formed(order: OrderRequest, tick_size: Decimal, lot_size: Decimal, min_notional: Decimal) -> Breach | None:
    """Demand a finite price and size above 0, on tick and lot, worth at least `min_notional` quote."""
    price, size = order.price, order.size
    if not (price.is_finite() and size.is_finite() and price > 0 and size > 0):
        return "well_formed", f"price {price} and size {size} must be finite and above 0"
    if price % tick_size:
        return "well_formed", f"price {price} is no multiple of the tick {tick_size}"
    if size % lot_size:
        return "well_formed", f"size {size} is no multiple of the lot {lot_size}"
    if price * size < min_notional:
        return "well_formed", f"notional {price * size} is below {min_notional}"
    return None


def fresh_reference(book: Book | None, now_ns: int, max_age_ns: int) -> Breach | None:
    """Demand a book that was received within `max_age_ns`, finite, with both sides, not crossed or locked."""
    if book is None:
        return "reference", "no book seen yet"
    age_ns = now_ns - book.receive_time_ns
    if age_ns > max_age_ns:
        return "reference", f"book is {age_ns / 1e9:.3f} s old, at most {max_age_ns / 1e9:g} s"
    sizes = 0.0 < book.bid_size < math.inf and 0.0 < book.ask_size < math.inf
    if not (0.0 < book.bid_price < book.ask_price < math.inf and sizes):
        return "reference", f"book {book.bid_price} x {book.ask_price} is crossed, empty or not finite"
    return None


def known_exposure(exposure: NetExposure | None, now_ns: int, max_age_ns: int) -> Breach | None:
    """Demand a net exposure that is defined, finite and was sent within `max_age_ns`."""
    if exposure is None:
        return "exposure_known", "no net exposure seen yet"
    if exposure.net_base is None:
        return "exposure_known", f"net exposure is undefined: {', '.join(exposure.unknown)}"
    if not math.isfinite(exposure.net_base):
        return "exposure_known", f"net exposure {exposure.net_base} is not finite"
    age_ns = now_ns - exposure.event_time_ns
    if age_ns > max_age_ns:
        return "exposure_known", f"net exposure is {age_ns / 1e9:.3f} s old, at most {max_age_ns / 1e9:g} s"
    return None


def price_collar(price: float, mid: float, collar_bps: float) -> Breach | None:
    """Demand |price / mid − 1| within `collar_bps`."""
    distance_bps = abs(price / mid - 1.0) * 1e4
    if not distance_bps <= collar_bps:
        return "price_collar", f"price {price:g} is {distance_bps:.2f} bps from mid {mid:g}, at most {collar_bps:g}"
    return None


def order_size(size: Decimal, max_size: Decimal) -> Breach | None:
    """Demand at most `max_size` base."""
    if size > max_size:
        return "order_size", f"size {size} is above {max_size}"
    return None


def order_value(price: Decimal, size: Decimal, max_value: Decimal) -> Breach | None:
    """Demand at most `max_value` quote."""
    if price * size > max_value:
        return "order_value", f"value {price * size} is above {max_value}"
    return None


def worst_net(side: str, net: float, same_side_open: float, size: float) -> float:
    """Return the net base exposure once this order and all open ones of its side have filled, and none of the other.

    `same_side_open` counts orders that are open, of unknown state, or filled but not in `net` yet; base, positive.
    """
    return net + same_side_open + size if side == "buy" else net - same_side_open - size


def is_reducing(net: float, worst: float) -> bool:
    """Return whether |net exposure| falls even if everything fills: the order's own leg does not count."""
    return abs(worst) < abs(net)


def net_exposure(net: float, worst: float, max_net: float) -> Breach | None:
    """Demand that the worst |net| stays within `max_net`, or falls without changing sides.

    From far beyond the limit on one side an order could lower |net| and yet end beyond it on the other.
    """
    if abs(worst) <= max_net or (is_reducing(net, worst) and net * worst > 0.0):
        return None
    return "net_exposure", f"worst case {worst:g} from net {net:g} is beyond {max_net:g}"


def open_orders(count: int, max_count: int) -> Breach | None:
    """Demand that fewer than `max_count` orders are open or of unknown state."""
    if count >= max_count:
        return "open_orders", f"{count} orders are open, at most {max_count}"
    return None


class Reference(msgspec.Struct):
    """A mid that is followed only as fast as it is believed: a collar around a wrong mid protects nobody.

    Within `window_ns` it may move by `max_jump` (a fraction) from where it stood when the window began. One beyond that
    is doubted until it, and all that came after it, have stayed within `max_jump` of it for `confirm_ns`.
    """

    max_jump: float = 0.0
    """0 turns the rule off."""
    window_ns: int = 0
    confirm_ns: int = 0
    believed: float = 0.0
    """The mid when the window began; 0 before the first."""
    low: float = 0.0
    high: float = LARGEST
    until_ns: int = -(1 << 62)
    """End of the window."""
    doubted: float = 0.0
    """The first mid that is not believed; 0 when all are."""
    since_ns: int = 0

    def see(self, mid: float, now_ns: int) -> None:
        """Note the mid of a book; what is no price is left to other rules."""
        if self.low <= mid <= self.high:
            self.doubted = 0.0
            if now_ns >= self.until_ns and mid:
                self._believe(mid, now_ns)
        elif 0.0 < mid < math.inf:
            if not self.doubted or abs(mid / self.doubted - 1.0) > self.max_jump:
                self.doubted, self.since_ns = mid, now_ns
            elif now_ns - self.since_ns >= self.confirm_ns:
                self.doubted = 0.0
                self._believe(mid, now_ns)

    def _believe(self, mid: float, now_ns: int) -> None:
        self.believed, self.until_ns = mid, now_ns + self.window_ns
        if self.max_jump:
            self.low, self.high = mid * (1.0 - self.max_jump), mid * (1.0 + self.max_jump)
        else:
            self.low, self.high = 0.0, LARGEST

    def check(self, now_ns: int) -> Breach | None:
        """Demand a mid that is believed."""
        if not self.doubted or not self.max_jump:
            return None
        move_bps = (self.doubted / self.believed - 1.0) * 1e4
        return "price_jump", (
            f"mid jumped from {self.believed:g} to {self.doubted:g} ({move_bps:+.0f} bps, at most "
            f"{self.max_jump * 1e4:g} within {self.window_ns / 1e9:g} s) and has stood for "
            f"{(now_ns - self.since_ns) / 1e9:g} of {self.confirm_ns / 1e9:g} s"
        )


class MessageRate(msgspec.Struct):
    """A token bucket: `rate_per_s` tokens flow in, up to `burst`. Cancels always pass and leave a debt."""

    rate_per_s: float = 0.0
    burst: float = 0.0
    reserve: float = 0.0
    tokens: float | None = None
    """None before the first use: full."""
    filled_ns: int = 0

    def check(self, now_ns: int) -> Breach | None:
        """Demand one token above the reserve that is kept for cancels."""
        tokens = self._fill(now_ns)
        if tokens < 1.0 + self.reserve:
            return "message_rate", f"{tokens:.2f} tokens left, {self.reserve:g} kept for cancels"
        return None

    def spend(self, now_ns: int) -> None:
        """Take one token, also when none is left."""
        self.tokens = max(self._fill(now_ns) - 1.0, -self.burst)

    def _fill(self, now_ns: int) -> float:
        before = self.burst if self.tokens is None else self.tokens
        tokens = self.tokens = min(self.burst, before + (now_ns - self.filled_ns) / 1e9 * self.rate_per_s)
        self.filled_ns = now_ns
        return tokens


class Execution(msgspec.Struct):
    """Compare what was filled on one side within a window with what there was to hedge in that time.

    A hedge follows what it hedges. To sell there is what net exposure was long when the window began, and the way that
    LP exposure has travelled since; to buy, the mirror image. Fills beyond that and `allowance` base come from
    something that has gone wrong. A long rally does not get there, nor does catching up after a silence: when net
    exposure is known again a new window begins with it.
    """

    window_ns: int = 0
    allowance: float = 0.0
    lp_base: float = 0.0
    way: float = 0.0
    marks: list[tuple[int, float, float]] = msgspec.field(default_factory=list)
    """Time, way and net exposure at eighths of the window, from its begin; none while net exposure is unknown."""
    fills: dict[str, list[tuple[int, float]]] = msgspec.field(default_factory=lambda: {"buy": [], "sell": []})

    def move(self, net_base: float | None, lp_base: float, now_ns: int) -> None:
        """Note net and LP exposure; a net of None is unknown."""
        marks = self.marks
        if net_base is None or not math.isfinite(net_base):
            marks.clear()
            return
        moved = abs(lp_base - self.lp_base)
        if 0.0 < moved < math.inf:
            self.way += moved
            self.lp_base = lp_base
        if not marks or now_ns - marks[-1][0] >= self.window_ns // 8:
            marks.append((now_ns, self.way, net_base))
            while len(marks) > 1 and now_ns - marks[1][0] > self.window_ns:
                del marks[0]

    def add(self, side: str, size: float, now_ns: int) -> None:
        """Note a fill."""
        self.fills[side].append((now_ns, size))

    def check(self, side: str, now_ns: int) -> Breach | None:
        """Demand that fills of this side within the window are explained, or within the allowance."""
        fills = self.fills[side]
        while fills and now_ns - fills[0][0] > self.window_ns:
            del fills[0]
        filled, way, to_hedge = sum(size for _, size in fills), 0.0, 0.0
        if self.marks:
            _, way_before, net = self.marks[0]
            way, to_hedge = self.way - way_before, max(0.0, net if side == "sell" else -net)
        if not filled <= way + to_hedge + self.allowance:
            return "execution", (
                f"{side} fills of {filled:g} within {self.window_ns / 1e9:g} s, while {to_hedge:g} was to be hedged, "
                f"LP exposure moved by {way:g} and {self.allowance:g} are allowed beside"
            )
        return None


class Repetition(msgspec.Struct):
    """Count the passed orders of one side within a window: a loop that goes wild repeats itself."""

    max_count: int = 0
    window_ns: int = 0
    times: dict[str, list[int]] = msgspec.field(default_factory=lambda: {"buy": [], "sell": []})

    def check(self, side: str, now_ns: int) -> Breach | None:
        """Demand fewer than `max_count` passed orders of this side within the window; 0 turns the rule off."""
        times = self.times[side]
        while times and now_ns - times[0] >= self.window_ns:
            del times[0]
        if self.max_count and len(times) >= self.max_count:
            return (
                "repetition",
                f"{len(times)} {side} orders within {self.window_ns / 1e9:g} s, at most {self.max_count}",
            )
        return None

    def add(self, side: str, now_ns: int) -> None:
        """Note a passed order."""
        self.times[side].append(now_ns)
