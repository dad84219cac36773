"""Orders that programs outside the topology ask for on a hub."""

from __future__ import annotations

import re
from decimal import Decimal

from engine import NS_PER_S, In, Node, Out, metric, param, state
from nodes._lib.limits import Breach, MessageRate
from nodes.messages import GateVerdict, OrderRequest, OutsideOrder

CLIENT = re.compile(r"[A-Za-z0-9_]{1,12}")
REQUEST_ID = re.compile(r"[A-Za-z0-9_]{1,16}")
PREFIX = re.compile(r"[A-Za-z0-9_]{1,5}")
LARGEST_POWER, SMALLEST_POWER = 15, -18
"""Powers of ten between which every price and size of the markets that we know lies."""
MOST_REMEMBERED = 10_000
LONGEST_REASON = 200
FAR_NS = 10**18


class OutsideOrders(Node):
    """Turn requests from outside into order requests for a risk gate, or refuse them and say why.

    What passes has the id PREFIX-CLIENT-REQUEST, which no order from inside has, so an outsider can cancel only what
    it has placed itself. A hub may repeat a request: each id is passed once. A request that is old, comes from the
    future or comes too fast is refused. Whether the order is wise is for the gate behind this node to judge.
    """

    request = In(OutsideOrder, policy="drop_oldest", n=1000, many=True, doc="Requests, from a topic of a hub.")
    order = Out(OrderRequest, doc="Requests that are in order, for a risk gate.")
    refused = Out(GateVerdict, optional=True, doc="One per refused request, with the rule and its numbers.")

    instruments: list[str] = param(doc="Instruments that may be asked for, as in ETH-USDT-PERP.")
    prefix: str = param("out", doc="First part of every client order id: 1 to 5 letters, digits or _.")
    max_age_s: float = param(5.0, unit="s", exclusiveMinimum=0, doc="Age at which a request is not acted on.")
    requests_per_s: float = param(2.0, unit="1/s", exclusiveMinimum=0, doc="Sustained rate of orders, and of cancels.")
    request_burst: float = param(5.0, minimum=1, unit="1", doc="Orders, and cancels, that may come at once.")

    passed: dict[str, str] = state(factory=dict, doc="Instrument by client order id, of what was passed.")
    orders: MessageRate = state(factory=MessageRate, doc="Orders of late.")
    cancels: MessageRate = state(factory=MessageRate, doc="Cancels of late.")
    refusals: int = state(0, doc="Requests refused so far.")

    refused_requests: float | None = metric(unit="1", doc="Requests refused since the run began.")

    def start(self) -> None:
        if not PREFIX.fullmatch(self.prefix):
            raise ValueError(f"prefix {self.prefix!r} must be 1 to 5 letters, digits or _")
        for rate in (self.orders, self.cancels):
            rate.rate_per_s, rate.burst = self.requests_per_s, self.request_burst
        self.max_age_ns = round(self.max_age_s * NS_PER_S)
        self.refused_requests = float(self.refusals)

    def on_request(self, request: OutsideOrder) -> None:
        placing = request.action == "place"
        order_id = f"{self.prefix}-{request.client}-{request.request_id}"
        breach = self._breach(request, order_id)
        if breach is None:
            rate = self.orders if placing else self.cancels
            breach = rate.check(self.now_ns)
            if breach is None:
                rate.spend(self.now_ns)
        if breach is not None:
            self._refuse(request, order_id, *breach)
            return
        if placing:
            self._remember(order_id, request.instrument)
        self.order(
            action=request.action,
            client_order_id=order_id,
            instrument=request.instrument,
            event_time_ns=self.now_ns,
            side=request.side or "buy",  # a cancel has no side
            price=request.price,
            size=request.size,
            time_in_force=request.time_in_force,
            post_only=request.post_only,
            reason=f"{request.client}: {request.reason}"[:LONGEST_REASON],
        )

    def _breach(self, request: OutsideOrder, order_id: str) -> Breach | None:
        if not (CLIENT.fullmatch(request.client) and REQUEST_ID.fullmatch(request.request_id)):
            return "ids", "client and request_id are 1 to 12 and 1 to 16 letters, digits or _"
        if request.instrument not in self.instruments:
            return "instrument", f"{request.instrument[:40]!r} is none of {', '.join(self.instruments)}"
        age_ns = self.now_ns - request.event_time_ns
        if abs(age_ns) > self.max_age_ns:
            age_s = max(-FAR_NS, min(age_ns, FAR_NS)) / NS_PER_S
            return "age", f"asked {age_s:.3f} s ago, at most {self.max_age_s:g} s either way"
        if request.action == "cancel":
            if self.passed.get(order_id) != request.instrument:
                return "unknown_order", f"no order {order_id} in {request.instrument} was passed"
            return None
        if order_id in self.passed:
            return "duplicate", f"{order_id} was passed before"
        if not request.side:
            return "well_formed", "an order to place needs a side"
        for name, value in (("price", request.price), ("size", request.size)):
            if not _is_plausible(value):
                return "well_formed", f"{name} {str(value)[:30]} must be finite, above 0 and of a plausible magnitude"
        return None

    def _remember(self, order_id: str, instrument: str) -> None:
        self.passed[order_id] = instrument
        if len(self.passed) > MOST_REMEMBERED:
            del self.passed[next(iter(self.passed))]

    def _refuse(self, request: OutsideOrder, order_id: str, rule: str, detail: str) -> None:
        self.refusals += 1
        self.refused_requests = float(self.refusals)
        if self.refusals.bit_count() == 1:  # the 1st, 2nd, 4th, ...: whoever floods us does not flood the log
            text = "request %.40r of %.40r refused (%s): %s; %d refused so far"
            self.log.warning(text, request.request_id, request.client, rule, detail, self.refusals)
        self.refused(
            verdict_id=f"{self.id}-{self.refusals}",
            request_id=order_id[:64],
            event_time_ns=self.now_ns,
            passed=False,
            rule=rule,
            detail=detail,
        )


def _is_plausible(value: Decimal) -> bool:
    if not (value.is_finite() and value > 0):
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= SMALLEST_POWER and value.adjusted() <= LARGEST_POWER
