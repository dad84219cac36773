"""Pre-trade controls: no order reaches a venue that this gate has not passed."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine import NS_PER_S, In, Out, metric, param, state
from nodes._lib import limits
from nodes._lib.kill_switch import Stoppable
from nodes._lib.limits import Breach
from nodes._lib.recent_ids import RecentIds
from nodes._lib.unseen_fills import UnseenFills
from nodes.messages import Book, GateVerdict, NetExposure, OrderRequest, OrderUpdate

FINAL = frozenset({"filled", "canceled", "rejected", "expired"})


class PassedOrder(msgspec.Struct):
    """An order that was passed and of which no end is known. It counts in full until the venue says otherwise."""

    side: str
    size: Decimal
    filled: Decimal = Decimal(0)


class RiskGate(Stoppable):
    """Judge every order request: pass it on or block it, and say why.

    Cheap and absolute rules come first; the first that is breached decides. An input that is missing, older than its
    `max_age`, or not finite blocks. Cancels always pass. The exposure limit counts the worst case: net exposure, all
    open and unknown orders of the same side, fills not yet in the exposure, and this order. An order that lets |net|
    fall even then passes beyond the limit, but never to beyond it on the other side. A client order id that one of the
    last 10,000 passed orders had is a duplicate.

    Two latches hold for the rest of the run, a restart of the process included. Too many orders of one side within a
    window, or more fills of one side than LP exposure explains, block every order. A halt (by the stale action, or
    `armed: false`) lets through only cancels and orders that reduce |net|. The run's kill switch lets through cancels
    alone, until the run is re-armed.
    """

    order = In(OrderRequest, many=True, doc="Requests to judge.", tags={"pair": "instrument"})
    book = In(Book, critical=True, doc="Reference market.", tags={"pair": "instrument"})
    exposure = In(NetExposure, critical=True, doc="Net base exposure over LP and venues.")
    update = In(OrderUpdate, many=True, doc="What became of passed orders, from the venue.")
    approved = Out(OrderRequest, doc="Requests that passed.", tags={"pair": "instrument"})
    verdict = Out(GateVerdict, doc="One per request, passed or blocked, with the rule and its numbers.")

    stale_actions = {  # noqa: RUF012
        "block": "refuse orders until the input speaks again; cancels pass",
        "halt": "for the rest of the run, let through only cancels and orders that reduce net exposure",
    }

    instrument: str = param(doc="The one instrument whose orders may pass, as in ETH-USDT-PERP.")
    tick_size: Decimal = param(Decimal("0.01"), unit="quote", exclusiveMinimum=0, doc="Prices are multiples of it.")
    lot_size: Decimal = param(Decimal("0.001"), unit="base", exclusiveMinimum=0, doc="Sizes are multiples of it.")
    min_notional: Decimal = param(Decimal(0), unit="quote", minimum=0, doc="Smallest price × size.")
    book_max_age_s: float = param(10.0, unit="s", exclusiveMinimum=0, doc="Age at which the book is no reference.")
    exposure_max_age_s: float = param(120.0, unit="s", exclusiveMinimum=0, doc="Age at which net exposure is unknown.")
    collar_bps: float = param(100.0, unit="bps", exclusiveMinimum=0, doc="Largest distance of a price from mid.")
    max_jump_bps: float = param(
        500.0, unit="bps", minimum=0, doc="Largest move of mid within `jump_window_s` that is believed at once; 0: any."
    )
    jump_window_s: float = param(10.0, unit="s", exclusiveMinimum=0, doc="Time in which mid may move so far.")
    jump_confirm_s: float = param(
        10.0, unit="s", minimum=0, doc="A larger move is believed when mid has stood there for so long."
    )
    max_order_size: Decimal = param(unit="base", exclusiveMinimum=0, doc="Largest order.")
    max_order_value: Decimal = param(unit="quote", exclusiveMinimum=0, doc="Largest price × size.")
    max_net_base: float = param(unit="base", exclusiveMinimum=0, doc="Largest worst-case |net exposure|.")
    max_open_orders: int = param(10, minimum=1, unit="1", doc="Most orders open or of unknown state.")
    messages_per_s: float = param(10.0, unit="1/s", exclusiveMinimum=0, doc="Sustained rate of requests.")
    message_burst: float = param(20.0, minimum=1, unit="1", doc="Requests that may come at once.")
    cancel_reserve: float = param(5.0, minimum=0, unit="1", doc="Part of the burst that is kept for cancels.")
    max_repeats: int = param(
        300, minimum=0, unit="1", doc="Orders of one side in a window that latch the gate; 0: no limit."
    )
    repeat_window_s: float = param(
        60.0, unit="s", exclusiveMinimum=0, doc="Window of that count, and of fills on one side."
    )
    settle_s: float = param(5.0, unit="s", minimum=0, doc="After this time a fill that no order explains is others'.")
    armed: bool = param(True, doc="false starts the gate halted.")

    open_orders: dict[str, PassedOrder] = state(factory=dict, doc="Passed orders without a known end.")
    used_ids: list[str] = state(factory=list, doc="Client order ids of the last 10,000 orders that passed.")
    verdicts: int = state(0, doc="Verdicts so far.")
    refusals: int = state(0, doc="Requests refused so far.")

    last_book: Book | None = state(None, doc="The reference market.")
    last_exposure: NetExposure | None = state(None, doc="The last net exposure.")
    reference: limits.Reference = state(factory=limits.Reference, doc="How far mid is believed.")
    halted: bool = state(False, doc="Whether only cancels and reducing orders pass.")
    latched: str = state("", doc="Why every order is blocked; empty when it is not.")
    silent: dict[str, bool] = state(factory=dict, doc="Inputs that were ever stale, and whether they still are.")
    rate: limits.MessageRate = state(factory=limits.MessageRate, doc="Requests of late.")
    repetition: limits.Repetition = state(factory=limits.Repetition, doc="Orders of late, by side.")
    execution: limits.Execution = state(factory=limits.Execution, doc="Fills and moves of the LP of late.")
    unseen: UnseenFills = state(factory=UnseenFills, doc="Fills that net exposure does not contain yet.")

    refused: float | None = metric(unit="1", doc="Requests refused since the run began.")
    orders_open: float | None = metric(unit="1", doc="Passed orders without a known end.")

    def start(self) -> None:
        self.used = RecentIds(self.used_ids)
        self.refused, self.orders_open = float(self.refusals), float(len(self.open_orders))
        # What has been counted stays, the limits are those of today's params.
        self.halted = self.halted or not self.armed
        reference = self.reference
        reference.max_jump, reference.window_ns = self.max_jump_bps / 1e4, round(self.jump_window_s * NS_PER_S)
        reference.confirm_ns = round(self.jump_confirm_s * NS_PER_S)
        self.rate.rate_per_s, self.rate.burst = self.messages_per_s, self.message_burst
        self.rate.reserve = self.cancel_reserve
        self.repetition.max_count = self.max_repeats
        self.repetition.window_ns = self.execution.window_ns = round(self.repeat_window_s * NS_PER_S)
        self.execution.allowance = self.max_net_base
        self.unseen.patience_ns = round(self.settle_s * NS_PER_S)
        self.book_max_age_ns = round(self.book_max_age_s * NS_PER_S)
        self.exposure_max_age_ns = round(self.exposure_max_age_s * NS_PER_S)

    def on_book(self, book: Book) -> None:
        self.last_book = book
        self.reference.see((book.bid_price + book.ask_price) / 2, self.clock.now_ns)

    def on_exposure(self, exposure: NetExposure) -> None:
        self.last_exposure = exposure
        self.execution.move(exposure.net_base, exposure.lp_base, self.clock.now_ns)
        if exposure.filled:
            self.unseen.see(exposure, self.instrument, self.clock.now_ns)

    def on_update(self, update: OrderUpdate) -> None:
        order = self.open_orders.get(update.client_order_id)
        if order is None:
            return
        new = update.filled_size - order.filled
        if new > 0:
            order.filled = update.filled_size
            self.unseen.report(order.side, new, self.now_ns)
            self.execution.add(order.side, float(new), self.now_ns)
        if update.status in FINAL:
            del self.open_orders[update.client_order_id]
            self.orders_open = float(len(self.open_orders))

    def input_stale(self, name: str, action: str) -> None:
        self.silent[name] = True
        if action == "halt":
            self.halted = True

    def input_recovered(self, name: str) -> None:
        self.silent[name] = False

    def on_order(self, order: OrderRequest) -> None:
        now_ns = self.now_ns
        if order.action == "cancel":
            self.rate.spend(now_ns)
            self._verdict(order, True, "cancel", "cancels always pass")
            self.approved.whole(order)
            return
        breach = self._breach(order, now_ns)
        if breach is not None:
            self._verdict(order, False, *breach)
            return
        self.rate.spend(now_ns)
        self.repetition.add(order.side, now_ns)
        self.used.add(order.client_order_id)
        if not self.open_orders:
            self.unseen.expect()
        self.open_orders[order.client_order_id] = PassedOrder(order.side, order.size)
        self.orders_open = float(len(self.open_orders))
        self._verdict(order, True, "all", self._numbers(order))
        self.approved.whole(order)

    def _breach(self, order: OrderRequest, now_ns: int) -> Breach | None:
        # The first rule that the order breaches, in the order of docs/risk_gate.md.
        if self.killed:
            return "kill_switch", self.killed
        if self.latched:
            return "latched", self.latched
        for name, silent in self.silent.items():
            if silent:
                return "silent_input", f"input {name} has been silent for longer than the topology allows"
        if order.client_order_id in self.used or order.client_order_id in self.open_orders:
            return "duplicate", f"client order id {order.client_order_id} was used before"
        breach = (
            limits.known_instrument(order, self.instrument)
            or limits.well_formed(order, self.tick_size, self.lot_size, self.min_notional)
            or limits.order_size(order.size, self.max_order_size)
            or limits.order_value(order.price, order.size, self.max_order_value)
            or limits.fresh_reference(self.last_book, now_ns, self.book_max_age_ns)
            or self.reference.check(now_ns)
            or limits.known_exposure(self.last_exposure, now_ns, self.exposure_max_age_ns)
        )
        if breach is not None:
            return breach
        book, net, worst = self.last_book, self._net(), self._worst(order)
        assert book is not None
        breach = limits.price_collar(float(order.price), book.mid, self.collar_bps) or limits.net_exposure(
            net, worst, self.max_net_base
        )
        if breach is None and self.halted and not limits.is_reducing(net, worst):
            breach = "halted", f"worst case {worst:g} does not reduce net {net:g}"
        breach = breach or limits.open_orders(len(self.open_orders), self.max_open_orders) or self.rate.check(now_ns)
        if breach is None:
            breach = self.repetition.check(order.side, now_ns) or self.execution.check(order.side, now_ns)
            if breach is not None:
                self.latched = breach[1]
        return breach

    def _net(self) -> float:
        exposure = self.last_exposure
        assert exposure is not None and exposure.net_base is not None
        return exposure.net_base

    def _worst(self, order: OrderRequest) -> float:
        waiting = Decimal(0)
        for each in self.open_orders.values():
            if each.side == order.side:
                waiting += each.size - each.filled
        unseen = self.unseen.bought if order.side == "buy" else self.unseen.sold
        return limits.worst_net(order.side, self._net(), float(waiting) + unseen, float(order.size))

    def _numbers(self, order: OrderRequest) -> str:
        book = self.last_book
        assert book is not None
        return f"{order.side} {order.size} at {order.price}, mid {book.mid:g}, net {self._net():g}"

    def _verdict(self, order: OrderRequest, passed: bool, rule: str, detail: str) -> None:
        self.verdicts += 1
        if not passed:
            self.refusals += 1
            self.refused = float(self.refusals)
        self.verdict(
            verdict_id=f"{self.id}-{self.verdicts}",
            request_id=order.client_order_id,
            event_time_ns=self.now_ns,
            passed=passed,
            rule=rule,
            detail=detail,
        )
