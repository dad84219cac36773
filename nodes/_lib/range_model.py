"""The common part of nodes that turn a quoting model into a liquidity range."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Literal

from engine import NS_PER_S, In, Node, Out, param
from engine import state as kept
from nodes._lib.range_width import carry, carry_half_width, fees_pay
from nodes._lib.ranges import match_execution, widen, wider
from nodes.messages import NetExposure, PoolState, RangeTarget, Volatility

SECONDS_PER_YEAR = 31_536_000
NOWHERE = (1.0, 0.0)
"""Bounds between which no price lies."""


class RangeModel(Node):
    """Base of range models: a subclass gives the model's quote distances, everything else is here.

    Asymmetry comes from the model: its bid and ask distances at the net exposure (LP and hedge together), matched to
    the mean execution prices of a range. Width comes from what the pool pays: the half width at which fees less LVR
    less the cost of moving are greatest, from the fees seen lately and the volatility. The wider of both is taken, end
    by end (or the model's alone, by `width`), and kept between `min_half_width_bps` and `max_half_width_bps`.

    While the exposure is unknown the range is symmetric (exposure 0): a skew from a number that nobody vouches for
    could only add to it. Nothing is sent before the volatility is warm.

    With `estimate` the target also says what it is expected to earn, and to stay out while fees do not pay for LVR.
    """

    pool = In(PoolState, policy="block", doc="Price and flow of the pool.")
    vol = In(Volatility, policy="conflate", doc="Volatility of the price.")
    exposure = In(NetExposure, policy="conflate", doc="Net exposure over LP and hedge.")
    target = Out(RangeTarget, doc="The range to be in now; when price, exposure or volatility have changed enough.")

    fee: int = param(enum=(100, 500, 3000, 10000), unit="hundredths of a bip", doc="Fee of the pool.")
    base_decimals: int = param(18, minimum=0, maximum=36, unit="1", doc="Decimals of the base token.")
    quote_decimals: int = param(6, minimum=0, maximum=36, unit="1", doc="Decimals of the quote token.")
    gamma: float = param(0.01, unit="1/quote", exclusiveMinimum=0, doc="Absolute risk aversion; higher leans more.")
    k: float = param(1.0, unit="1/price", exclusiveMinimum=0, doc="Decay of fill odds with distance from the price.")
    max_exposure: float = param(100.0, unit="base", exclusiveMinimum=0, doc="Exposure beyond which leaning stops.")
    width: Literal["wider", "model"] = param(
        "wider", doc="Whose width: the wider of the model's and of what fees pay for; or the model's alone."
    )
    min_half_width_bps: float = param(50.0, unit="bps", exclusiveMinimum=0, doc="Least distance of an end.")
    max_half_width_bps: float = param(2_000.0, unit="bps", exclusiveMinimum=0, doc="Greatest distance of an end.")
    move_cost_bps: float = param(10.0, unit="bps", minimum=0, doc="Cost of one rebalance as a part of the capital.")
    move_at: float = param(
        0.6, unit="1", exclusiveMinimum=0, maximum=1, doc="Part of the half width after which a range is moved."
    )
    flow_half_life_s: float = param(
        3_600.0, unit="s", exclusiveMinimum=0, doc="Memory of the pool's fee income; best that of the volatility."
    )
    min_volatility: float = param(0.05, unit="1/sqrt(year)", exclusiveMinimum=0, doc="Least volatility to believe.")
    estimate: bool = param(
        False, doc="Whether to estimate fees less LVR, and to advise to stay out while fees do not pay for it."
    )
    return_margin: float = param(
        0.2, minimum=0, unit="1", doc="Part of LVR by which fees must exceed it before a range is advised again."
    )
    refresh_bps: float = param(20.0, unit="bps", minimum=0, doc="Move of the price that asks for a new range.")
    refresh_exposure: float = param(0.25, unit="base", minimum=0, doc="Change of exposure that asks for one.")
    refresh_volatility: float = param(0.2, minimum=0, unit="1", doc="Relative change of volatility that does.")

    flow: float = kept(0.0, doc="Quote value paid in per L since the last range, contract units of L.")
    fee_yield: float = kept(0.0, doc="Weighted sum of fees over L·√P, per s; its weights sum to less than 1.")
    first_ns: int = kept(0, doc="Time of the first state of the pool.")
    flow_ns: int = kept(0, doc="Time up to which the flow is in the yield.")
    last_vol: Volatility | None = kept(None, doc="The last volatility.")
    net: float = kept(0.0, doc="Net exposure, 0 while it is unknown, base.")
    used: tuple[float, float, float] = kept((0.0, 0.0, 0.0), doc="Price, exposure and volatility of the last range.")
    out: bool = kept(False, doc="Whether the last advice was to stay out.")
    stands: tuple[float, float] = kept(NOWHERE, doc="Lowest and highest price at which the last range still stands.")

    def start(self) -> None:
        if self.min_half_width_bps > self.max_half_width_bps:
            raise ValueError(
                f"min_half_width_bps {self.min_half_width_bps:g} is above max_half_width_bps "
                f"{self.max_half_width_bps:g}: swap or equal them"
            )
        self._base_unit, self._quote_unit = 10.0**-self.base_decimals, 10.0**-self.quote_decimals
        # L counts √(base·quote) in smallest units.
        self._liquidity_unit = sqrt(self._base_unit * self._quote_unit)
        self._fee = self.fee / 1_000_000

    def distances(self, price: float, q: float, sigma: float) -> tuple[float, float]:
        """Return the model's (bid, ask) distances in price, for `q` base units and σ in price per √s."""
        raise NotImplementedError(f"{type(self).__name__} defines distances(price, q, sigma)")

    def on_vol(self, vol: Volatility) -> None:
        self.last_vol = vol
        used = self.used[2]
        if abs(vol.annualised - used) > self.refresh_volatility * used:
            self.stands = NOWHERE

    def on_exposure(self, exposure: NetExposure) -> None:
        net = exposure.net_base
        self.net = 0.0 if net is None else net
        if abs(self.net - self.used[1]) > self.refresh_exposure:
            self.stands = NOWHERE

    def on_pool(self, state: PoolState) -> None:
        price = state.price
        if not self.flow_ns:
            self.first_ns = self.flow_ns = state.event_time_ns
        elif state.liquidity:
            paid = state.quote_in * self._quote_unit + state.base_in * self._base_unit * price
            self.flow += paid / state.liquidity
        low, high = self.stands
        if state.block_closed and not low <= price <= high:
            self._refresh(state)

    def _refresh(self, state: PoolState) -> None:
        vol = self.last_vol
        if vol is None or not vol.warm:
            return
        price, volatility = state.price, max(vol.annualised, self.min_volatility)
        q = min(max(self.net, -self.max_exposure), self.max_exposure)
        bid, ask = self.distances(price, q, volatility / sqrt(SECONDS_PER_YEAR) * price)
        lower, upper = self._range(state, bid, ask, volatility)
        self.used = (price, self.net, vol.annualised)
        band = self.refresh_bps / 10_000
        self.stands = (price * (1 - band), price * (1 + band))
        earns, stay_out = self._judge(state, lower, upper, volatility) if self.estimate else (None, "")
        self.target(
            pool=state.pool,
            event_time_ns=state.event_time_ns,
            price=price,
            lower_price=lower,
            upper_price=upper,
            reservation_price=price + (ask - bid) / 2,
            exposure_base=self.net,
            volatility=volatility,
            carry=earns,
            stay_out=stay_out,
        )

    def _judge(self, state: PoolState, lower: float, upper: float, volatility: float) -> tuple[float, str]:
        """Return what the range earns in a year as a part of its capital, and why to stay out (or an empty text)."""
        fee_yield, variance = self._fee_yield(state), volatility * volatility / SECONDS_PER_YEAR
        half_width = log(upper / lower) / 2
        earns = carry(half_width, fee_yield, variance, 0.0) * SECONDS_PER_YEAR
        self.out = not fees_pay(fee_yield, variance, self.return_margin if self.out else 0.0)
        if not self.out:
            return earns, ""
        fees, lvr = (part / half_width * SECONDS_PER_YEAR for part in (fee_yield, variance / 4))
        return earns, f"fees of {fees:.1%} a year do not pay for LVR of {lvr:.1%}"

    def _range(self, state: PoolState, bid: float, ask: float, volatility: float) -> tuple[float, float]:
        price = state.price
        # A quote further from the price than half of it says no more than "far".
        bid, ask = (min(max(distance, -price / 2), price / 2) for distance in (bid, ask))
        by_edge = match_execution(price, bid, ask, self._fee)
        lean = log(by_edge[1] / price) - log(price / by_edge[0])
        least, most = self.min_half_width_bps / 10_000, self.max_half_width_bps / 10_000
        if self.width == "model":
            return widen(by_edge, price, least, most)
        half = min(max(self._carry_half_width(state, volatility), least), most)
        by_carry = price * exp(lean / 2 - half), price * exp(lean / 2 + half)
        return widen(wider(by_edge, by_carry), price, least, most)

    def _carry_half_width(self, state: PoolState, volatility: float) -> float:
        variance = volatility * volatility / SECONDS_PER_YEAR
        fee_yield = self._fee_yield(state)
        # Moved at a part of the half width, it is moved that much squared more often.
        return carry_half_width(fee_yield, variance, self.move_cost_bps / 10_000 / self.move_at**2)

    def _fee_yield(self, state: PoolState) -> float:
        """Take the flow since the last range into the yield, and return it: fees over L·√P per s, to the LPs."""
        now = state.event_time_ns
        passed = (now - self.flow_ns) / NS_PER_S
        if passed > 0:
            kept_part = 1 - 1 / state.protocol_fee_quote if state.protocol_fee_quote else 1.0
            fees = self.flow / self._liquidity_unit * self._fee * kept_part / sqrt(state.price)
            keep = 0.5 ** (passed / self.flow_half_life_s)
            self.fee_yield = self.fee_yield * keep + (1 - keep) * fees / passed
            self.flow, self.flow_ns = 0.0, now
        weight = 1 - 0.5 ** ((now - self.first_ns) / NS_PER_S / self.flow_half_life_s)
        return self.fee_yield / weight if weight > 0 else 0.0
