"""Choose a liquidity range by Avellaneda and Stoikov's quotes."""

from __future__ import annotations

from engine import param
from nodes._lib.avellaneda_stoikov import quote_distances
from nodes._lib.range_model import RangeModel


class AvellanedaStoikovRange(RangeModel):
    """A range that leans as Avellaneda and Stoikov's quotes do: away from what is held too much of.

    Their volatility is arithmetic (price per √s, here v·P), and their horizon rolls: there is always `horizon_s` left.
    Inventory is the net exposure in base units, one unit per fill. See `nodes/_lib/range_model.py` for the width.
    """

    horizon_s: float = param(3_600.0, unit="s", exclusiveMinimum=0, doc="Time over which inventory is at risk.")

    def distances(self, price: float, q: float, sigma: float) -> tuple[float, float]:
        return quote_distances(q, gamma=self.gamma, k=self.k, sigma=sigma, time_left=self.horizon_s)
