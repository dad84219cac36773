"""Publish the LP's inventory against its target, as a level."""

from __future__ import annotations

from decimal import Decimal
from math import sqrt

from engine import NS_PER_S, In, Node, Out, metric, param, state
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
    delta = Out(InventoryDelta, doc="When the level has changed by more than `step`, and at least each `refresh_s`.")

    source: str = param(doc="Name of this inventory as chain:pool:wallet; readers keep one level per name.")
    base_target: Decimal = param(Decimal(0), unit="base", doc="Base that is wanted; 0 when all is to be hedged.")
    gas_reserve: Decimal = param(Decimal(0), minimum=0, unit="base", doc="Native base that is for gas, not inventory.")
    valid_blocks: int = param(25, unit="blocks", minimum=1, doc="Blocks after which a level is not to be acted on.")
    refresh_s: float = param(60.0, unit="s", exclusiveMinimum=0, doc="Longest time between two messages.")
    step: Decimal = param(Decimal(0), unit="base", minimum=0, doc="Change of the delta that can wait for `refresh_s`.")
    usd_per_quote: float = param(1.0, unit="USD", exclusiveMinimum=0, doc="Rate to use where no rate is wired.")

    epoch: int = state(0, doc="Time at which this writer began, ns.")
    sequence: int = state(0, doc="Messages sent in this epoch.")
    volatility: float = state(0.0, doc="The last volatility that was warm; 0 when unknown.")
    last_rate: Conversion | None = state(None, doc="The last rate into USD.")
    level: tuple[int, int, str, int] | None = state(
        None, doc="What was sent last: base, change and id in flight, positions."
    )
    level_ns: int = state(0, doc="When it was sent.")

    value_usd: float | None = metric(unit="USD", doc="Value of all base and quote.")
    ratio: float | None = metric(unit="1", doc="Share of that value which is in base.")

    def start(self) -> None:
        self.epoch = self.epoch or self.now_ns
        self._refresh_ns = round(self.refresh_s * NS_PER_S)
        self._units: tuple[int, int, int, float, float] | None = None

    def resume(self) -> None:
        # What was sent after the last checkpoint is not known: readers must see a new writer, and soon.
        self.epoch, self.sequence, self.level = self.now_ns, 0, None

    def on_vol(self, vol: Volatility) -> None:
        self.volatility = vol.annualised if vol.warm else 0.0

    def on_rate(self, rate: Conversion) -> None:
        self.last_rate = rate

    def on_lp(self, lp: LpState) -> None:
        if not lp.block_closed:
            return
        if self._units is None:
            self._units = self._units_of(lp)
        target, reserve, step, base_unit, quote_unit = self._units
        held = base_fees = 0
        quote = lp.wallet_quote
        for position in lp.positions:
            held += position.base_amount
            base_fees += position.base_fees
            quote += position.quote_amount + position.quote_fees
        spare = lp.native_base - reserve
        wallet = lp.wallet_base + spare if spare > 0 else lp.wallet_base
        delta = held + base_fees + wallet - target
        level = (delta, lp.pending_base_change, lp.pending, len(lp.positions))
        now, before = self.clock.now_ns, self.level
        is_near = before is not None and -step <= delta - before[0] <= step and level[1:] == before[1:]
        if is_near and now - self.level_ns < self._refresh_ns:
            return
        self.level, self.level_ns = level, now
        self.sequence += 1
        usd = self.usd_per_quote if self.last_rate is None else self._usd_per_quote(now)
        price, delta_base, wanted = lp.price, delta * base_unit, target * base_unit
        quote_total = quote * quote_unit
        base_value = (delta_base + wanted) * price
        value = base_value + quote_total
        ratio = target_ratio = 0.0
        if value > 0:
            ratio, target_ratio = base_value / value, wanted * price / value
        self.value_usd, self.ratio = value * usd, ratio
        # By position: this is sent at nearly each block, and naming 27 fields would double its cost.
        self.delta.whole(
            InventoryDelta(
                self.source,
                lp.pool,
                lp.event_time_ns,
                lp.block,
                lp.block_hash,
                lp.block + self.valid_blocks,
                self.epoch,
                self.sequence,
                delta,
                delta_base,
                wanted,
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
                self.volatility,
                lp.pending != "",
                f"command {lp.pending} is in flight" if lp.pending else "",
            )
        )

    def _units_of(self, lp: LpState) -> tuple[int, int, int, float, float]:
        """Return target, reserve and step in wei, and the value of one wei of base and of quote in human units."""
        scale = 10**lp.base_decimals
        return (
            int(self.base_target * scale),
            int(self.gas_reserve * scale),
            int(self.step * scale),
            10.0**-lp.base_decimals,
            10.0**-lp.quote_decimals,
        )

    def _usd_per_quote(self, now: int) -> float:
        """Return the rate for values in USD; 0 when the wired rate has expired, so that no old value is shown."""
        rate = self.last_rate
        if rate is None:
            return self.usd_per_quote
        return rate.rate if now <= rate.expires_ns else 0.0
