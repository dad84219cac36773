"""Hedger, gate, venue and net exposure joined by hand in one host."""

from __future__ import annotations

from typing import Any

from support.markets import PERP

from engine.clock import Clock, seconds_to_ns
from engine.message import Message
from engine.node import Node
from engine.run.host import Host
from engine.run.port import Port
from nodes.hedgers.passive import PassiveHedger
from nodes.messages import Book, InventoryDelta, Trade
from nodes.models.net_exposure import NetExposureModel
from nodes.risk.gate import RiskGate
from nodes.venues.sim.exchange import SimulatedExchange

WIRES = [
    ("net.exposure", "hedger.exposure"),
    ("net.exposure", "gate.exposure"),
    ("hedger.order", "gate.order"),
    ("gate.approved", "venue.order"),
    ("gate.verdict", "hedger.verdict"),
    ("venue.position", "net.position"),
    ("venue.fill", "net.fill"),
    ("venue.update", "gate.update"),
    ("venue.update", "hedger.update"),
]
MARKET = {"instrument": PERP, "tick_size": "0.1", "lot_size": "0.01"}


class Desk:
    """The loop around one venue. `log` holds everything that was sent, as (time in ns, node.port, message)."""

    def __init__(
        self,
        *,
        hedger: dict[str, Any] | None = None,
        gate: dict[str, Any] | None = None,
        venue: dict[str, Any] | None = None,
    ) -> None:
        self.host = Host(Clock(0), seed=1)
        self.log: list[tuple[int, str, Message]] = []
        self._add("net", NetExposureModel, {"instruments": (PERP,)})
        self._add("hedger", PassiveHedger, {**MARKET, "max_order_size": "2", "band_base": 0.5, **(hedger or {})})
        limits = {"max_order_size": "2", "max_order_value": "10000", "max_net_base": 20}
        self._add("gate", RiskGate, {**MARKET, **limits, **(gate or {})})
        self._add("venue", SimulatedExchange, {**MARKET, **(venue or {})})
        for source, target in WIRES:
            from_node, from_port = source.split(".")
            to_node, to_port = target.split(".")
            self.host.wire((from_node, from_port), (to_node, to_port))
        self.market = Port("feed", "book", Book)
        self.trades = Port("feed", "trade", Trade)
        self.lp = Port("lp", "delta", InventoryDelta)
        for node_id, name in (("venue", "book"), ("hedger", "book"), ("gate", "book")):
            node = self.host.nodes[node_id]
            self.market.join(self.host.reader(node, name), node)
        self.trades.join(self.host.reader(self.host.nodes["venue"], "trade"), self.host.nodes["venue"])
        self.lp.join(self.host.reader(self.host.nodes["net"], "lp"), self.host.nodes["net"])
        self.host.start()

    def _add(self, node_id: str, cls: type[Node], params: dict[str, Any]) -> None:
        values = {name: cls.spec.params[name].convert(value) for name, value in params.items()}
        self.host.add(node_id, cls, values)
        for source in list(self.host.ports):
            if source[0] == node_id:
                name = ".".join(source)
                self.host.tap(
                    source, lambda message, name=name: self.log.append((self.host.clock.now_ns, name, message))
                )

    def send(self, at_s: float, message: Book | Trade | InventoryDelta) -> None:
        """Make the calls that are due before `at_s`, then deliver a message."""
        now_ns = seconds_to_ns(at_s)
        self.host.call_due(now_ns)
        self.host.clock.now_ns = now_ns
        port = {Book: self.market, Trade: self.trades, InventoryDelta: self.lp}[type(message)]
        self.host.inject(port, message)

    def stop(self) -> None:
        for node_id in ("net", "hedger", "gate", "venue"):
            self.host.call(self.host.nodes[node_id], "stop", ())

    def sent(self, source: str) -> list[Any]:
        return [message for _, name, message in self.log if name == source]

    @property
    def net_base(self) -> float | None:
        return self.sent("net.exposure")[-1].net_base
