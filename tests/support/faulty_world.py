"""Nodes made wrong on purpose, to see that the witness of a simulated world notices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from nodes.executors.simulated_lp import SimulatedLp
from nodes.hedgers.passive import PassiveHedger
from nodes.models.net_exposure import VenueBase
from nodes.risk.gate import RiskGate
from nodes.sinks.ledger import Ledger
from nodes.venues.sim.exchange import SimulatedExchange
from tools.simulation.checks import Witness


def _gate_passes_all(monkeypatch) -> None:
    monkeypatch.setattr(RiskGate, "_breach", lambda self, order, now_ns: None)
    monkeypatch.setattr(RiskGate, "_numbers", lambda self, order: "")
    monkeypatch.setattr(PassiveHedger, "_is_sound", lambda self, book: True)


def _gate_gives_no_verdict(monkeypatch) -> None:
    monkeypatch.setattr(RiskGate, "_verdict", lambda self, order, passed, rule, detail: None)


def _gate_lets_exposure_grow(monkeypatch) -> None:
    monkeypatch.setattr("nodes._lib.limits.is_reducing", lambda net, worst: True)
    original = PassiveHedger._wanted

    def wrong_side(self):
        side, lots, crossing = original(self)
        return {"buy": "sell", "sell": "buy"}.get(side, side), lots, crossing

    monkeypatch.setattr(PassiveHedger, "_wanted", wrong_side)
    monkeypatch.setattr(Witness, "_reducing", lambda self, order: None)


def _hedger_forgets_its_order(monkeypatch) -> None:
    def ask_after(self, order_id: str) -> None:
        self.live = None

    monkeypatch.setattr(PassiveHedger, "ask_after", ask_after)


def _hedger_ignores_ticks(monkeypatch) -> None:
    original = PassiveHedger._place

    def place(self, side: str, lots: int, crossing: bool) -> None:
        self.tick_size = self.tick_size / 3
        original(self, side, lots, crossing)

    monkeypatch.setattr(PassiveHedger, "_place", place)


def _fills_count_each_time(monkeypatch) -> None:
    def add_fill(self, trade_id: str, signed) -> None:
        self.level += signed
        self.bought += max(signed, Decimal(0))
        self.sold += max(-signed, Decimal(0))

    monkeypatch.setattr(VenueBase, "add_fill", add_fill)
    monkeypatch.setattr(VenueBase, "set_level", lambda self, size, last_trade_id, event_time_ns: None)


def _ledger_loses_a_fill(monkeypatch) -> None:
    original = Ledger.on_fill

    def on_fill(self, fill) -> None:
        if fill.trade_id != "3":
            original(self, fill)

    monkeypatch.setattr(Ledger, "on_fill", on_fill)


def _venue_tells_another_position(monkeypatch) -> None:
    original = SimulatedExchange._fill

    def fill(self, order, price, size, liquidity) -> None:
        original(self, order, price, size, liquidity)
        self.account.size += self.lot_size

    monkeypatch.setattr(SimulatedExchange, "_fill", fill)


def _lp_acts_twice(monkeypatch) -> None:
    original = SimulatedLp.confirm

    def confirm(self) -> None:
        command = self.pending
        original(self)
        self.confirmed = ""
        self._send()
        self.confirmed = command.command_id
        self._send()

    monkeypatch.setattr(SimulatedLp, "confirm", confirm)


def _lp_loses_base(monkeypatch) -> None:
    original = SimulatedLp._burn_all

    def burn_all(self) -> None:
        original(self)
        self.wallet_base = self.wallet_base * 99 // 100

    monkeypatch.setattr(SimulatedLp, "_burn_all", burn_all)


def _lp_level_is_stale(monkeypatch) -> None:
    original = PassiveHedger.on_exposure

    def on_exposure(self, exposure) -> None:
        net = exposure.net_base
        original(self, exposure if net is None else msgspec.structs.replace(exposure, net_base=net * 0.5))

    monkeypatch.setattr(PassiveHedger, "on_exposure", on_exposure)


SABOTAGE: dict[str, tuple[Callable, str, str]] = {
    "a gate that passes all": (_gate_passes_all, "acts on book|while exposure is", "trader"),
    "a gate that says nothing": (_gate_gives_no_verdict, "without a passing verdict", "trader"),
    "a gate that lets exposure grow": (_gate_lets_exposure_grow, "limit 8|gate is halted", "trader"),
    "a hedger that forgets its order": (_hedger_forgets_its_order, "is live", "trader"),
    "a hedger that ignores ticks": (_hedger_ignores_ticks, "off tick or lot", "trader"),
    "fills that count each time": (_fills_count_each_time, "at a true net of", "trader"),
    "a ledger that loses a fill": (_ledger_loses_a_fill, "the venue made", "trader"),
    "a venue that tells another position": (_venue_tells_another_position, "its fills sum to", "trader"),
    "an LP that does a command twice": (_lp_acts_twice, "is done twice|no gate has passed", "lp"),
    "an LP that loses base": (_lp_loses_base, "changes what is held", "lp"),
    "a hedge that stops half way": (_lp_level_is_stale, "band", "trader"),
}
"""By name: how the node is made wrong, what the witness says, and in which world."""


def sabotaged(name: str, monkeypatch) -> tuple[str, str]:
    """Make it wrong; return (what the witness says, world)."""
    action, expected, kind = SABOTAGE[name]
    action(monkeypatch)
    return expected, kind
