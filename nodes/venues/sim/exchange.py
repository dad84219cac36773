"""A simulated venue for one linear instrument."""

from __future__ import annotations

import math
from decimal import Decimal

from engine import NS_PER_S, In, Out, metric, param, state
from nodes._lib.kill_switch import Stoppable
from nodes._lib.recent_ids import RecentIds
from nodes.messages import Book, Fill, OrderRequest, OrderUpdate, Trade, VenuePosition
from nodes.venues.sim.account import Account, fee_of
from nodes.venues.sim.matching import (
    RestingOrder,
    Taken,
    by_priority,
    fills_of_trade,
    is_market,
    levels_of,
    opposite,
    queue_after_book,
    queue_at_arrival,
    reaches,
    still_taken,
    take,
)


class SimulatedExchange(Stoppable):
    """Match our orders against a recorded or made market, by stated rules.

    - An order reaches the venue `order_latency_s` after it was sent, a cancel after `cancel_latency_s` but never before
      its order. What fills before the cancel arrives stays filled; a cancel of a finished or unknown order is answered
      with `rejected`, reason `unknown order`.
    - An order off tick or lot, below the minimum notional, or that meets no valid market is rejected. A post-only order
      that would trade on arrival is rejected. A used client order id never makes a second order: while the first lives
      the answer is its state, afterwards `rejected`. Of ids that are used up the last 10,000 are known.
    - What crosses on arrival takes the displayed depth level by level at the taker fee. The rest of an IOC ends as
      `expired`; the rest of a GTC rests. A level that keeps showing the same size is not taken twice.
    - A resting order joins behind `queue_share` of the size displayed at its price, and fills at its own price at the
      maker fee: by trades at its price once they have used up the queue, by trades through its price, and without any
      trade when the opposite best reaches it, up to the size displayed there. One printed trade fills us at most
      `participation` of its size.
    - Our orders do not move the market: they are in no book, and what we take comes back when the level changes.
    - While the run's kill switch is thrown there are no orders: all are cancelled, and new ones rejected.
    - Funding is settled at whole multiples of `funding_interval_s`; with a positive rate the long pays.

    Sent for each fill: the fill, the order's update, then the position that contains it. After a restart open orders
    and the position are told again, and until the next book there is no market.
    """

    simulated = "fills by stated rules stand in for a venue; no order leaves this machine"

    order = In(OrderRequest, doc="Orders and cancels that a risk gate has passed.", tags={"pair": "instrument"})
    book = In(Book, doc="The venue's book, without our orders.", tags={"pair": "instrument"})
    trade = In(Trade, optional=True, doc="Printed trades of others.", tags={"pair": "instrument"})
    update = Out(OrderUpdate, doc="What became of an order.")
    fill = Out(Fill, doc="One per execution.", tags={"pair": "instrument"})
    position = Out(VenuePosition, doc="Level after each fill and funding, and once at the start.", optional=True)

    instrument: str = param(doc="The instrument that is traded here, as in ETH-USDT-PERP.")
    tick_size: Decimal = param(Decimal("0.01"), unit="quote", exclusiveMinimum=0, doc="Prices are multiples of it.")
    lot_size: Decimal = param(Decimal("0.001"), unit="base", exclusiveMinimum=0, doc="Sizes are multiples of it.")
    min_notional: Decimal = param(Decimal(0), unit="quote", minimum=0, doc="Smallest price × size of an order.")
    maker_fee_bps: Decimal = param(Decimal(2), unit="bps", doc="Fee of a fill that rested; a rebate is negative.")
    taker_fee_bps: Decimal = param(Decimal(5), unit="bps", doc="Fee of a fill that crossed.")
    order_latency_s: float = param(0.05, unit="s", minimum=0, doc="From sending an order to its arrival.")
    cancel_latency_s: float = param(0.05, unit="s", minimum=0, doc="From sending a cancel to its arrival.")
    queue_share: float = param(
        1.0,
        unit="fraction",
        minimum=0,
        maximum=1,
        doc="Part of the displayed size at its price that an order joins behind.",
    )
    participation: float = param(
        1.0, unit="fraction", minimum=0, maximum=1, doc="Largest part of a printed trade that can fill us."
    )
    funding_rate_annual: float = param(0.0, unit="1/year", doc="Funding rate; positive when the long pays.")
    funding_interval_s: float = param(28_800.0, unit="s", exclusiveMinimum=0, doc="Time between two settlements.")

    orders: dict[str, RestingOrder] = state(factory=dict, doc="Resting orders by client order id.")
    in_flight: dict[str, OrderRequest] = state(factory=dict, doc="Orders on their way, by client order id.")
    arrival_ns: dict[str, int] = state(factory=dict, doc="When orders on their way arrive.")
    used_ids: list[str] = state(factory=list, doc="The last 10,000 client order ids that were sent.")
    account: Account = state(factory=Account, doc="Position and money.")
    orders_accepted: int = state(0, doc="Orders that were given a venue order id.")
    trades_made: int = state(0, doc="Fills so far; the last trade id.")
    last_mid: float = state(0.0, doc="Mid of the last book that was a market, kept when books stop being one.")

    market: Book | None = state(None, doc="The last book; none while it is crossed or empty.")
    taken: dict[str, Taken] = state(
        factory=lambda: {"buy": {}, "sell": {}}, doc="What we have taken from levels that still show it, by side."
    )

    resting_orders: float | None = metric(unit="1", doc="Orders that rest.")
    fills: float | None = metric(unit="1", doc="Fills since the run began.")

    def start(self) -> None:
        self.used = RecentIds(self.used_ids)
        self.resting_orders, self.fills = float(len(self.orders)), float(self.trades_made)
        self.watching = bool(self.orders or self.taken["buy"] or self.taken["sell"])
        self.after(0.0, self.announce)
        if self.funding_rate_annual:
            interval_ns = round(self.funding_interval_s * NS_PER_S)
            self.after((interval_ns - self.now_ns % interval_ns) / NS_PER_S, self.settle_funding)

    def announce(self) -> None:
        """Tell the position at the start."""
        self._send_position()

    def stop(self) -> None:
        self._end_all("venue stopped")

    def resume(self) -> None:
        # Readers may have missed anything: orders and position are told again. What the market did meanwhile is not
        # known, and an order is not to meet the book of before.
        self.last_mid, self.market = self._mid(), None
        for order in self.orders.values():
            self._update(order, "partially_filled" if order.filled else "open", "the venue is back")
        self._send_position()

    def halt(self, reason: str) -> None:
        super().halt(reason)
        self._end_all(self._stopped())

    def _end_all(self, reason: str) -> None:
        for order in list(self.orders.values()):
            self._finish(order, "canceled", reason)
        for request in list(self.in_flight.values()):
            self._reject(request, reason)
        self.in_flight.clear()
        self.arrival_ns.clear()

    def _stopped(self) -> str:
        return f"the kill switch is thrown: {self.killed}"

    # --- the market -------------------------------------------------------------------------------------------

    def on_book(self, book: Book) -> None:
        if not 0.0 < book.bid_price < book.ask_price < math.inf:
            self.last_mid = self._mid()
            self.market = None
            return
        self.market = book
        if self.watching:
            self._match_book(book)

    def on_trade(self, trade: Trade) -> None:
        if not self.orders:
            return
        for order, size in fills_of_trade(
            self.orders.values(),
            trade.price,
            trade.size,
            trade.aggressor,
            participation=self.participation,
            lot_size=self.lot_size,
        ):
            self._fill(order, order.price, size, "maker")

    def _match_book(self, book: Book) -> None:
        if not is_market(book) or not self._concerns(book):
            return
        levels = {side: levels_of(book, side) for side in ("buy", "sell")}
        for side, own_side in levels.items():
            against = levels[opposite(side)]
            taken = self.taken[side] = still_taken(self.taken[side], against)
            for order in by_priority(self.orders.values(), side):
                limit = order.limit
                order.queue_ahead = queue_after_book(order.queue_ahead, own_side, side, limit)
                if against and reaches(side, limit, against[0][0]):
                    order.queue_ahead = 0.0
                    parts = take(against, side, limit, order.remaining, lot_size=self.lot_size, taken=taken)
                    if parts:
                        self._fill(order, order.price, sum((size for _, size in parts), Decimal(0)), "maker")
        self.watching = bool(self.orders or self.taken["buy"] or self.taken["sell"])

    def _concerns(self, book: Book) -> bool:
        # Whether a book can fill an order, shorten a queue or show that a taken level has changed.
        if self.taken["buy"] or self.taken["sell"]:
            return True
        bid, ask = book.bid_price, book.ask_price
        for order in self.orders.values():
            if order.side == "buy":
                if ask <= order.limit or (order.queue_ahead and (bid <= order.limit or book.levels)):
                    return True
            elif bid >= order.limit or (order.queue_ahead and (ask >= order.limit or book.levels)):
                return True
        return False

    def _mid(self) -> float:
        return self.market.mid if self.market is not None else self.last_mid

    # --- orders -----------------------------------------------------------------------------------------------

    def on_order(self, request: OrderRequest) -> None:
        order_id = request.client_order_id
        if request.action == "cancel":
            delay_s = self.cancel_latency_s
            if order_id in self.arrival_ns:
                delay_s = max(delay_s, (self.arrival_ns[order_id] - self.now_ns) / NS_PER_S)
            if delay_s:
                self.after(delay_s, self.cancel_arrives, order_id)
            else:
                self.cancel_arrives(order_id)
            return
        if order_id in self.orders or order_id in self.in_flight or not self.used.add(order_id):
            self._answer_repeat(request)
            return
        if self.killed:
            self._reject(request, self._stopped())
            return
        self.in_flight[order_id] = request
        if self.order_latency_s:
            self.arrival_ns[order_id] = self.now_ns + round(self.order_latency_s * NS_PER_S)
            self.after(self.order_latency_s, self.order_arrives, order_id)
        else:
            self.order_arrives(order_id)

    def _answer_repeat(self, request: OrderRequest) -> None:
        # A rejection carries the same id, and whoever hears it would take the live order for gone.
        order = self.orders.get(request.client_order_id)
        if order is not None:
            self._update(order, "partially_filled" if order.filled else "open", "client order id was used before")
        elif request.client_order_id not in self.in_flight:
            self._reject(request, "client order id was used before")

    def order_arrives(self, order_id: str) -> None:
        """Accept or reject an order, and trade what crosses."""
        request = self.in_flight.pop(order_id, None)
        if request is None:
            return
        self.arrival_ns.pop(order_id, None)
        reason = self._refusal(request)
        if reason:
            self._reject(request, reason)
            return
        book = self.market
        assert book is not None, "_refusal() lets no order through without a market"
        self.watching = True
        side, limit = request.side, float(request.price)
        self.orders_accepted += 1
        order = RestingOrder(order_id, str(self.orders_accepted), side, request.price, request.size)
        self.orders[order_id] = order
        order.queue_ahead = queue_at_arrival(levels_of(book, side), side, limit, self.queue_share)
        self._update(order, "open")
        if reaches(side, limit, book.ask_price if side == "buy" else book.bid_price):
            for price, size in take(
                levels_of(book, opposite(side)), side, limit, order.size, lot_size=self.lot_size, taken=self.taken[side]
            ):
                self._fill(order, price, size, "taker")
        if request.time_in_force == "ioc" and order.remaining > 0:
            self._finish(order, "expired", "rest of an immediate-or-cancel order")

    def cancel_arrives(self, order_id: str) -> None:
        """Cancel an order that still rests; say so when there is none."""
        order = self.orders.get(order_id)
        if order is not None:
            self._finish(order, "canceled", "canceled by request")
            return
        self.update(
            client_order_id=order_id,
            venue_order_id="",
            instrument=self.instrument,
            event_time_ns=self.now_ns,
            status="rejected",
            side="buy",
            price=Decimal(0),
            size=Decimal(0),
            filled_size=Decimal(0),
            reason="unknown order",
        )

    def _refusal(self, request: OrderRequest) -> str:
        # Why an arriving order is not accepted; empty when it is.
        price, size, book = request.price, request.size, self.market
        if request.instrument != self.instrument:
            return f"instrument {request.instrument} is not traded here"
        if not (price.is_finite() and size.is_finite() and price > 0 and size > 0):
            return f"price {price} and size {size} must be finite and above 0"
        if price % self.tick_size:
            return f"price {price} is no multiple of the tick {self.tick_size}"
        if size % self.lot_size:
            return f"size {size} is no multiple of the lot {self.lot_size}"
        if price * size < self.min_notional:
            return f"notional {price * size} is below the minimum {self.min_notional}"
        if book is None or not is_market(book):
            return "no valid market"
        if request.post_only:
            if request.time_in_force == "ioc":
                return "post-only cannot be immediate-or-cancel"
            if reaches(request.side, float(price), book.ask_price if request.side == "buy" else book.bid_price):
                return "post-only order would trade"
        return ""

    # --- what is sent -----------------------------------------------------------------------------------------

    def _fill(self, order: RestingOrder, price: Decimal, size: Decimal, liquidity: str) -> None:
        order.filled += size
        self.trades_made += 1
        self.fills = float(self.trades_made)
        maker = liquidity == "maker"
        fee = fee_of(price, size, self.maker_fee_bps if maker else self.taker_fee_bps)
        self.account.book_fill(size if order.side == "buy" else -size, price, fee)
        self.fill(
            trade_id=str(self.trades_made),
            client_order_id=order.client_order_id,
            instrument=self.instrument,
            event_time_ns=self.now_ns,
            side=order.side,
            price=price,
            size=size,
            fee=fee,
            fee_currency=self.instrument.split("-")[1],
            liquidity=liquidity,
            mid=self._mid(),
        )
        if order.remaining > 0:
            self._update(order, "partially_filled")
        else:
            self._finish(order, "filled")
        self._send_position()

    def _finish(self, order: RestingOrder, status: str, reason: str = "") -> None:
        del self.orders[order.client_order_id]
        self._update(order, status, reason)

    def _update(self, order: RestingOrder, status: str, reason: str = "") -> None:
        self.resting_orders = float(len(self.orders))
        self.update(
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            instrument=self.instrument,
            event_time_ns=self.now_ns,
            status=status,
            side=order.side,
            price=order.price,
            size=order.size,
            filled_size=order.filled,
            reason=reason,
        )

    def _reject(self, request: OrderRequest, reason: str) -> None:
        self.update(
            client_order_id=request.client_order_id,
            venue_order_id="",
            instrument=request.instrument,
            event_time_ns=self.now_ns,
            status="rejected",
            side=request.side,
            price=request.price,
            size=request.size,
            filled_size=Decimal(0),
            reason=reason,
        )

    def _send_position(self) -> None:
        account = self.account
        self.position(
            instrument=self.instrument,
            event_time_ns=self.now_ns,
            size=account.size,
            entry_price=account.entry_price,
            realised=account.realised,
            fees=account.fees,
            funding=account.funding,
            last_trade_id=str(self.trades_made) if self.trades_made else "",
        )

    def settle_funding(self) -> None:
        """Pay or receive the funding of the interval that ends now."""
        self.after(self.funding_interval_s, self.settle_funding)
        if self.account.size:
            self.account.pay_funding(
                Decimal(repr(self._mid())),
                Decimal(repr(self.funding_rate_annual)),
                Decimal(repr(self.funding_interval_s)),
            )
            self._send_position()
