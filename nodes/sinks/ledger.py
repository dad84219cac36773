"""Keep what a run asked for, did and earned, so that nothing is lost and nothing can be changed unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from engine import NS_PER_S, In, Node, Out, metric, param, state
from nodes._lib.ledger_file import LedgerFile
from nodes.messages import (
    Conversion,
    Fill,
    GateVerdict,
    InventoryDelta,
    LedgerClosed,
    LpCommand,
    LpState,
    Mark,
    NetExposure,
    OrderRequest,
    OrderUpdate,
    PnlState,
    RangeTarget,
    VenuePosition,
)


class Ledger(Node):
    """Write the run to one SQLite file with a hash chain (docs/ledger.md).

    Orders, updates, fills, positions, verdicts and commands are all kept, each id once; a repeat is counted, a repeat
    that says something else fails the node. Levels (LP, delta, exposure, mark, rate, target, PnL) are kept at most once
    per `sample_s`, and always when a command is done and at the end. Net exposure is kept beside that whenever the
    hedge steps, it becomes known or unknown, or it has moved by more than `exposure_step`; marks for each fill, at the
    fill and `markout_s` after it.

    Rows go to disk in groups, `commit_rows` at a time, every `commit_s` of the clock, at the end, and in processes
    before a reliable wire acknowledges any of them. With `durable_orders` each order, command, fill and update is on
    disk before its handler returns, whoever runs it. Any error of disk or lock fails the node; what was acknowledged
    stays. After a crash the same file goes on: what comes again is known by its id and is not booked twice.
    """

    order = In(OrderRequest, many=True, optional=True, doc="What the trader asked for.")
    update = In(OrderUpdate, many=True, optional=True, doc="What became of it.")
    fill = In(Fill, many=True, optional=True, doc="Executions; once per instrument and trade id.")
    position = In(VenuePosition, many=True, optional=True, doc="Positions at venues.")
    verdict = In(GateVerdict, many=True, optional=True, doc="Decisions of risk gates and executors.")
    command = In(LpCommand, many=True, optional=True, doc="What the LP was told.")
    lp = In(LpState, many=True, optional=True, policy="block", doc="What the LP holds; sampled.")
    delta = In(InventoryDelta, many=True, optional=True, policy="block", doc="Inventory deltas; sampled.")
    exposure = In(NetExposure, many=True, optional=True, policy="block", doc="Net exposure; sampled.")
    mark = In(Mark, many=True, optional=True, policy="block", doc="Declared marks; sampled, and around fills.")
    pnl = In(PnlState, many=True, optional=True, policy="block", doc="Profit and loss; sampled.")
    rate = In(Conversion, many=True, optional=True, policy="block", doc="Conversions; sampled, and when they change.")
    target = In(RangeTarget, many=True, optional=True, policy="block", doc="Ranges that a model advised; sampled.")
    closed = Out(LedgerClosed, optional=True, doc="Once, when all is on disk.")

    file: str = param("ledger.sqlite", doc="File name, in the run folder unless it is absolute.")
    sample_s: float = param(60.0, unit="s", minimum=0, doc="Shortest time between two rows of a level; 0 keeps all.")
    exposure_step: float = param(
        0.05, unit="base", minimum=0, doc="Moves of net exposure above it are kept at once; 0 keeps each."
    )
    markout_s: tuple[float, ...] = param(
        (1.0, 5.0, 30.0, 300.0), unit="s", minimum=0, doc="Times after a fill at which the mark is kept."
    )
    commit_rows: int = param(5_000, unit="rows", minimum=1, doc="Rows in a group.")
    commit_s: float = param(
        0.0, unit="s", minimum=0, doc="Longest time that a row waits for its group; 0: no limit (backtests)."
    )
    durable_orders: bool = param(False, doc="Whether orders, commands, fills and updates are on disk at once (live).")
    labels: dict[str, str] = param({}, doc="What to remember about the run, as in {topology: x, seed: 1}.")

    wanted: list[int] = state(factory=list, doc="Times at which the mark is to be kept, a heap.")
    repeats: dict[str, int] = state(factory=dict, doc="Repeats that were not booked again, by table.")
    unusable: dict[str, int] = state(factory=dict, doc="Levels left out for a number that is none, by table.")

    rows: float | None = metric(unit="rows", doc="Rows on disk.")

    _file: LedgerFile
    _open: bool = False

    def start(self) -> None:
        # The file is this node's state: it goes on where the file ends, and knows every id that is in it.
        self._file = file = LedgerFile(Path(self.run_dir, self.file), self.commit_rows)
        file.repeats |= self.repeats
        file.unusable |= self.unusable
        self.repeats, self.unusable = file.repeats, file.unusable
        self._open = True
        self._waits = False
        self._horizons = sorted({0, *(round(seconds * NS_PER_S) for seconds in self.markout_s)})
        self._lp, self._delta = self._level("lp_states"), self._level("deltas")
        self._exposure, self._mark = self._level("exposures"), self._level("marks")
        self._pnl, self._rate = self._level("pnl"), self._level("rates")
        self._target = self._level("targets")
        durable = self.durable_orders
        self._add_order, self._add_update = self._adder("orders", durable), self._adder("updates", durable)
        self._add_fill, self._add_command = self._adder("fills", durable), self._adder("commands", durable)
        self._add_position, self._add_verdict = self._adder("positions"), self._adder("verdicts")
        if not file.seq:
            for key, value in sorted(self.labels.items()):
                file.add_fact(key, value)

    def checkpoint(self) -> None:
        if self._open:
            self._file.commit()
            self.rows = float(self._file.seq)

    def stop(self) -> None:
        if not self._open:
            return
        self._open = False
        file = self._file
        for level in (self._lp, self._delta, self._exposure, self._mark, self._pnl, self._rate, self._target):
            level.flush()
        file.add_fact("repeats", json.dumps(file.repeats, sort_keys=True))
        if file.unusable:
            file.add_fact("unusable", json.dumps(file.unusable, sort_keys=True))
        file.close()
        self.closed(path=self.file, event_time_ns=self.now_ns, rows=file.seq, head=file.head)

    # --- what is kept whole -----------------------------------------------------------------------------------

    def on_order(self, order: OrderRequest) -> None:
        self._add_order(order)

    def on_update(self, update: OrderUpdate) -> None:
        self._add_update(update)

    def on_fill(self, fill: Fill) -> None:
        for horizon_ns in self._horizons:
            heappush(self.wanted, fill.event_time_ns + horizon_ns)
        self._add_fill(fill)

    def on_command(self, command: LpCommand) -> None:
        self._add_command(command)

    def on_position(self, position: VenuePosition) -> None:
        self._add_position(position)

    def on_verdict(self, verdict: GateVerdict) -> None:
        self._add_verdict(verdict)

    # --- levels -----------------------------------------------------------------------------------------------

    def on_lp(self, lp: LpState) -> None:
        level, at = self._lp, lp.event_time_ns
        if at < level.next_ns.get(lp.pool, 0) and level.facts.get(lp.pool) == lp.confirmed:
            level.skipped[lp.pool] = lp
            return
        level.facts[lp.pool] = lp.confirmed
        level.keep(lp.pool, lp, at)

    def on_delta(self, delta: InventoryDelta) -> None:
        level, at = self._delta, delta.event_time_ns
        if at < level.next_ns.get(delta.source, 0):
            level.skipped[delta.source] = delta
        else:
            level.keep(delta.source, delta, at)

    def on_exposure(self, exposure: NetExposure) -> None:
        level, at, base = self._exposure, exposure.event_time_ns, exposure.base
        net, venue = exposure.net_base, exposure.venue_base
        # Samples and the hedge's own steps alone would leave out how far exposure strayed before the hedge answered.
        kept_net, kept_venue = level.facts.get(base, (None, None))
        if at < level.next_ns.get(base, 0) and venue == kept_venue:
            stays = net is kept_net if net is None or kept_net is None else abs(net - kept_net) <= self.exposure_step
            if stays:
                level.skipped[base] = exposure
                return
        level.facts[base] = net, venue
        level.keep(base, exposure, at)

    def on_mark(self, mark: Mark) -> None:
        level, at = self._mark, mark.event_time_ns
        wanted = self.wanted
        if wanted and wanted[0] <= at:
            # The mark that held until now is the one that held then.
            while wanted and wanted[0] <= at:
                heappop(wanted)
            level.keep_skipped(mark.asset)
            level.keep(mark.asset, mark, at)
        elif at < level.next_ns.get(mark.asset, 0):
            level.skipped[mark.asset] = mark
        else:
            level.keep(mark.asset, mark, at)

    def on_pnl(self, pnl: PnlState) -> None:
        level, at = self._pnl, pnl.event_time_ns
        if at < level.next_ns.get(pnl.currency, 0):
            level.skipped[pnl.currency] = pnl
        else:
            level.keep(pnl.currency, pnl, at)

    def on_rate(self, rate: Conversion) -> None:
        level, at, key = self._rate, rate.event_time_ns, f"{rate.currency}/{rate.into}"
        if at < level.next_ns.get(key, 0) and level.facts.get(key) == rate.rate:
            level.skipped[key] = rate
            return
        level.facts[key] = rate.rate
        level.keep(key, rate, at)

    def on_target(self, target: RangeTarget) -> None:
        level, at = self._target, target.event_time_ns
        if at < level.next_ns.get(target.pool, 0):
            level.skipped[target.pool] = target
        else:
            level.keep(target.pool, target, at)

    # --- disk -------------------------------------------------------------------------------------------------

    def _level(self, table: str) -> _Level:
        return _Level(self._adder(table), round(self.sample_s * NS_PER_S))

    def _adder(self, table: str, at_once: bool = False) -> Callable[[Any], None]:
        """Return the function that adds a message to a table, and sees to it that it gets to disk in time."""
        add = self._file.adder(table)
        if not at_once and not self.commit_s:
            return add
        then = self._file.commit if at_once else self._wait

        def add_in_time(message: Any) -> None:
            add(message)
            then()

        return add_in_time

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            self.after(self.commit_s, self.commit)

    def commit(self) -> None:
        """Put on disk what waits."""
        self._waits = False
        self.checkpoint()


class _Level:
    """A table of levels: when each key may have its next row, and the message that was left out since the last."""

    def __init__(self, add: Callable[[Any], None], sample_ns: int) -> None:
        self.add = add
        self.sample_ns = sample_ns
        self.next_ns: dict[str, int] = {}
        self.skipped: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        """What makes a message worth a row when it changes, by key."""

    def keep(self, key: str, message: Any, at_ns: int) -> None:
        """Add a message."""
        self.skipped.pop(key, None)
        step = self.sample_ns
        if step:
            self.next_ns[key] = at_ns - at_ns % step + step
        self.add(message)

    def keep_skipped(self, key: str) -> None:
        """Add what was left out of one key."""
        message = self.skipped.pop(key, None)
        if message is not None:
            self.add(message)

    def flush(self) -> None:
        """Add what was left out of every key."""
        for key in list(self.skipped):
            self.keep_skipped(key)
