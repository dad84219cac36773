"""Hedger and gate against a venue whose answers come late and in any interleaving."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from support.markets import PERP, book, exposure, place

from engine.testing import run_node
from nodes.hedgers.passive import PassiveHedger
from nodes.messages import OrderRequest, OrderUpdate
from nodes.risk.gate import RiskGate

FINAL = {"filled", "canceled", "rejected", "expired"}
BASE = st.integers(-800, 800).map(lambda n: n / 100)
LOT = Decimal("0.01")


class SlowVenue:
    """Orders that fill at some time; its updates and the exposures after its fills wait in two queues."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderRequest] = {}
        self.filled: dict[str, Decimal] = {}
        self.position = Decimal(0)
        self.updates: deque[OrderUpdate] = deque()
        self.positions: deque[Decimal] = deque()

    def place(self, order: OrderRequest) -> None:
        self.orders[order.client_order_id] = order
        self.filled[order.client_order_id] = Decimal(0)

    def fill(self, order_id: str, lots: int) -> None:
        order = self.orders[order_id]
        size = min(lots * LOT, order.size - self.filled[order_id])
        self.filled[order_id] += size
        self.position += size if order.side == "buy" else -size
        self.positions.append(self.position)
        self._tell(order, "filled" if self.filled[order_id] == order.size else "partially_filled")

    def end(self, order_id: str, status: str) -> None:
        if order_id in self.orders:
            self._tell(self.orders[order_id], status)

    def _tell(self, order: OrderRequest, status: str) -> None:
        order_id = order.client_order_id
        self.updates.append(
            OrderUpdate(order_id, "1", PERP, 0, status, order.side, order.price, order.size, self.filled[order_id])
        )
        if status in FINAL:
            del self.orders[order_id]

    def open_base(self, side: str) -> Decimal:
        return sum(
            (o.size - self.filled[o.client_order_id] for o in self.orders.values() if o.side == side), Decimal(0)
        )


class Hedging(RuleBasedStateMachine):
    """There is never a second live order, and no order could make |net| grow, however late the news."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = SlowVenue()
        self.cancels: deque[str] = deque()
        self.seen_lp = 0.0
        self.seen_position = Decimal(0)
        self.node = run_node(
            PassiveHedger,
            instrument=PERP,
            tick_size="0.1",
            lot_size=LOT,
            max_order_size=4,
            band_base=1,
            min_interval_s=0,
            target="zero",
            settle_s=1e6,
            book_max_age_s=1e6,
            ack_timeout_s=1e6,
            max_age_s=1e6,
        )
        self._take(self.node.on_book(book()))

    def _take(self, sent: list) -> None:
        for _, order in sent:
            if order.action == "cancel":
                self.cancels.append(order.client_order_id)
                continue
            assert not self.venue.orders, "a second live order"
            true_net = Decimal(repr(self.seen_lp)) + self.venue.position
            after = true_net + (order.size if order.side == "buy" else -order.size)
            assert abs(after) <= abs(true_net), f"{order.side} {order.size} at net {true_net}"
            self.venue.place(order)

    def _show_exposure(self) -> None:
        net = self.seen_lp + float(self.seen_position)
        self._take(self.node.on_exposure(exposure(net, venue=float(self.seen_position))))

    @rule(lp=BASE)
    def lp_moves(self, lp: float) -> None:
        self.seen_lp = lp
        self._show_exposure()

    @rule()
    def exposure_is_undefined(self) -> None:
        self._take(self.node.on_exposure(exposure(None)))

    @rule(bid=st.integers(19_900, 20_100), spread=st.integers(0, 3))
    def show_book(self, bid: int, spread: int) -> None:
        self._take(self.node.on_book(book(bid / 10, (bid + spread) / 10)))

    @precondition(lambda self: self.venue.orders)
    @rule(lots=st.integers(1, 400))
    def order_fills(self, lots: int) -> None:
        self.venue.fill(next(iter(self.venue.orders)), lots)

    @precondition(lambda self: self.cancels)
    @rule()
    def cancel_arrives(self) -> None:
        self.venue.end(self.cancels.popleft(), "canceled")

    @precondition(lambda self: self.venue.orders)
    @rule(status=st.sampled_from(["open", "rejected", "canceled"]))
    def venue_speaks(self, status: str) -> None:
        self.venue.end(next(iter(self.venue.orders)), status)

    @precondition(lambda self: self.venue.updates)
    @rule()
    def update_is_heard(self) -> None:
        self._take(self.node.on_update(self.venue.updates.popleft()))

    @precondition(lambda self: self.venue.positions)
    @rule()
    def position_is_heard(self) -> None:
        self.seen_position = self.venue.positions.popleft()
        self._show_exposure()


class Gating(RuleBasedStateMachine):
    """No order that passes can carry net exposure past the limit of its side, wherever it was before."""

    LIMIT = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.venue = SlowVenue()
        self.seen_lp = 0.0
        self.seen_position = Decimal(0)
        self.asked = 0
        self.node = run_node(
            RiskGate,
            instrument=PERP,
            tick_size="0.1",
            lot_size=LOT,
            max_order_size=4,
            max_order_value=10_000,
            max_net_base=self.LIMIT,
            max_open_orders=6,
            message_burst=1e6,
            max_repeats=0,
            settle_s=1e6,
        )
        self.node.on_book(book())
        self._show_exposure()

    def _show_exposure(self) -> None:
        self.node.on_exposure(exposure(self.seen_lp + float(self.seen_position), venue=float(self.seen_position)))

    @rule(side=st.sampled_from(["buy", "sell"]), lots=st.integers(1, 450))
    def ask(self, side: str, lots: int) -> None:
        self.asked += 1
        order = place(f"o{self.asked}", side, "2000", str(lots * LOT))
        if not any(name == "approved" for name, _ in self.node.on_order(order)):
            return
        self.venue.place(order)
        assert len(self.venue.orders) <= 6
        reach = float(self.venue.open_base(side))
        true_net = self.seen_lp + float(self.venue.position)
        worst = true_net + reach if side == "buy" else true_net - reach
        outward = worst if side == "buy" else -worst
        assert outward <= self.LIMIT + 1e-9

    @rule(lp=BASE)
    def lp_moves(self, lp: float) -> None:
        self.seen_lp = lp
        self._show_exposure()

    @precondition(lambda self: self.venue.orders)
    @rule(which=st.integers(0, 5), lots=st.integers(1, 400))
    def order_fills(self, which: int, lots: int) -> None:
        ids = list(self.venue.orders)
        self.venue.fill(ids[which % len(ids)], lots)

    @precondition(lambda self: self.venue.orders)
    @rule(which=st.integers(0, 5), status=st.sampled_from(["open", "canceled", "expired"]))
    def venue_speaks(self, which: int, status: str) -> None:
        ids = list(self.venue.orders)
        self.venue.end(ids[which % len(ids)], status)

    @precondition(lambda self: self.venue.updates)
    @rule()
    def update_is_heard(self) -> None:
        self.node.on_update(self.venue.updates.popleft())

    @precondition(lambda self: self.venue.positions)
    @rule()
    def position_is_heard(self) -> None:
        self.seen_position = self.venue.positions.popleft()
        self._show_exposure()


Hedging.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
Gating.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
TestHedging = Hedging.TestCase
TestGating = Gating.TestCase
