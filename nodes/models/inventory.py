"""Publish the LP's inventory against its target, as a level."""

from __future__ import annotations

from decimal import Decimal
from math import sqrt

from engine import NS_PER_S, In, Node, Out, param
from nodes.messages import Conversion, InventoryDelta, LpState, Volatility


class Inventory(Node):
    """Turn what the LP holds into the inventory delta that a hedger works from.

    delta = base in positions at this price + uncollected base fees + wrapped and native base above the gas reserve −
    `base_target`, in whole wei. Burning, collecting and minting move base between these parts and leave the sum as it
    is; swaps and fees change it (and gas, where it is paid from native coin above the reserve).
    """

    lp = In(LpState, policy="conflate", doc="What the LP holds.")
    vol = In(Volatility, policy="conflate", optional=True, doc="Passed on to readers.")
    rate = In(Conversion, policy="conflate", optional=True, doc="Quote into USD, for the values in USD.")
    delta = Out(InventoryDelta, doc="When the level has changed, and at least each `refresh_s`.")

    source: str = param(doc="Name of this inventory as chain:pool:wallet; readers keep one level per name.")
    base_target: Decimal = param(Decimal(0), unit="base", doc="Base that is wanted; 0 when all is to be hedged.")
    gas_reserve: Decimal = param(Decimal(0), minimum=0, unit="base", doc="Native base that is for gas, not inventory.")
    valid_blocks: int = param(25, unit="blocks", minimum=1, doc="Blocks after which a level is not to be acted on.")
    refresh_s: float = param(60.0, unit="s", exclusiveMinimum=0, doc="Longest time between two messages.")
    usd_per_quote: float = param(1.0, unit="USD", exclusiveMinimum=0, doc="Rate to use where no rate is wired.")

    def start(self) -> None:
        # A restart must be seen as a new writer, so neither is journaled.
        self._epoch = self.now_ns
        self._sequence = 0
        self._volatility = 0.0
        self._rate: Conversion | None = None
        self._last: tuple[int, int, str, int] | None = None
        self._last_ns = 0
        self._refresh_ns = round(self.refresh_s * NS_PER_S)
        self._units: tuple[int, int, float, float] | None = None

    def on_vol(self, vol: Volatility) -> None:
        self._volatility = vol.annualised if vol.warm else 0.0

    def on_rate(self, rate: Conversion) -> None:
        self._rate = rate

    def on_lp(self, lp: LpState) -> None:
        if not lp.block_closed:
            return
        if self._units is None:
            self._units = self._units_of(lp)
        target, reserve, base_unit, quote_unit = self._units
        held = base_fees = 0
        quote = lp.wallet_quote
        for position in lp.positions:
            held += position.base_amount
            base_fees += position.base_fees
            quote += position.quote_amount + position.quote_fees
        spare = lp.native_base - reserve
        wallet = lp.wallet_base + spare if spare > 0 else lp.wallet_base
        total = held + base_fees + wallet
        level = (total, lp.pending_base_change, lp.pending, len(lp.positions))
        now = self.now_ns
        if level == self._last and now - self._last_ns < self._refresh_ns:
            return
        self._last, self._last_ns = level, now
        self._sequence += 1
        usd = self._usd_per_quote(now)
        price = lp.price
        base_value, quote_total = total * base_unit * price, quote * quote_unit
        value = base_value + quote_total
        ratio = target_ratio = 0.0
        if value > 0:
            ratio, target_ratio = base_value / value, target * base_unit * price / value
        # By position: this is sent at nearly each block, and naming 27 fields would double its cost.
        self.delta.whole(
            InventoryDelta(
                self.source,
                lp.pool,
                lp.event_time_ns,
                lp.block,
                lp.block_hash,
                lp.block + self.valid_blocks,
                self._epoch,
                self._sequence,
                total - target,
                (total - target) * base_unit,
                target * base_unit,
                held * base_unit,
                base_fees * base_unit,
                wallet * base_unit,
                quote_total,
                lp.pending_base_change * base_unit,
                price,
                sqrt(price),
                lp.positions,
                value * usd,
                usd,
                ratio,
                target_ratio,
                ratio - target_ratio,
                self._volatility,
                lp.pending != "",
                f"command {lp.pending} is in flight" if lp.pending else "",
            )
        )

    def _units_of(self, lp: LpState) -> tuple[int, int, float, float]:
        """Return target and reserve in wei, and the value of one wei of base and of quote in human units."""
        scale = 10**lp.base_decimals
        return (
            int(self.base_target * scale),
            int(self.gas_reserve * scale),
            10.0**-lp.base_decimals,
            10.0**-lp.quote_decimals,
        )

    def _usd_per_quote(self, now: int) -> float:
        """Return the rate for values in USD; 0 when the wired rate has expired, so that no old value is shown."""
        rate = self._rate
        if rate is None:
            return self.usd_per_quote
        return rate.rate if now <= rate.expires_ns else 0.0
