"""Estimate volatility from prices that are irregular in time."""

from __future__ import annotations

from math import expm1, log

from engine import NS_PER_S, In, Node, Out, param
from engine import state as kept
from nodes._lib.calibration import annualised, ewma_variance
from nodes.messages import PoolState, Volatility


class EwmaVolatility(Node):
    """Annualised volatility of log prices, exponentially weighted in time.

    One observation per block, at its last event; the returns inside a block are noise that arbitrage undoes. A quiet
    hour counts as an hour without movement. The weights seen so far sum to 1 − 2^(−age/half life), by which the mean is
    divided: a young estimate is not biased towards zero. `warm` tells when it may be trusted.
    """

    price = In(PoolState, policy="block", doc="Price observations, irregular in time.")
    value = Out(Volatility, doc="One per observation, from the second on.")

    half_life_s: float = param(3600.0, unit="s", exclusiveMinimum=0, doc="The weight of a return halves in this time.")
    warm_up_s: float = param(900.0, unit="s", minimum=0, doc="Time to be seen before the estimate counts as warm.")
    sample_s: float = param(
        0.0, unit="s", minimum=0, doc="Shortest time between two observations; above 0 damps noise of single trades."
    )

    last_price: float = kept(0.0, doc="Price of the last observation.")
    last_ns: int = kept(0, doc="Time of the last observation.")
    first_ns: int = kept(0, doc="Time of the first observation.")
    variance: float = kept(0.0, doc="Weighted sum of variance rates, 1/s; its weights sum to less than 1.")

    def start(self) -> None:
        self._decay = -log(2) / (self.half_life_s * NS_PER_S)  # per ns
        self._settled_ns = 50 * self.half_life_s * NS_PER_S  # from here on the weights sum to 1 in float64
        self._sample_ns = max(1, round(self.sample_s * NS_PER_S))
        self._warm_ns = round(self.warm_up_s * NS_PER_S)

    def on_price(self, state: PoolState) -> None:
        if not state.block_closed:
            return
        now, price = state.event_time_ns, state.price
        if not self.last_price:
            self.last_price, self.last_ns, self.first_ns = price, now, now
            return
        passed = now - self.last_ns
        if passed < self._sample_ns:
            return  # the same instant: the next return spans it
        r = log(price / self.last_price)
        self.variance = variance = ewma_variance(self.variance, r, passed * 1e-9, self.half_life_s)
        self.last_price, self.last_ns = price, now
        age = now - self.first_ns
        if age < self._settled_ns:
            variance /= -expm1(self._decay * age)
        self.value.whole(Volatility(now, annualised(variance), price, age >= self._warm_ns))
