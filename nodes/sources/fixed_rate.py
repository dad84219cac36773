"""A conversion rate that is declared, not observed."""

from __future__ import annotations

from engine import NS_PER_S, Node, Out, param
from nodes.messages import Conversion


class FixedRate(Node):
    """Send a constant conversion rate, again every `period_s`, each valid for `ttl_s`.

    For histories in which two currencies are taken to be worth the same. It hides a break of a stablecoin's peg: live
    topologies use an observed rate.
    """

    rate = Out(Conversion, doc="The rate, at the start and each period.")

    currency: str = param(doc="Currency that is converted, as in USDT.")
    into: str = param("USD", doc="Currency into which it is converted.")
    value: float = param(1.0, unit="into/currency", exclusiveMinimum=0, doc="Units of `into` per unit of `currency`.")
    period_s: float = param(3_600.0, unit="s", exclusiveMinimum=0, doc="Time between two sendings.")
    ttl_s: float = param(7_200.0, unit="s", exclusiveMinimum=0, doc="Time for which each is valid.")

    def start(self) -> None:
        if self.ttl_s <= self.period_s:
            raise ValueError(
                f"ttl_s {self.ttl_s:g} must be above period_s {self.period_s:g}, or the rate expires between"
            )
        self.after(0.0, self.send)
        self.every(self.period_s, self.send)

    def send(self) -> None:
        """Send the rate once."""
        now_ns = self.now_ns
        self.rate(
            currency=self.currency,
            into=self.into,
            event_time_ns=now_ns,
            rate=self.value,
            expires_ns=now_ns + round(self.ttl_s * NS_PER_S),
        )
