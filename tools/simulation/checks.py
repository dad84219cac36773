"""What has to hold in the trading loop whatever goes wrong around it.

The witness hears what the nodes say to each other at its source, keeps books of its own, and compares.
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine import NS_PER_S, PipelineError
from engine.run.host import Host
from nodes._lib.ledger_file import verify
from nodes.messages import (
    Book,
    Fill,
    GateVerdict,
    LpCommand,
    LpState,
    NetExposure,
    OrderRequest,
    OrderUpdate,
    VenuePosition,
)

FINAL = frozenset({"filled", "canceled", "rejected", "expired"})
CLOSE = 1e-9
STRAY = 0.005
"""Base by which the pool of a calm world may move an LP between two hedges."""
DUST = 10
"""Smallest units of a token that a burn and a mint may leave behind in rounding."""


class Broken(PipelineError):
    """Something that has to hold does not."""


@dataclass(slots=True)
class TrueOrder:
    """An order that has passed the gate and has not ended at the venue."""

    side: str
    size: Decimal
    filled: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Limits:
    """The parameters of the nodes that what has to hold is said in."""

    tick: Decimal
    lot: Decimal
    band: float
    max_net: float
    book_age_s: float
    book_silence_s: float
    exposure_age_s: float


@dataclass(slots=True)
class Witness:
    """Hears the nodes of one host and raises Broken as soon as one breaks what has to hold."""

    host: Host
    limits: Limits
    orders: dict[str, TrueOrder] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    passed: dict[str, bool] = field(default_factory=dict)
    trades: dict[str, Decimal] = field(default_factory=dict)
    position: Decimal = Decimal(0)
    told_position: Decimal = Decimal(0)
    exposure: NetExposure | None = None
    gate_book: Book | None = None
    gate_book_ns: int = 0
    hedger_book: Book | None = None
    commands: dict[str, bool] = field(default_factory=dict)
    done_commands: list[str] = field(default_factory=list)
    lp: LpState | None = None
    off_market: int = 0
    """Fills at less than half or more than twice the price that the market had before its faults."""
    was_beyond: bool = False
    """Whether net exposure has ever been beyond the gate's limit."""

    def attend(self) -> None:
        """Start to listen."""
        taps: dict[tuple[str, str], Any] = {
            ("hedger", "order"): self.on_request,
            ("gate", "verdict"): self.on_verdict,
            ("gate", "approved"): self.on_approved,
            ("venue", "update"): self.on_update,
            ("venue", "fill"): self.on_fill,
            ("venue", "position"): self.on_position,
            ("net", "exposure"): self.on_exposure,
            ("gate_books", "leaving"): self.on_gate_book,
            ("hedger_books", "leaving"): self.on_hedger_book,
            ("lp_gate", "verdict"): self.on_lp_verdict,
            ("lp_gate", "approved"): self.on_lp_command,
            ("lp", "state"): self.on_lp_state,
        }
        for source, reader in taps.items():
            if source in self.host.ports:
                self.host.tap(source, reader)

    def demand(self, holds: bool, text: str) -> None:
        """Raise Broken unless it holds."""
        if not holds:
            raise Broken(text)

    # --- the hedger -------------------------------------------------------------------------------------------

    def on_request(self, order: OrderRequest) -> None:
        if order.action == "cancel":
            return
        name = order.client_order_id
        self.demand(name not in self.asked, f"order id {name} is used twice")
        self.asked.add(name)
        self._well_formed(order)
        live = sorted(each for each in self.orders if self.orders[each].size > self.orders[each].filled)
        self.demand(not live, f"{name} is asked for while {', '.join(live)} is live")
        self._sound("hedger", self.hedger_book)
        self._known_exposure(name)
        self._reducing(order)

    def _reducing(self, order: OrderRequest) -> None:
        assert self.exposure is not None
        net = self.exposure.lp_base + float(self.position)
        after = net + float(order.size) if order.side == "buy" else net - float(order.size)
        self.demand(
            abs(after) <= abs(net) + CLOSE,
            f"{order.client_order_id}: {order.side} {order.size} at a true net of {net:.6f}",
        )

    def _well_formed(self, order: OrderRequest) -> None:
        limits, price, size = self.limits, order.price, order.size
        finite = price.is_finite() and size.is_finite() and price > 0 and size > 0
        self.demand(finite, f"{order.client_order_id}: price {price}, size {size}")
        on_grid = not price % limits.tick and not size % limits.lot
        self.demand(on_grid, f"{order.client_order_id}: price {price} or size {size} is off tick or lot")

    def _sound(self, who: str, book: Book | None) -> None:
        age_s = math.inf if book is None else (self.host.clock.now_ns - book.receive_time_ns) / NS_PER_S
        sound = book is not None and 0 < book.bid_price < book.ask_price < math.inf
        sound = sound and book is not None and book.bid_size > 0 and book.ask_size > 0
        self.demand(sound and age_s <= self.limits.book_age_s + CLOSE, f"{who} acts on book {book}, {age_s:.3f} s old")

    def _known_exposure(self, name: str) -> None:
        net = None if self.exposure is None else self.exposure.net_base
        self.demand(net is not None and math.isfinite(net), f"{name} while exposure is {self.exposure}")

    # --- the gate ---------------------------------------------------------------------------------------------

    def on_verdict(self, verdict: GateVerdict) -> None:
        self.passed[verdict.request_id] = verdict.passed

    def on_approved(self, order: OrderRequest) -> None:
        name = order.client_order_id
        self.demand(self.passed.get(name, False), f"{name} leaves the gate without a passing verdict")
        if order.action == "cancel":
            return
        self._well_formed(order)
        self._sound("gate", self.gate_book)
        self._known_exposure(name)
        exposure, now_ns, limits = self.exposure, self.host.clock.now_ns, self.limits
        assert exposure is not None
        silence_s = (now_ns - self.gate_book_ns) / NS_PER_S
        self.demand(silence_s <= limits.book_silence_s, f"{name} passes after {silence_s:.3f} s without a book")
        age_s = (now_ns - exposure.event_time_ns) / NS_PER_S
        self.demand(age_s <= limits.exposure_age_s, f"{name} passes on an exposure {age_s:.3f} s old")
        net = exposure.lp_base + float(self.position)
        waiting = sum(float(each.size - each.filled) for each in self.orders.values() if each.side == order.side)
        way = waiting + float(order.size)
        worst = net + way if order.side == "buy" else net - way
        reduces = abs(worst) < abs(net) + CLOSE
        within = abs(worst) <= limits.max_net + CLOSE or (reduces and net * worst >= 0)
        numbers = f"{name}: {order.side} {order.size}, true net {net:.6f}, worst {worst:.6f}"
        self.demand(within, f"{numbers}, limit {limits.max_net:g}")
        gate: Any = self.host.nodes["gate"]
        self.demand(reduces or not gate.halted, f"{numbers}, although the gate is halted")
        self.demand(not gate.latched, f"{numbers}, although the gate has latched")
        self.orders[name] = TrueOrder(order.side, order.size)

    def on_gate_book(self, book: Book) -> None:
        self.gate_book, self.gate_book_ns = book, self.host.clock.now_ns

    def on_hedger_book(self, book: Book) -> None:
        self.hedger_book = book

    def on_exposure(self, exposure: NetExposure) -> None:
        self.exposure = exposure
        net = exposure.net_base
        if net is not None and abs(net) > self.limits.max_net:
            self.was_beyond = True

    # --- the venue --------------------------------------------------------------------------------------------

    def on_update(self, update: OrderUpdate) -> None:
        order = self.orders.get(update.client_order_id)
        if order is None:
            return
        order.filled = max(order.filled, update.filled_size)
        if update.status in FINAL:
            del self.orders[update.client_order_id]

    def on_fill(self, fill: Fill) -> None:
        self.demand(fill.client_order_id in self.passed, f"fill of {fill.client_order_id}, which no gate has passed")
        self.demand(fill.trade_id not in self.trades, f"trade {fill.trade_id} is made twice")
        signed = fill.size if fill.side == "buy" else -fill.size
        self.trades[fill.trade_id] = signed
        self.position += signed
        self.off_market += not 1_000 < fill.price < 4_000

    def on_position(self, position: VenuePosition) -> None:
        self.told_position = position.size

    # --- the LP -----------------------------------------------------------------------------------------------

    def on_lp_verdict(self, verdict: GateVerdict) -> None:
        self.commands[verdict.request_id] = verdict.passed

    def on_lp_command(self, command: LpCommand) -> None:
        passed = self.commands.get(command.command_id, False)
        self.demand(passed, f"{command.command_id} leaves the LP gate without a passing verdict")

    def on_lp_state(self, state: LpState) -> None:
        before, self.lp = self.lp, state
        amounts = [state.wallet_base, state.wallet_quote, state.native_base]
        amounts += [amount for each in state.positions for amount in (each.base_amount, each.quote_amount)]
        self.demand(min(amounts) >= 0, f"the LP holds a negative amount: {state}")
        self.demand(len(state.positions) <= 2, f"the LP has {len(state.positions)} positions")
        if before is None or state.confirmed == before.confirmed:
            return
        done = state.confirmed
        self.demand(done not in self.done_commands, f"command {done} is done twice")
        self.demand(self.commands.get(done, False), f"command {done} is done, and no gate has passed it")
        self.done_commands.append(done)
        if before.price == state.price:
            lost = (_base_of(before) - _base_of(state), _quote_of(before) - _quote_of(state))
            whole = all(0 <= each <= DUST for each in lost)
            self.demand(whole, f"command {done} changes what is held by {lost} of base and quote")

    # --- at rest ----------------------------------------------------------------------------------------------

    def after_event(self) -> None:
        """Check what holds between any two events."""
        venue: Any = self.host.nodes["venue"]
        size = venue.account.size
        if not size == self.position == self.told_position:
            raise Broken(f"venue holds {size}, tells {self.told_position}, and its fills sum to {self.position}")
        at_venue = venue.orders.keys() | venue.in_flight.keys()
        if len(self.orders) > 1 or not at_venue <= self.orders.keys():
            told = ", ".join(sorted(self.orders)) or "none"
            raise Broken(f"live are {told}; the venue has {', '.join(sorted(at_venue)) or 'none'}")

    def after_calm(self, lp_base: float) -> None:
        """Check what holds once all faults have been over for long; `lp_base` is what the LP truly holds."""
        gate: Any = self.host.nodes["gate"]
        if gate.latched:
            # What had to be made up for was more than the gate allows in one go; it then leaves the rest to people.
            self.demand(self.was_beyond, f"the gate has latched on an honest hedger within limits: {gate.latched}")
            return
        exposure, limits = self.exposure, self.limits
        known = exposure is not None and exposure.net_base is not None
        self.demand(known, f"exposure is still unknown: {exposure}")
        assert exposure is not None and exposure.net_base is not None
        net = lp_base + float(self.position)
        text = f"net is {net:.6f} (LP {lp_base:.6f}, venue {self.position}); exposure says {exposure.net_base:.6f}"
        self.demand(abs(exposure.net_base - net) < 1e-6, text)
        self.demand(abs(net) <= limits.band + float(limits.lot) + STRAY, f"{text}; band {limits.band:g}")

    def after_close(self, path: Path, head: str) -> None:
        """Check the closed ledger: its chain, its fills, and that each order has its verdict before it."""
        verify(path, head)
        with sqlite3.connect(path) as db:
            signed = {
                trade: Decimal(size) if side == "buy" else -Decimal(size)
                for trade, side, size in db.execute("SELECT trade_id, side, size FROM fills")
            }
            verdicts: dict[str, int] = {}
            for seq, request in db.execute("SELECT seq, request_id FROM verdicts WHERE passed ORDER BY seq"):
                verdicts.setdefault(request, seq)
            booked = db.execute("SELECT seq, client_order_id FROM orders ORDER BY seq").fetchall()
            commands = db.execute("SELECT seq, command_id FROM commands ORDER BY seq").fetchall()
        db.close()
        self.demand(signed == self.trades, f"ledger has {len(signed)} fills, the venue made {len(self.trades)}")
        for seq, name in (*booked, *commands):
            self.demand(verdicts.get(name, seq) < seq, f"the ledger has {name} (row {seq}) before a passing verdict")
        venue: Any = self.host.nodes["venue"]
        unbooked = set(venue.used_ids) - {name for _, name in booked}
        self.demand(not unbooked, f"at the venue and in no ledger: {', '.join(sorted(unbooked))}")


def _base_of(state: LpState) -> int:
    return state.wallet_base + sum(each.base_amount + each.base_fees for each in state.positions)


def _quote_of(state: LpState) -> int:
    return state.wallet_quote + sum(each.quote_amount + each.quote_fees for each in state.positions)
