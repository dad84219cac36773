"""Judge every command to the LP executor; only what passes all rules goes on."""

from __future__ import annotations

from typing import ClassVar

from engine import NS_PER_S, In, Out, metric, param
from engine import state as kept
from nodes._lib.kill_switch import Stoppable
from nodes.messages import Book, GateVerdict, LpCommand, LpState, PoolState

HOUR_NS, DAY_NS = 3_600 * NS_PER_S, 86_400 * NS_PER_S


class LpGate(Stoppable):
    """Let a command to the LP pass when its range, the price and our limits allow it.

    A rebalance passes when the range holds the price and is neither too narrow nor too wide, the pool's price is fresh
    and has not run away since the decision, it agrees with the venue's mid where a book is wired, and neither the
    number of rebalances nor the value at stake is beyond its limit. What cannot be judged is blocked. A withdrawal
    takes risk away and passes, unless the run's kill switch is thrown: then nothing does.
    """

    stale_actions: ClassVar = {"block": "block rebalances until the input speaks again; withdrawals pass"}

    command = In(LpCommand, doc="What is asked of the executor.")
    pool = In(PoolState, policy="conflate", critical=True, doc="The pool's price now.")
    book = In(
        Book,
        policy="conflate",
        optional=True,
        critical=True,
        doc="A venue's book, to compare prices.",
        tags={"pair": "in:pool", "quote": "any"},
    )
    lp = In(LpState, policy="conflate", critical=True, doc="What is held, for the limit on its value.")
    approved = Out(LpCommand, doc="Commands that passed, unchanged.")
    verdict = Out(GateVerdict, doc="The verdict on each command.")

    min_width_bps: float = param(20.0, unit="bps", minimum=0, doc="Narrowest range, from end to end.")
    max_width_bps: float = param(10_000.0, unit="bps", exclusiveMinimum=0, doc="Widest range, from end to end.")
    collar_bps: float = param(50.0, unit="bps", exclusiveMinimum=0, doc="Most that the price may move meanwhile.")
    max_gap_bps: float = param(
        50.0, unit="bps", exclusiveMinimum=0, doc="Most that pool and venue may differ beside the basis."
    )
    basis_bps: float = param(0.0, unit="bps", doc="Usual venue mid over pool price (the two quotes differ in value).")
    max_pool_age_s: float = param(900.0, unit="s", exclusiveMinimum=0, doc="Oldest pool price to act on.")
    max_book_age_s: float = param(120.0, unit="s", exclusiveMinimum=0, doc="Oldest book to compare with.")
    max_per_hour: int = param(6, unit="1/h", minimum=0, doc="Most rebalances in any hour.")
    max_per_day: int = param(48, unit="1/day", minimum=0, doc="Most rebalances in any 24 hours.")
    max_value_quote: float = param(unit="quote", exclusiveMinimum=0, doc="Most that may be at stake, all in quote.")

    passed_ns: list[int] = kept(factory=list, doc="Times of the rebalances passed in the last 24 hours.")
    verdicts: int = kept(0, doc="Verdicts given.")
    refusals: int = kept(0, doc="Commands refused so far.")
    silent: list[str] = kept(factory=list, doc="Inputs that are stale.")
    last_pool: PoolState | None = kept(None, doc="The pool's last state.")
    last_book: Book | None = kept(None, doc="The venue's last book.")
    last_lp: LpState | None = kept(None, doc="What was held last.")

    refused: float | None = metric(unit="1", doc="Commands refused since the run began.")

    def start(self) -> None:
        self.refused = float(self.refusals)

    def on_pool(self, state: PoolState) -> None:
        self.last_pool = state

    def on_book(self, book: Book) -> None:
        self.last_book = book

    def on_lp(self, lp: LpState) -> None:
        self.last_lp = lp

    def input_stale(self, name: str, action: str) -> None:
        self.silent = [*self.silent, name]

    def input_recovered(self, name: str) -> None:
        self.silent = [each for each in self.silent if each != name]

    def on_command(self, command: LpCommand) -> None:
        broken = self._broken_rule(command)
        self.verdicts += 1
        rule, detail = broken or ("all", f"{command.action} {command.lower_price:.6g} to {command.upper_price:.6g}")
        self.verdict(
            verdict_id=f"{self.id}-{self.now_ns // NS_PER_S}-{self.verdicts}",
            request_id=command.command_id,
            event_time_ns=self.now_ns,
            passed=broken is None,
            rule=rule,
            detail=detail,
        )
        if broken is not None:
            self.refusals += 1
            self.refused = float(self.refusals)
        else:
            if command.action == "rebalance":
                self.passed_ns = [*self.passed_ns, self.now_ns]
            self.approved.whole(command)

    def _broken_rule(self, command: LpCommand) -> tuple[str, str] | None:
        """Return the first rule that a command breaks and the numbers compared, or None."""
        if self.killed:
            return "kill_switch", self.killed
        if command.action == "withdraw":
            return None
        pool, lp, now = self.last_pool, self.last_lp, self.now_ns
        if self.silent:
            return "stale", f"silent: {', '.join(self.silent)}"
        if pool is None or lp is None:
            return "unknown", f"no {'pool price' if pool is None else 'LP state'} has been seen"
        age_s = (now - pool.event_time_ns) / NS_PER_S
        if age_s > self.max_pool_age_s:
            return "pool-age", f"pool price is {age_s:.0f} s old, at most {self.max_pool_age_s:g} s"
        price, lower, upper = pool.price, command.lower_price, command.upper_price
        if not 0 < lower < price < upper:
            return "range", f"price {price:.6g} is not inside {lower:.6g} to {upper:.6g}"
        width = (upper / lower - 1) * 10_000
        if not self.min_width_bps <= width <= self.max_width_bps:
            return "width", f"{width:.0f} bps wide, allowed {self.min_width_bps:g} to {self.max_width_bps:g} bps"
        moved = abs(price / command.price - 1) * 10_000 if command.price > 0 else float("inf")
        if moved > self.collar_bps:
            return "collar", f"price moved {moved:.1f} bps since the decision, at most {self.collar_bps:g} bps"
        return self._venue_rule(price, now) or self._limit_rule(lp, price, now)

    def _venue_rule(self, price: float, now: int) -> tuple[str, str] | None:
        book = self.last_book
        if book is None:
            return None
        age_s = (now - book.event_time_ns) / NS_PER_S
        if age_s > self.max_book_age_s:
            return "book-age", f"venue book is {age_s:.0f} s old, at most {self.max_book_age_s:g} s"
        gap = (book.mid / price - 1) * 10_000 - self.basis_bps
        if not abs(gap) <= self.max_gap_bps:
            return "gap", (
                f"venue mid is {gap:+.1f} bps from the pool beside a basis of {self.basis_bps:g} bps, "
                f"at most {self.max_gap_bps:g} bps"
            )
        return None

    def _limit_rule(self, lp: LpState, price: float, now: int) -> tuple[str, str] | None:
        self.passed_ns = [time for time in self.passed_ns if time > now - DAY_NS]
        hour = sum(time > now - HOUR_NS for time in self.passed_ns)
        if hour >= self.max_per_hour:
            return "per-hour", f"{hour} rebalances in the last hour, at most {self.max_per_hour}"
        if len(self.passed_ns) >= self.max_per_day:
            return "per-day", f"{len(self.passed_ns)} rebalances in the last 24 hours, at most {self.max_per_day}"
        base = lp.wallet_base + sum(each.base_amount + each.base_fees for each in lp.positions)
        quote = lp.wallet_quote + sum(each.quote_amount + each.quote_fees for each in lp.positions)
        value = base / 10**lp.base_decimals * price + quote / 10**lp.quote_decimals
        if value > self.max_value_quote:
            return "value", f"{value:.2f} quote would be at stake, at most {self.max_value_quote:g}"
        return None
