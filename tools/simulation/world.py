"""One seeded world: the real nodes of the trading loop in one host, faulty links between them, and a witness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from engine import NS_PER_S, Message, Node, PipelineError
from engine.clock import Clock
from engine.run.host import Host
from engine.run.port import Port
from nodes.executors.simulated_lp import SimulatedLp
from nodes.hedgers.passive import PassiveHedger
from nodes.messages import Book, InventoryDelta, LedgerClosed, PoolState, RangeTarget, Trade
from nodes.models.inventory import Inventory
from nodes.models.net_exposure import NetExposureModel
from nodes.models.rebalancer import Rebalancer
from nodes.risk.gate import RiskGate
from nodes.risk.lp_gate import LpGate
from nodes.sinks.ledger import Ledger
from nodes.venues.sim.exchange import SimulatedExchange
from tools.simulation import links
from tools.simulation.checks import Limits, Witness
from tools.simulation.script import FAULTY_S, PERP, SOURCE, START_S, Act, Fault, Say, script

WORLDS = ("trader", "lp")
"""`trader` has a scripted LP; in `lp` the LP's own nodes run on a scripted pool."""

SETTLE_S = 60.0
"""How long a world goes on once its hedger has stopped."""


OUTSIDE: dict[tuple[str, str], type[Message]] = {
    ("market", "book"): Book,
    ("market", "trade"): Trade,
    ("script", "delta"): InventoryDelta,
    ("pool", "state"): PoolState,
    ("ranges", "target"): RangeTarget,
}
"""The ports that the script speaks from."""

ARRIVE_NS = NS_PER_S
"""Time for what was said last to arrive."""


class Failed(PipelineError):
    """A world in which something broke; the text ends with the command that shows it again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one world did; `digest` is of all that its nodes sent, with its time, in order."""

    seed: int
    digest: str
    messages: int
    fills: int
    blocked: int
    commands: int
    halted: bool
    latched: bool
    off_market: int
    final_net: float


@dataclass(slots=True)
class World:
    """A host with its nodes and links, made from a seed and played to its end by `play()`."""

    seed: int
    kind: str
    folder: Path
    show: Callable[[str], None] | None = None
    host: Host = field(init=False)
    witness: Witness = field(init=False)
    outside: dict[tuple[str, str], Port] = field(init=False)
    lp_level: float = field(init=False, default=0.0)
    closed: list[LedgerClosed] = field(init=False, default_factory=list)
    digest: Any = field(init=False)
    messages: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.host = Host(Clock(START_S * NS_PER_S), self.seed, str(self.folder))
        self.digest = blake2b(digest_size=8)
        chance = Random(f"{self.seed}:params")
        self.outside = {source: Port(*source, message) for source, message in OUTSIDE.items()}
        self.host.ports.update(self.outside)
        max_net = 60.0 if self.kind == "lp" else 8.0
        band = chance.choice((0.05, 0.25, 1.0))
        self._add_trader(chance, band, max_net)
        self._add_links(chance)
        if self.kind == "lp":
            self._add_lp()
        self._wire_trader(chance.choice(("halt", "block")))
        if self.kind == "lp":
            self._wire_lp()
        limits = Limits(RiskGate.spec.params["tick_size"].default, LOT, band, max_net, 10.0, 30.0, 120.0)
        self.witness = Witness(self.host, limits)
        for source in self.host.ports:
            self.host.tap(source, self._recorder(source))
        self.witness.attend()
        self.host.tap(("ledger", "closed"), self.closed.append)

    # --- building ---------------------------------------------------------------------------------------------

    def _add(self, name: str, cls: type[Node], **given: Any) -> None:
        params = {
            key: spec.convert(given[key]) if key in given else spec.default for key, spec in cls.spec.params.items()
        }
        self.host.add(name, cls, params)

    def _add_trader(self, chance: Random, band: float, max_net: float) -> None:
        self._add("net", NetExposureModel, sources=(SOURCE,), instruments=(PERP,))
        self._add(
            "hedger",
            PassiveHedger,
            instrument=PERP,
            max_order_size="3",
            band_base=band,
            style=chance.choice(("maker", "maker", "maker_then_taker", "taker")),
            target=chance.choice(("edge", "zero")),
            offset_ticks=chance.choice((0, 0, -1, 1)),
            max_age_s=chance.choice((10.0, 60.0)),
        )
        self._add("gate", RiskGate, instrument=PERP, max_order_size="5", max_order_value="15000", max_net_base=max_net)
        self._add("venue", SimulatedExchange, instrument=PERP, queue_share=0.5)
        self._add("ledger", Ledger, labels={"seed": str(self.seed)})

    def _add_links(self, chance: Random) -> None:
        def state() -> dict[str, Any]:
            return {
                "mean_delay_s": chance.choice((0.01, 0.2, 1.0)),
                "drop": chance.choice((0.0, 0.05, 0.3)),
                "repeat": chance.choice((0.0, 0.1)),
            }

        def reliable() -> dict[str, Any]:
            return {
                "mean_delay_s": chance.choice((0.0, 0.01, 0.2, 1.0)),
                "longest_delay_s": 1.5,
                "repeat": chance.choice((0.0, 0.1, 0.5)),
                "in_order": True,
                "lossless": True,
            }

        self._add("hedger_books", links.BookLink, **state())
        self._add("gate_books", links.BookLink, **state())
        self._add("delta", links.DeltaLink, **state())
        self._add("positions", links.PositionLink, **reliable())
        self._add("fills", links.FillLink, **reliable())
        self._add("ledger_fills", links.FillLink, **reliable())
        self._add("updates", links.UpdateLink, **reliable())
        self._add("gate_updates", links.UpdateLink, **reliable())
        # No repeats: a blocked order may be asked for again, so that the gate cannot tell a late copy from a new wish.
        self._add("requests", links.OrderLink, **reliable() | {"repeat": 0.0})
        self._add("orders", links.OrderLink, **reliable())
        if self.kind == "lp":
            for name, cls in (
                ("rebalancer_pool", links.PoolLink),
                ("lp_gate_pool", links.PoolLink),
                ("rebalancer_lp", links.LpStateLink),
                ("lp_gate_lp", links.LpStateLink),
                ("inventory_lp", links.LpStateLink),
            ):
                self._add(name, cls, **state() | {"in_order": True, "repeat": 0.0})
            self._add("commands", links.CommandLink, **reliable())

    def _add_lp(self) -> None:
        self._add("rebalancer", Rebalancer, min_interval_s=60.0, max_gas_per_day=1.0)
        self._add("lp_gate", LpGate, max_value_quote=150_000.0, max_per_hour=20, max_gap_bps=300.0)
        self._add("lp", SimulatedLp, fee=500, quote_is_token0=True, base="22", quote="50000", native="0.5")
        self._add("inventory", Inventory, source=SOURCE, gas_reserve="0.5")

    def _join(self, source: str, *targets: str, on_stale: tuple[float, str] | None = None) -> None:
        for target in targets:
            self.host.wire(_split(source), _split(target), on_stale, feedback=True)

    def _wire_trader(self, on_silence: str) -> None:
        self._join("market.book", "venue.book", "hedger_books.arriving", "gate_books.arriving")
        self._join("market.trade", "venue.trade")
        self._join("inventory.delta" if self.kind == "lp" else "script.delta", "delta.arriving", "ledger.delta")
        self._join("delta.leaving", "net.lp", on_stale=(LP_SILENCE_S, "undefined"))
        self._join("positions.leaving", "net.position")
        self._join("fills.leaving", "net.fill")
        self._join("net.exposure", "hedger.exposure", on_stale=(600.0, "cancel"))
        self._join("net.exposure", "gate.exposure", on_stale=(600.0, on_silence))
        self._join("net.exposure", "ledger.exposure")
        self._join("hedger_books.leaving", "hedger.book", on_stale=(30.0, "cancel"))
        self._join("gate_books.leaving", "gate.book", on_stale=(30.0, on_silence))
        self._join("updates.leaving", "hedger.update")
        self._join("gate_updates.leaving", "gate.update")
        self._join("hedger.order", "requests.arriving")
        self._join("requests.leaving", "gate.order")
        self._join("gate.verdict", "ledger.verdict", "hedger.verdict")
        self._join("gate.approved", "ledger.order", "orders.arriving")
        self._join("orders.leaving", "venue.order")
        self._join("venue.update", "updates.arriving", "gate_updates.arriving", "ledger.update")
        self._join("venue.fill", "fills.arriving", "ledger_fills.arriving")
        self._join("ledger_fills.leaving", "ledger.fill")
        self._join("venue.position", "positions.arriving", "ledger.position")

    def _wire_lp(self) -> None:
        self._join("pool.state", "lp.pool", "rebalancer_pool.arriving", "lp_gate_pool.arriving")
        self._join("ranges.target", "rebalancer.target", on_stale=(300.0, "hold"))
        self._join("ranges.target", "ledger.target")
        self._join("rebalancer_pool.leaving", "rebalancer.pool", on_stale=(300.0, "withdraw"))
        self._join("rebalancer_lp.leaving", "rebalancer.lp", on_stale=(300.0, "hold"))
        self._join("rebalancer.command", "lp_gate.command")
        self._join("lp_gate_pool.leaving", "lp_gate.pool", on_stale=(300.0, "block"))
        self._join("gate_books.leaving", "lp_gate.book", on_stale=(120.0, "block"))
        self._join("lp_gate_lp.leaving", "lp_gate.lp", on_stale=(300.0, "block"))
        self._join("lp_gate.verdict", "ledger.verdict")
        self._join("lp_gate.approved", "ledger.command", "commands.arriving")
        self._join("commands.leaving", "lp.command")
        self._join("lp.state", "rebalancer_lp.arriving", "lp_gate_lp.arriving", "inventory_lp.arriving", "ledger.lp")
        self._join("inventory_lp.leaving", "inventory.lp")

    def _recorder(self, source: tuple[str, str]) -> Callable[[Message], None]:
        name, clock, update, encode = (
            ".".join(source),
            self.host.clock,
            self.digest.update,
            msgspec.json.Encoder().encode,
        )
        show = self.show

        def record(message: Message) -> None:
            self.messages += 1
            update(f"{clock.now_ns} {name} ".encode())
            update(encode(message))
            if show is not None:
                show(f"{clock.now_ns} {name} {message}")

        return record

    # --- playing ----------------------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """Play the world to its end; raises Broken as soon as something does not hold, and what a node raises."""
        self.host.start()
        for seconds, act in script(self.seed, self.kind == "lp"):
            self._pass_time(round((START_S + seconds) * NS_PER_S))
            self._do(act)
            self.witness.after_event()
        self._pass_time(self.host.clock.now_ns + ARRIVE_NS)
        self.witness.after_calm(self._lp_base())
        return self._end()

    def _pass_time(self, now_ns: int) -> None:
        calls = self.host.calls
        while calls and calls[0][0] <= now_ns:
            self.host.call_due(calls[0][0] + 1)
            self.witness.after_event()
        self.host.clock.now_ns = now_ns

    def _do(self, act: Act) -> None:
        host = self.host
        match act:
            case Say(("script", _), InventoryDelta() as delta):
                if delta.delta_base == delta.delta_base:
                    self.lp_level = delta.delta_base
                host.inject(self.outside[act.port], delta)
            case Say(port, message):
                host.inject(self.outside[port], message)
            case Fault("silence", link, seconds):
                host.call(host.nodes[link], "silence", (seconds,))
            case Fault("latency", _, seconds):
                venue: Any = host.nodes["venue"]
                venue.order_latency_s = venue.cancel_latency_s = seconds
            case Fault("restart_ledger"):
                ledger = host.nodes["ledger"]
                host.call(ledger, "stop", ())
                host.call(ledger, "start", ())
            case Fault("mend"):
                self._do(Fault("latency", "", 0.05))
                for node in host.nodes.values():
                    if isinstance(node, links.FaultyLink):
                        host.call(node, "mend", ())

    def _lp_base(self) -> float:
        # What the LP truly holds against its target of 0.
        state = self.witness.lp
        if self.kind != "lp":
            return self.lp_level
        assert state is not None
        held = sum(each.base_amount + each.base_fees for each in state.positions) + state.wallet_base
        return (held + max(state.native_base - 5 * 10**17, 0)) / 10**18

    def _end(self) -> Outcome:
        host, witness = self.host, self.witness
        net = self._lp_base() + float(witness.position)
        for name in ("hedger", "venue", "ledger"):
            host.call(host.nodes[name], "stop", ())
            if name != "ledger":
                self._pass_time(host.clock.now_ns + round(SETTLE_S * NS_PER_S))
        closed = self.closed[-1]
        witness.after_close(self.folder / closed.path, closed.head)
        gate: Any = host.nodes["gate"]
        return Outcome(
            self.seed,
            self.digest.hexdigest(),
            self.messages,
            len(witness.trades),
            sum(not passed for passed in witness.passed.values()),
            len(witness.done_commands),
            gate.halted,
            gate.latched != "",
            witness.off_market,
            net,
        )


LP_SILENCE_S = 150.0
LOT = RiskGate.spec.params["lot_size"].default


def _split(name: str) -> tuple[str, str]:
    node, _, port = name.partition(".")
    return node, port


def command_for(seed: int, kind: str) -> str:
    """Return the command that plays this world again."""
    return f"python -m tools.simulate --world {kind} --seeds {seed} --show"


def simulate(seed: int, kind: str, show: Callable[[str], None] | None = None) -> Outcome:
    """Play one world in a folder of its own; raise Failed when anything in it broke."""
    with TemporaryDirectory() as folder:
        world = World(seed, kind, Path(folder), show)
        try:
            return world.play()
        except PipelineError as error:
            at_s = world.host.clock.now_ns / NS_PER_S - START_S
            phase = "while faults last" if at_s < FAULTY_S else "after they are over"
            raise Failed(
                f"world {kind}, seed {seed}, at {at_s:.3f} s ({phase}): {error}\n  {command_for(seed, kind)}"
            ) from error
