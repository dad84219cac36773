"""Decide when liquidity has to move: on the edge of a trigger, never on a level."""

from __future__ import annotations

from itertools import pairwise
from math import log
from typing import ClassVar, Literal

from engine import NS_PER_S, In, Out, param
from engine import state as kept
from nodes._lib.kill_switch import Stoppable
from nodes._lib.range_width import exit_time
from nodes.messages import LpCommand, LpState, PoolState, RangeTarget

DAY_NS = 86_400 * NS_PER_S
YEAR_S = 31_536_000


class Rebalancer(Stoppable):
    """Ask for a new range when the price has moved, a token is used up, the range is left, or nothing is in place.

    Triggers compare with the baseline: price and token amounts at the last mint that the executor has confirmed. A
    crossing fires once; the next can only fire against a new baseline. Nothing fires while a command is under way, nor
    within the minimum interval, nor beyond the day's number and gas. A command of which the executor shows no sign for
    `retry_s` counts as refused on the way, and the trigger may fire again. While the run's kill switch is thrown
    nothing is asked for.

    A target that says to stay out is followed: all liquidity is taken out, and none put in until a target advises a
    range again. With `min_gain` a move is asked for only when it is expected to earn that many times its cost: what the
    target's carry earns in the time by which the new range outlasts the one in place, against gas and the swap.
    """

    stale_actions: ClassVar = {
        "hold": "ask for nothing until the input speaks again",
        "withdraw": "ask for all liquidity to be taken out, until it is; then hold",
    }

    target = In(RangeTarget, policy="conflate", critical=True, doc="The range to take when a trigger fires.")
    pool = In(PoolState, policy="conflate", critical=True, doc="The price that triggers.")
    lp = In(LpState, policy="conflate", critical=True, doc="What the executor holds, confirmed and in flight.")
    command = Out(LpCommand, doc="A rebalance, or a withdrawal.")

    price_threshold_bps: float = param(
        150.0, unit="bps", exclusiveMinimum=0, doc="Move of the price from the baseline that fires."
    )
    depletion_threshold: float = param(
        0.6, unit="1", exclusiveMinimum=0, maximum=1, doc="Part of either token's baseline amount used up that fires."
    )
    min_interval_s: float = param(600.0, unit="s", minimum=0, doc="Shortest time between two rebalances.")
    max_per_day: int = param(24, unit="1/day", minimum=1, doc="Most rebalances in any 24 hours.")
    max_gas_per_day: float = param(
        0.1,
        unit="base",
        exclusiveMinimum=0,
        doc="Most gas in 24 hours; the next may cost what the dearest of late did.",
    )
    min_gain: float = param(
        0.0, minimum=0, unit="1", doc="Least expected gain of a move as a multiple of its cost; 0: not asked."
    )
    swap_cost_bps: float = param(
        0.0, minimum=0, unit="bps", doc="Cost of the swap of one move as a part of the capital, for `min_gain`."
    )
    first_gas: float = param(
        0.0, minimum=0, unit="base", doc="Gas of one move while none has been paid, for `min_gain`."
    )
    retry_s: float = param(60.0, unit="s", exclusiveMinimum=0, doc="Wait for a sign of a command before it is lost.")

    baseline_price: float = kept(0.0, doc="Price at the last confirmed mint; 0 before the first.")
    baseline_base: int = kept(0, doc="Base in positions at the last confirmed mint.")
    baseline_quote: int = kept(0, doc="Quote in positions at the last confirmed mint.")
    lower_price: float = kept(0.0, doc="Lower end of the range in place.")
    upper_price: float = kept(0.0, doc="Upper end of the range in place.")
    sequence: int = kept(0, doc="Commands sent.")
    sent: LpCommand | None = kept(None, doc="The command that the executor has not confirmed.")
    confirmed: str = kept("", doc="Last confirmed command seen.")
    fired_ns: list[int] = kept(factory=list, doc="Times of the rebalances of the last 24 hours.")
    gas_before: list[int] = kept(factory=list, doc="Gas paid in all before each of them, smallest unit of base.")
    silent: list[str] = kept(factory=list, doc="Inputs that are stale.")
    last_target: RangeTarget | None = kept(None, doc="The range to take.")
    last_lp: LpState | None = kept(None, doc="What the executor holds.")
    last_price: float = kept(0.0, doc="Price of the pool at the last block's end; 0 before the first.")
    withdrawal: str = kept("", doc="Why all liquidity is to be out; empty when it is not.")

    def start(self) -> None:
        self._threshold = self.price_threshold_bps / 10_000
        self._interval_ns = round(self.min_interval_s * NS_PER_S)
        self._retry_ns = round(self.retry_s * NS_PER_S)

    # --- what comes in ----------------------------------------------------------------------------------------

    def on_target(self, target: RangeTarget) -> None:
        before, self.last_target = self.last_target, target
        if target.stay_out:
            if not self.withdrawal:
                self._withdraw(target.stay_out)
            return
        if not self.silent:
            self.withdrawal = ""
        if before is None or before.stay_out:
            self._start_position()

    def on_pool(self, state: PoolState) -> None:
        if not state.block_closed:
            return  # a price inside a block can be made and undone at no risk
        self.last_price = state.price
        baseline = self.baseline_price
        if not baseline:
            self._start_position()
            return
        price = self.last_price
        if abs(price - baseline) > baseline * self._threshold:
            if not self._may_fire():
                return
            move = (price / baseline - 1) * 10_000
            self._fire(f"price moved {move:+.0f} bps from {baseline:.6g}")
        elif self.upper_price and not self.lower_price <= price <= self.upper_price:
            self._fire(f"price {price:.6g} is out of range {self.lower_price:.6g} to {self.upper_price:.6g}")

    def on_lp(self, lp: LpState) -> None:
        self.last_lp = lp
        if lp.confirmed != self.confirmed:
            self._settle(lp)
            if self.withdrawal:  # what was minted since it was asked for
                self._withdraw(self.withdrawal)
        if not lp.positions:
            self._start_position()
            return
        base = quote = 0
        for position in lp.positions:
            base += position.base_amount
            quote += position.quote_amount
        threshold = self.depletion_threshold
        if self.baseline_base - base > threshold * self.baseline_base:
            self._fire(f"base is used up by {1 - base / self.baseline_base:.0%} of its baseline")
        elif self.baseline_quote - quote > threshold * self.baseline_quote:
            self._fire(f"quote is used up by {1 - quote / self.baseline_quote:.0%} of its baseline")

    def _settle(self, lp: LpState) -> None:
        """Take over what a confirmed command has left as the new baseline."""
        self.confirmed = lp.confirmed
        if self.sent is not None and self.sent.command_id == lp.confirmed:
            self.lower_price, self.upper_price = self.sent.lower_price, self.sent.upper_price
            self.sent = None
        self.baseline_price = lp.price if lp.positions else 0.0
        self.baseline_base = sum(position.base_amount for position in lp.positions)
        self.baseline_quote = sum(position.quote_amount for position in lp.positions)

    def _start_position(self) -> None:
        if self.last_lp is not None and not self.last_lp.positions:
            self._fire("no position is open")

    # --- what goes out ----------------------------------------------------------------------------------------

    def _may_fire(self) -> bool:
        lp = self.last_lp
        if self.last_target is None or lp is None or self.silent or self.killed or self.last_target.stay_out:
            return False
        return not self._under_way(lp) and self._allowed(lp, self.now_ns)

    def _fire(self, reason: str) -> None:
        target, lp, now = self.last_target, self.last_lp, self.now_ns
        if target is None or lp is None or not self._may_fire() or not self._pays(target, lp):
            return
        self.fired_ns.append(now)
        self.gas_before.append(lp.gas_base)
        # The target may be one state old: its widths are advice, its centre is now.
        moved = (self.last_price or target.price) / target.price
        self._ask("rebalance", target.lower_price * moved, target.upper_price * moved, reason)

    def _pays(self, target: RangeTarget, lp: LpState) -> bool:
        """Return whether the move is expected to earn enough for its cost (`min_gain`)."""
        if not self.min_gain:
            return True
        if target.carry is None:
            raise ValueError(
                f"min_gain of {self.id!r} needs a target with an expected carry: set estimate: true in the range model"
            )
        price, unit = self.last_price or target.price, 10.0**-lp.base_decimals
        variance = target.volatility**2 / YEAR_S
        outlasts = exit_time(log(target.price / target.lower_price), log(target.upper_price / target.price), variance)
        if lp.positions and self.lower_price < price < self.upper_price:
            outlasts -= exit_time(log(price / self.lower_price), log(self.upper_price / price), variance)
        base = lp.wallet_base + sum(each.base_amount + each.base_fees for each in lp.positions)
        quote = lp.wallet_quote + sum(each.quote_amount + each.quote_fees for each in lp.positions)
        capital = base * unit * price + quote * 10.0**-lp.quote_decimals
        gas = self._dearest(lp) * unit or self.first_gas
        cost = gas * price + self.swap_cost_bps / 1e4 * capital
        return target.carry / YEAR_S * outlasts * capital >= self.min_gain * cost

    def _under_way(self, lp: LpState) -> bool:
        if lp.pending:
            return True
        if self.sent is None:
            return False
        return self.now_ns - self.sent.event_time_ns < self._retry_ns

    def _allowed(self, lp: LpState, now: int) -> bool:
        fired, gas = self.fired_ns, self.gas_before
        # The newest stays whatever its age: from it the cost of the next is known.
        while len(fired) > 1 and fired[0] <= now - DAY_NS:
            del fired[0], gas[0]
        if not fired:
            return True
        if now - fired[-1] < self._interval_ns:
            return False
        recent = fired[0] > now - DAY_NS
        if recent and len(fired) >= self.max_per_day:
            return False
        spent = lp.gas_base - gas[0] if recent else 0
        return bool(spent + self._dearest(lp) <= self.max_gas_per_day * 10**lp.base_decimals)

    def _dearest(self, lp: LpState) -> int:
        # A refused command costs nothing; the next may cost what the dearest of late has.
        return max((after - before for before, after in pairwise([*self.gas_before, lp.gas_base])), default=0)

    def _ask(self, action: Literal["rebalance", "withdraw"], lower: float, upper: float, reason: str) -> None:
        lp = self.last_lp
        assert lp is not None
        self.sequence += 1
        self.sent = LpCommand(
            command_id=f"{self.id}-{self.now_ns // NS_PER_S}-{self.sequence}",
            pool=lp.pool,
            action=action,
            event_time_ns=self.now_ns,
            price=self.last_price or lp.price,
            lower_price=lower,
            upper_price=upper,
            reason=reason,
        )
        self.command.whole(self.sent)

    # --- silence ----------------------------------------------------------------------------------------------

    def input_stale(self, name: str, action: str) -> None:
        self.silent = [*self.silent, name]
        if action == "withdraw" and not self.withdrawal:
            self._withdraw(f"input {name} is silent")

    def _withdraw(self, reason: str) -> None:
        self.withdrawal = reason
        self.cancel(self.insist)
        self.insist()

    def insist(self) -> None:
        """Ask for the withdrawal, and again each `retry_s` while it is wanted and not done."""
        lp = self.last_lp
        if not self.withdrawal or lp is None or not (lp.positions or lp.pending):
            return
        if not lp.pending and not self.killed:
            self._ask("withdraw", 0.0, 0.0, self.withdrawal)
        self.after(self.retry_s, self.insist)

    def input_recovered(self, name: str) -> None:
        self.silent = [each for each in self.silent if each != name]
        if not self.silent:
            self.withdrawal = self.last_target.stay_out if self.last_target is not None else ""
