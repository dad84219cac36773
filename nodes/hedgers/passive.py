"""Bring net exposure back into its band with one order at a time, at the passive side of the book."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

import msgspec

from engine import NS_PER_S, In, Out, Timer, param, state
from nodes._lib.exposure_gamma import ExposureGamma
from nodes._lib.hedging import hedge_band
from nodes._lib.kill_switch import Stoppable
from nodes._lib.unseen_fills import UnseenFills
from nodes.messages import Book, GateVerdict, NetExposure, OrderRequest, OrderUpdate

FINAL = frozenset({"filled", "canceled", "rejected", "expired"})
NOISE = 1e-6
"""Part of a tick or lot that is taken for noise of float64 division."""

BAND_EVERY = 16
"""Observations from one calculation of the adaptive band to the next."""

LONGEST_WAIT_S = 60.0
"""The wait after refusals doubles up to this."""


def passive_ticks(side: str, bid: float, ask: float, tick_size: float, offset_ticks: int) -> int:
    """Return the price, in ticks, of an order that rests `offset_ticks` behind the best of its side.

    A negative offset improves on the best. Bids are rounded down, asks up, and neither reaches the other side.
    """
    best_bid, best_ask = math.floor(bid / tick_size + NOISE), math.ceil(ask / tick_size - NOISE)
    if side == "buy":
        return min(best_bid - offset_ticks, best_ask - 1)
    return max(best_ask + offset_ticks, best_bid + 1)


def crossing_ticks(side: str, bid: float, ask: float, tick_size: float, collar_bps: float) -> int:
    """Return the limit, in ticks, of an order that takes from the touch up to `collar_bps` beyond it."""
    if side == "buy":
        collar = math.floor(ask * (1 + collar_bps / 1e4) / tick_size + NOISE)
        return max(collar, math.ceil(ask / tick_size - NOISE))
    collar = math.ceil(bid * (1 - collar_bps / 1e4) / tick_size - NOISE)
    return min(collar, math.floor(bid / tick_size + NOISE))


class LiveOrder(msgspec.Struct):
    """The order of ours that the venue has, or may have."""

    client_order_id: str
    side: str
    ticks: int
    lots: int
    filled: Decimal = Decimal(0)
    filled_lots: int = 0
    crossing: bool = False
    acknowledged: bool = False
    canceling: bool = False


class PassiveHedger(Stoppable):
    """Work one order against net exposure that has left its band: sell when long, buy when short.

    The order's size is what is needed to come back (`target`), rounded down to lots and never above |net| or
    `max_order_size`; it joins the best price of its side or stands `offset_ticks` from it. It is replaced (cancelled,
    and placed anew once the venue has confirmed) when its price has moved by more than `reprice_ticks`, when exposure
    has changed so that it would do too much, or after `max_age_s` if another order would be placed by then. There is
    never more than one order: one that is not acknowledged counts as live, and is asked after by cancelling it.

    Fail closed: while exposure is undefined, the book is stale, crossed or empty, an input is silent, or the run's kill
    switch is thrown, the order is cancelled and none is placed. After a fill the next order waits until the exposure
    contains it.
    """

    exposure = In(NetExposure, critical=True, doc="Net base exposure, long positive.")
    book = In(Book, critical=True, doc="Market in which to hedge.", tags={"pair": "instrument"})
    update = In(OrderUpdate, doc="What became of the order.")
    verdict = In(GateVerdict, optional=True, doc="Verdicts of the risk gate, so that a blocked order is known at once.")
    order = Out(OrderRequest, doc="Orders and cancels, for a risk gate.", tags={"pair": "instrument"})

    stale_actions = {"cancel": "cancel the order and place none until the input speaks again"}  # noqa: RUF012

    instrument: str = param(doc="The instrument that is traded, as in ETH-USDT-PERP.")
    tick_size: Decimal = param(Decimal("0.01"), unit="quote", exclusiveMinimum=0, doc="Prices are multiples of it.")
    lot_size: Decimal = param(Decimal("0.001"), unit="base", exclusiveMinimum=0, doc="Sizes are multiples of it.")
    min_notional: Decimal = param(Decimal(0), unit="quote", minimum=0, doc="Smallest price × size of an order.")
    max_order_size: Decimal = param(unit="base", exclusiveMinimum=0, doc="Largest order.")
    band: Literal["fixed", "whalley_wilmott"] = param(
        "fixed", doc="`band_base` itself, or as wide as cost and risk make it, between `band_base` and `max_band_base`."
    )
    band_base: float = param(unit="base", minimum=0, doc="No order while |net exposure| is within it.")
    max_band_base: float = param(0.0, unit="base", minimum=0, doc="Widest band of `whalley_wilmott`: the risk limit.")
    risk_aversion: float = param(0.0, unit="1/quote", minimum=0, doc="Absolute risk aversion of `whalley_wilmott`.")
    cost_bps: float = param(3.0, unit="bps", minimum=0, doc="What a hedge costs, of its value: fee and half spread.")
    gamma_memory: int = param(
        200,
        unit="observations",
        minimum=2,
        doc="Over how many the LP's gamma is measured, for `whalley_wilmott`.",
    )
    target: Literal["edge", "zero"] = param("edge", doc="Where to stop: at the edge of the band, or at zero.")
    style: Literal["maker", "taker", "maker_then_taker"] = param(
        "maker", doc="Rest passively; take at the touch; or rest, and take once outside `cross_band_base`."
    )
    cross_band_base: float = param(
        0.0, unit="base", minimum=0, doc="Wider band of `maker_then_taker`; 0: 4 × band_base."
    )
    collar_bps: float = param(10.0, unit="bps", minimum=0, doc="How far beyond the touch a taking order may go.")
    offset_ticks: int = param(0, unit="ticks", minimum=-1, doc="Distance behind the best; 0 joins, -1 improves by one.")
    reprice_ticks: int = param(2, unit="ticks", minimum=0, doc="The order is replaced when off by more than this.")
    max_age_s: float = param(
        60.0, unit="s", exclusiveMinimum=0, doc="After this time a new order is placed if it would differ."
    )
    min_interval_s: float = param(1.0, unit="s", minimum=0, doc="Time from one order to the next.")
    shrink_tolerance: float = param(
        0.25,
        unit="fraction",
        minimum=0,
        doc="How far the order may exceed what is needed (never |net|) before it is replaced.",
    )
    book_max_age_s: float = param(10.0, unit="s", exclusiveMinimum=0, doc="Age at which the book is stale.")
    ack_timeout_s: float = param(5.0, unit="s", exclusiveMinimum=0, doc="An unanswered request is asked after.")
    settle_s: float = param(5.0, unit="s", minimum=0, doc="After this time a fill that no order explains is others'.")

    live: LiveOrder | None = state(None, doc="The order that the venue has or may have.")
    orders_sent: int = state(0, doc="Orders so far, for their ids.")
    last_exposure: NetExposure | None = state(None, doc="The last net exposure.")
    last_book: Book | None = state(None, doc="The last book.")
    working: bool = state(False, doc="Whether exposure has left its band and is not yet back where it should be.")
    checked_best: float = state(0.0, doc="Best price of the live order's side when it was last found to be right.")
    silent: set[str] = state(factory=set, doc="Inputs that are stale.")
    next_ns: int = state(0, doc="Time before which no order is placed.")
    refusals: int = state(0, doc="Refusals in a row, up to 10.")
    waking: bool = state(False, doc="Whether `wake` is due.")
    unseen: UnseenFills = state(factory=UnseenFills, doc="Fills that net exposure does not contain yet.")
    gamma: ExposureGamma | None = state(None, doc="The LP's gamma as measured, for `whalley_wilmott`.")
    half_width: float = state(0.0, doc="The band that holds, base; 0 before the first.")

    def start(self) -> None:
        self.cross_band = self.cross_band_base or 4 * self.band_base
        if self.style == "maker_then_taker" and self.cross_band <= self.band_base:
            raise ValueError(
                f"cross_band_base {self.cross_band_base:g} of {self.id!r} must be above band_base {self.band_base:g}"
            )
        adaptive = self.band == "whalley_wilmott"
        if adaptive and not (self.risk_aversion > 0 and self.max_band_base >= self.band_base):
            raise ValueError(
                f"band: whalley_wilmott of {self.id!r} needs risk_aversion above 0 and max_band_base >= band_base"
            )
        if not adaptive:
            self.gamma, self.half_width = None, self.band_base
        elif self.gamma is None or self.gamma.memory != self.gamma_memory:
            self.gamma, self.half_width = ExposureGamma(self.gamma_memory), self.band_base
        self.tick, self.lot = float(self.tick_size), float(self.lot_size)
        self.max_lots = int(self.max_order_size / self.lot_size)
        self.unseen.patience_ns = round(self.settle_s * NS_PER_S)
        self.book_max_age_ns = round(self.book_max_age_s * NS_PER_S)
        # What is due for the live order; a timer that is not needed any more costs less cancelled than made.
        self.asking: Timer | None = None
        self.retiring: Timer | None = None

    def resume(self) -> None:
        if self.live is not None:  # the answer to a cancel tells what became of it
            self.live.acknowledged = False
            self.ask_after(self.live.client_order_id)

    def stop(self) -> None:
        if self.live is not None and not self.live.canceling:
            self._cancel()

    def halt(self, reason: str) -> None:
        super().halt(reason)
        self._act()

    def rearm(self) -> None:
        super().rearm()
        self._act()

    # --- what is heard ----------------------------------------------------------------------------------------

    def on_exposure(self, exposure: NetExposure) -> None:
        self.last_exposure = exposure
        if exposure.filled:
            self.unseen.see(exposure, self.instrument, self.clock.now_ns)
        if self.gamma is not None:
            self._measure(exposure, self.gamma)
        net = exposure.net_base
        if net is None or not -math.inf < net < math.inf:
            self.working = False
        elif net > self.half_width or net < -self.half_width:
            self.working = True
        elif self.working and (self.target == "edge" or abs(net) < self.lot):
            self.working = False
        if self.working or self.live is not None:
            self._act()

    def on_book(self, book: Book) -> None:
        self.last_book = book
        live = self.live
        if live is not None:
            # While the best of its side stands and the book is sound, a book changes nothing for the order.
            best = book.bid_price if live.side == "buy" else book.ask_price
            if best != self.checked_best or not self._is_sound(book):
                self._act()
        elif self.working:
            self._act()

    def on_update(self, update: OrderUpdate) -> None:
        live = self.live
        if live is None or update.client_order_id != live.client_order_id:
            return
        new = update.filled_size - live.filled
        if new > 0:
            live.filled = update.filled_size
            live.filled_lots = int(live.filled / self.lot_size)
            self.unseen.report(live.side, new, self.now_ns)
        if update.status not in FINAL:
            live.acknowledged = True
            self.refusals = 0
            if self.asking is not None and not live.canceling:
                self.asking.cancel()
            return
        self._forget()
        if update.status == "rejected" and not live.canceling:
            self._refused()
        self._act()

    def on_verdict(self, verdict: GateVerdict) -> None:
        if self.live is None or verdict.request_id != self.live.client_order_id or verdict.passed:
            return
        if verdict.rule != "duplicate":  # that says nothing about the order whose id is repeated
            self._forget()
            self._refused()
            self._act()

    def _forget(self) -> None:
        self.live = None
        for timer in (self.asking, self.retiring):
            if timer is not None:
                timer.cancel()

    def input_stale(self, name: str, action: str) -> None:
        self.silent.add(name)
        self._act()

    def input_recovered(self, name: str) -> None:
        self.silent.discard(name)

    def _measure(self, exposure: NetExposure, gamma: ExposureGamma) -> None:
        # Widens or narrows the band, now and then: it moves slowly, and its formula costs more than an observation.
        book = self.last_book
        if exposure.net_base is None or book is None or not self._is_sound(book):
            return
        gamma.observe(exposure.lp_base, book.mid)
        if gamma.count % BAND_EVERY == 0 and (slope := gamma.value()) is not None:
            self.half_width = hedge_band(
                self.cost_bps / 1e4 * book.mid,
                slope,
                gamma=self.risk_aversion,
                sigma=0.0,
                smallest=self.band_base,
                largest=self.max_band_base,
            )

    # --- what is done -----------------------------------------------------------------------------------------

    def _act(self) -> None:
        live = self.live
        if live is not None and live.canceling:
            return
        side, lots, crossing = self._wanted()
        if live is not None:
            if not lots or self._is_wrong(live, side, lots, crossing):
                self._cancel()
            elif self.last_book is not None:
                self.checked_best = self.last_book.bid_price if side == "buy" else self.last_book.ask_price
        elif lots and not self.unseen:
            wait_ns = self.next_ns - self.clock.now_ns
            if wait_ns <= 0:
                self._place(side, lots, crossing)
            elif not self.waking:
                self.waking = True
                self.after(wait_ns / NS_PER_S, self.wake)

    def _wanted(self) -> tuple[str, int, bool]:
        # Side, lots and whether to cross; no lots when there is nothing to do, or when it is not safe to do it.
        exposure, book = self.last_exposure, self.last_book
        if not self.working or self.silent or exposure is None or exposure.net_base is None or book is None:
            return "", 0, False
        if self.killed or not self._is_sound(book):
            return "", 0, False
        size = abs(exposure.net_base)
        need = size - self.half_width if self.target == "edge" else size
        crossing = self.style == "taker" or (self.style == "maker_then_taker" and size > self.cross_band)
        side = "sell" if exposure.net_base > 0 else "buy"
        return side, min(self.max_lots, math.floor(need / self.lot + NOISE)), crossing

    def _is_sound(self, book: Book) -> bool:
        # Whether the book is fresh and has two finite sides that do not meet.
        return (
            0.0 < book.bid_price < book.ask_price < math.inf
            and book.bid_size > 0.0
            and book.ask_size > 0.0
            and self.clock.now_ns - book.receive_time_ns <= self.book_max_age_ns
        )

    def _is_wrong(self, live: LiveOrder, side: str, lots: int, crossing: bool) -> bool:
        # Whether the live order should be another one.
        if live.crossing:
            return False
        if side != live.side or crossing:
            return True
        exposure, book = self.last_exposure, self.last_book
        assert exposure is not None and exposure.net_base is not None and book is not None
        rest = live.lots - live.filled_lots
        unseen = self.unseen.sold if side == "sell" else self.unseen.bought
        left = math.floor((abs(exposure.net_base) - unseen) / self.lot + NOISE)
        if rest > left or rest * self.lot + unseen > lots * self.lot * (1 + self.shrink_tolerance) + self.lot * NOISE:
            return True
        best = book.bid_price if side == "buy" else book.ask_price
        if self.offset_ticks < 0 and abs(best - live.ticks * self.tick) < self.tick / 2:
            return False  # the best is our own order, which is not to be improved on
        return abs(self._passive_ticks(side) - live.ticks) > self.reprice_ticks

    def _passive_ticks(self, side: str) -> int:
        book = self.last_book
        assert book is not None
        return passive_ticks(side, book.bid_price, book.ask_price, self.tick, self.offset_ticks)

    def _place(self, side: str, lots: int, crossing: bool) -> None:
        book = self.last_book
        assert book is not None
        if crossing:
            ticks = crossing_ticks(side, book.bid_price, book.ask_price, self.tick, self.collar_bps)
        else:
            ticks = self._passive_ticks(side)
        price, size = ticks * self.tick_size, lots * self.lot_size
        if price <= 0 or price * size < self.min_notional:
            return
        now_ns = self.now_ns
        self.orders_sent += 1
        order_id = f"{self.id}-{self.orders_sent}"
        self.live = LiveOrder(order_id, side, ticks, lots, crossing=crossing)
        self.unseen.expect()
        self.next_ns = now_ns + round(self.min_interval_s * NS_PER_S)
        self.order(
            action="place",
            client_order_id=order_id,
            instrument=self.instrument,
            event_time_ns=now_ns,
            side=side,
            price=price,
            size=size,
            time_in_force="ioc" if crossing else "gtc",
            post_only=not crossing,
            reason="outside the wide band" if crossing else "outside the band",
            reference_price=book.mid,
        )
        self._expect_answer(order_id)
        if not crossing:
            self.retiring = self.after(self.max_age_s, self.retire, order_id)

    def _cancel(self) -> None:
        live = self.live
        assert live is not None
        live.canceling = True
        self.order(
            action="cancel",
            client_order_id=live.client_order_id,
            instrument=self.instrument,
            event_time_ns=self.now_ns,
            side=live.side,  # a cancel carries the order's side for whoever reads along
        )
        self._expect_answer(live.client_order_id)

    def _expect_answer(self, order_id: str) -> None:
        if self.asking is not None:
            self.asking.cancel()
        else:
            self.cancel(self.ask_after)  # one that was set before a restart
        self.asking = self.after(self.ack_timeout_s, self.ask_after, order_id)

    def _refused(self) -> None:
        wait_s = min(max(self.min_interval_s, 0.1) * 2**self.refusals, LONGEST_WAIT_S)
        self.refusals = min(self.refusals + 1, 10)
        self.next_ns = self.now_ns + round(wait_s * NS_PER_S)

    # --- timers -----------------------------------------------------------------------------------------------

    def ask_after(self, order_id: str) -> None:
        """Cancel an order of which nothing was heard, or whose cancel was not answered: the answer tells what it is."""
        live = self.live
        if live is not None and live.client_order_id == order_id and (live.canceling or not live.acknowledged):
            self._cancel()

    def retire(self, order_id: str) -> None:
        """Cancel an order that has grown old; one that would be placed just so again keeps its place in the queue."""
        live = self.live
        if live is None or live.client_order_id != order_id or live.canceling:
            return
        side, lots, _ = self._wanted()
        if (side, lots) == (live.side, live.lots - live.filled_lots) and self._passive_ticks(side) == live.ticks:
            self.after(self.max_age_s, self.retire, order_id)
        else:
            self._cancel()

    def wake(self) -> None:
        """Look again after a wait."""
        self.waking = False
        self._act()
