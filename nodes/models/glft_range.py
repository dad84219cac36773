"""Choose a liquidity range by the quotes of Guéant, Lehalle and Fernandez-Tapia."""

from __future__ import annotations

from engine import param
from nodes._lib.glft import Market, closed_form
from nodes._lib.range_model import RangeModel


class GlftRange(RangeModel):
    """A range that leans as the stationary quotes of Guéant (2017) do: linear in exposure, without a horizon.

    Volatility is arithmetic (price per √s, here v·P), `A` counts fills per second, `lot` is the size of one fill, and
    ξ = γ (model A). See `nodes/_lib/range_model.py` for the width.
    """

    A: float = param(0.1, unit="1/s", exclusiveMinimum=0, doc="Fills per second at distance 0, on each side.")
    lot: float = param(0.1, unit="base", exclusiveMinimum=0, doc="Size of one fill.")
    cost: float = param(0.0, unit="price", doc="Cost of each fill beside the quote: fees, adverse moves; rebate < 0.")

    def distances(self, price: float, q: float, sigma: float) -> tuple[float, float]:
        market = Market(A=self.A, k=self.k, gamma=self.gamma, sigma=sigma, lot=self.lot, cost=self.cost)
        return closed_form(market).distances(q)
