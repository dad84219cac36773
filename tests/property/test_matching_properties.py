"""Whatever comes in, the simulated venue conserves quantity, keeps to limits, and never gives more than was printed."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.markets import PERP, book, cancel, place, trade

from engine.testing import run_node
from nodes.messages import Book
from nodes.venues.sim.exchange import SimulatedExchange
from nodes.venues.sim.matching import RestingOrder, fills_of_trade

FINAL = {"filled", "canceled", "rejected", "expired"}
TICKS = st.integers(19_990, 20_010)
BIDS = st.integers(19_997, 20_002)
KINDS = st.sampled_from(["post", "post", "gtc", "ioc"])
AWAY = st.integers(-2, 6)
LOTS = st.integers(1, 300)
SIZES = st.integers(1, 500).map(lambda lots: lots / 100)
LOT = Decimal("0.01")
BROKEN = [book(2000.0, 2000.0), book(2001.0, 1999.0), book(ask_size=0.0), book(bid=float("nan"))]


class Venue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.participation = 0.75
        self.node = run_node(
            SimulatedExchange,
            instrument=PERP,
            tick_size="0.1",
            lot_size=LOT,
            order_latency_s=0.02,
            cancel_latency_s=0.03,
            participation=self.participation,
        )
        self.now_s = 0.0
        self.orders = {}
        self.ended = {}
        self.fills = []
        self.position = Decimal(0)
        self.asked = 0
        self._take(self.node.at(0.0))
        self._take(self.node.on_book(book()))

    def _take(self, sent: list) -> list:
        fills = []
        for name, message in sent:
            if name == "fill":
                order = self.orders[message.client_order_id]
                assert order.client_order_id not in self.ended, "a fill after the end"
                assert message.side == order.side
                beyond = message.price > order.price if order.side == "buy" else message.price < order.price
                assert not beyond, "a fill beyond the limit"
                if order.post_only:
                    assert message.liquidity == "maker"
                assert message.size > 0 and message.size % LOT == 0
                self.position += message.size if message.side == "buy" else -message.size
                self.fills.append(message)
                fills.append(message)
            elif name == "update" and message.status in FINAL and message.reason != "unknown order":
                assert message.client_order_id not in self.ended, "two ends"
                self.ended[message.client_order_id] = message.filled_size
            elif name == "position":
                assert message.size == self.position
        return fills

    @rule(bid=BIDS, spread=st.integers(1, 4), bid_size=SIZES, ask_size=SIZES, depth=st.integers(0, 2))
    def show_book(self, bid: int, spread: int, bid_size: float, ask_size: float, depth: int) -> None:
        bids = [((bid - level) / 10, bid_size + level) for level in range(depth + 1)]
        asks = [((bid + spread + level) / 10, ask_size + level) for level in range(depth + 1)]
        fills = self._take(self.node.on_book(book(bids=bids, asks=asks, at_s=self.now_s)))
        for side, levels in (("buy", asks), ("sell", bids)):
            assert (
                sum(float(fill.size) for fill in fills if fill.side == side) <= sum(size for _, size in levels) + 1e-9
            )

    @rule(
        broken=st.sampled_from([book(2000.0, 2000.0), book(2001.0, 1999.0), book(ask_size=0.0), book(bid=float("nan"))])
    )
    def break_book(self, broken: Book) -> None:
        assert not self._take(self.node.on_book(broken)), "a fill against no market"

    @rule(price=TICKS, size=SIZES, aggressor=st.sampled_from(["buy", "sell"]))
    def print_trade(self, price: int, size: float, aggressor: str) -> None:
        fills = self._take(self.node.on_trade(trade(price / 10, size, aggressor, self.now_s)))
        assert float(sum(fill.size for fill in fills)) <= size * self.participation + 1e-9

    @rule(side=st.sampled_from(["buy", "sell"]), away=AWAY, lots=LOTS, kind=KINDS, arrive=st.booleans())
    def send_order(self, side: str, away: int, lots: int, kind: str, arrive: bool) -> None:
        price = 20_000 - away if side == "buy" else 20_001 + away
        self.asked += 1
        order = place(
            f"o{self.asked}",
            side,
            str(Decimal(price) / 10),
            str(lots * LOT),
            self.now_s,
            post_only=kind == "post",
            time_in_force="ioc" if kind == "ioc" else "gtc",
        )
        self.orders[order.client_order_id] = order
        self._take(self.node.on_order(order))
        if arrive:
            self.wait(0.02)

    @rule(which=st.integers(1, 40))
    def send_cancel(self, which: int) -> None:
        self._take(self.node.on_order(cancel(f"o{which}", self.now_s)))

    @rule(seconds=st.sampled_from([0.01, 0.02, 0.5]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self._take(self.node.at(self.now_s))

    @invariant()
    def quantity_is_conserved(self) -> None:
        filled: dict[str, Decimal] = {}
        for fill in self.fills:
            filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.size
        for order_id, order in self.node.node.orders.items():
            assert order.filled == filled.get(order_id, 0)
            assert 0 < order.remaining <= order.size
            assert order.queue_ahead >= 0
        for order_id, size in self.ended.items():
            assert size == filled.get(order_id, 0) <= self.orders[order_id].size
        assert self.node.node.account.size == self.position
        assert [int(fill.trade_id) for fill in self.fills] == list(range(1, len(self.fills) + 1))

    def teardown(self) -> None:
        self.now_s += 1.0
        self._take(self.node.at(self.now_s))
        self._take(self.node.stop())
        assert set(self.ended) == set(self.orders), "an order without an end"


Venue.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestVenue = Venue.TestCase


RESTING = st.builds(
    lambda side, price, lots, ahead: (side, Decimal(price) / 10, lots * LOT, ahead),
    st.sampled_from(["buy", "sell"]),
    st.integers(19_998, 20_002),
    LOTS,
    st.floats(0, 5),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(RESTING, min_size=1, max_size=6),
    st.integers(19_997, 20_003),
    SIZES,
    st.sampled_from(["buy", "sell"]),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_one_print_fills_no_more_than_its_share_and_best_orders_first(orders, ticks, size, aggressor, participation):
    resting = [
        RestingOrder(f"o{n}", str(n), side, price, lots, queue_ahead=ahead)
        for n, (side, price, lots, ahead) in enumerate(orders)
    ]
    fills = fills_of_trade(resting, ticks / 10, size, aggressor, participation=participation, lot_size=LOT)
    assert sum(part for _, part in fills) <= Decimal(repr(size)) * Decimal(repr(participation))
    assert len({order.client_order_id for order, _ in fills}) == len(fills)
    for order, part in fills:
        assert 0 < part <= order.remaining
        price = float(order.price)
        through = ticks / 10 < price if order.side == "buy" else ticks / 10 > price
        assert through or (ticks / 10 == price and aggressor != order.side and order.queue_ahead == 0)
    for side in ("buy", "sell"):
        prices = [order.price for order, _ in fills if order.side == side]
        assert prices == sorted(prices, reverse=side == "buy")
