"""Net base exposure over LP sources and venues: the one definition that models, hedger, gate and report share."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from engine import NS_PER_S, In, Node, Out, metric, param, state
from nodes._lib.trade_ids import trade_key
from nodes.messages import Fill, InventoryDelta, NetExposure, VenueFills, VenuePosition

REMEMBERED_FILLS = 256


class VenueBase(msgspec.Struct):
    """Base held in one instrument: a level that contains all trades up to `last_trade_id`, and the fills after it."""

    level: Decimal = Decimal(0)
    last_trade_id: str = ""
    level_ns: int = -1
    later: dict[str, Decimal] = {}
    """Signed size of the fills after the level, by trade id."""
    bought: Decimal = Decimal(0)
    """All fills that were told, each once."""
    sold: Decimal = Decimal(0)
    counted: dict[str, None] = {}
    """Ids of the last of them, in order, and the id up to which no other is counted."""
    counted_to: str = ""

    def set_level(self, size: Decimal, last_trade_id: str, event_time_ns: int) -> None:
        """Take over a level unless a newer one is known, and forget the fills that it contains."""
        key = trade_key(last_trade_id)
        if (key, event_time_ns) < (trade_key(self.last_trade_id), self.level_ns):
            return
        self.level, self.last_trade_id, self.level_ns = size, last_trade_id, event_time_ns
        self.later = {trade_id: signed for trade_id, signed in self.later.items() if trade_key(trade_id) > key}

    def add_fill(self, trade_id: str, signed: Decimal) -> None:
        """Count a fill unless the level contains it; the same fill again changes nothing."""
        key = trade_key(trade_id)
        if key > trade_key(self.last_trade_id):
            self.later[trade_id] = signed
        if trade_id in self.counted or key <= trade_key(self.counted_to):
            return
        self.counted[trade_id] = None
        if len(self.counted) > REMEMBERED_FILLS:
            oldest = next(iter(self.counted))
            del self.counted[oldest]
            self.counted_to = max(oldest, self.counted_to, key=trade_key)
        if signed > 0:
            self.bought += signed
        else:
            self.sold -= signed

    def total(self) -> Decimal:
        """Return level plus later fills, base, long positive."""
        return self.level + sum(self.later.values(), Decimal(0))


NEVER_NS = -(1 << 62)


class NetExposureModel(Node):
    """Sum the inventory of every LP source and the position of every venue, in base units.

    LP inventory is one level per source, the latest by (epoch, sequence). A venue's base is its position's level plus
    the fills after the trade that it contains last; a fill is counted once, whether it or its position comes first and
    however often either is repeated. The sum is undefined (null) until each declared source and instrument was seen,
    while the stale action `undefined` holds, and when a source speaks that was not declared.
    """

    lp = In(InventoryDelta, many=True, critical=True, doc="Inventory of LP sources, levels.")
    position = In(VenuePosition, many=True, optional=True, doc="Positions at venues, levels.")
    fill = In(Fill, many=True, optional=True, doc="Executions at venues.")
    exposure = Out(NetExposure, doc="On each change, and every `repeat_s` while inputs speak.")

    stale_actions = {"undefined": "the net is undefined until each source of the input has spoken again"}  # noqa: RUF012

    base: str = param("ETH", doc="The base asset of every source and instrument.")
    sources: tuple[str, ...] = param(
        (), doc="LP sources that must be known, as chain:pool:wallet. Empty: whichever speaks, and at least one."
    )
    instruments: tuple[str, ...] = param((), doc="Instruments whose position must be known before the net is defined.")
    repeat_s: float = param(60.0, unit="s", exclusiveMinimum=0, doc="An unchanged net is sent again after this time.")

    venues: dict[str, VenueBase] = state(factory=dict, doc="Base by instrument.")
    levels: dict[str, tuple[int, int, float]] = state(factory=dict, doc="LP level by source: epoch, sequence, base.")
    missing: set[str] = state(factory=set, doc="What has not been seen since the start, a restart, or a silence.")
    sent_ns: int = state(NEVER_NS, doc="Time of the last message.")

    net: float | None = metric(unit="base", doc="Net exposure, long positive; none while it is undefined.")

    def start(self) -> None:
        for instrument in self.instruments:
            self._check_base(instrument)
        self.known_sources = frozenset(self.sources)
        if self.sent_ns == NEVER_NS:
            self.missing = self._all()
        self.lp_base = sum((self.levels[key][2] for key in sorted(self.levels)), 0.0)
        self.venue_base = float(sum((venue.total() for venue in self.venues.values()), Decimal(0)))
        self.filled = self._filled()
        self.repeat_ns = round(self.repeat_s * NS_PER_S)

    def resume(self) -> None:
        # Nothing restored counts as seen: the LP and the venues may have traded meanwhile.
        self.missing = self._all()
        self._send()

    def _all(self) -> set[str]:
        return {*self.sources, *self.instruments} or {"lp"}

    def on_lp(self, delta: InventoryDelta) -> None:
        source = delta.source
        level = self.levels.get(source)
        if level is not None and (delta.epoch < level[0] or (delta.epoch == level[0] and delta.sequence < level[1])):
            return
        self.levels[source] = (delta.epoch, delta.sequence, delta.delta_base)
        news = self.missing and self._seen_lp(source)
        if level is None or level[2] != delta.delta_base:
            levels = self.levels
            self.lp_base = delta.delta_base if len(levels) == 1 else sum(levels[key][2] for key in sorted(levels))
            self._send()
        elif news or self.clock.now_ns - self.sent_ns >= self.repeat_ns:
            self._send()

    def on_position(self, position: VenuePosition) -> None:
        venue = self._venue(position.instrument)
        venue.set_level(position.size, position.last_trade_id, position.event_time_ns)
        news = position.instrument in self.missing
        self.missing.discard(position.instrument)
        self._sum_venues(news)

    def on_fill(self, fill: Fill) -> None:
        venue = self._venue(fill.instrument)
        venue.add_fill(fill.trade_id, fill.size if fill.side == "buy" else -fill.size)
        before, self.filled = self.filled, self._filled()
        self._sum_venues(self.filled != before)

    def _filled(self) -> tuple[VenueFills, ...]:
        return tuple(
            VenueFills(instrument, venue.bought, venue.sold)
            for instrument, venue in self.venues.items()
            if venue.bought or venue.sold
        )

    def input_stale(self, name: str, action: str) -> None:
        if name == "lp":
            self.missing |= set(self.sources) or {"lp"}
        elif name == "position":
            self.missing |= set(self.instruments or self.venues)
        self._send()

    def _seen_lp(self, source: str) -> bool:
        # Whether this source's word changes what is missing.
        if self.known_sources and source not in self.known_sources:
            return False
        before = len(self.missing)
        self.missing.discard(source if self.known_sources else "lp")
        return len(self.missing) != before

    def _venue(self, instrument: str) -> VenueBase:
        venue = self.venues.get(instrument)
        if venue is None:
            self._check_base(instrument)
            venue = self.venues[instrument] = VenueBase()
        return venue

    def _check_base(self, instrument: str) -> None:
        base = instrument.split("-", maxsplit=1)[0]
        if base != self.base:
            raise ValueError(
                f"node {self.id!r} sums {self.base}, but is wired to {instrument}: "
                f"set its param base, or wire a market of {self.base}"
            )

    def _sum_venues(self, news: bool) -> None:
        total = float(sum((venue.total() for venue in self.venues.values()), Decimal(0)))
        if total != self.venue_base or news:
            self.venue_base = total
            self._send()

    def _send(self) -> None:
        self.sent_ns = now_ns = self.clock.now_ns
        unknown: tuple[str, ...] = tuple(sorted(self.missing)) if self.missing else ()
        if self.known_sources and len(self.levels) > len(self.known_sources):
            unknown += tuple(
                sorted(f"undeclared:{source}" for source in self.levels if source not in self.known_sources)
            )
        net: float | None = self.lp_base + self.venue_base
        if unknown or not -math.inf < self.lp_base < math.inf:
            net = None
            unknown = unknown or ("lp is not finite",)
        self.net = net
        self.exposure(
            base=self.base,
            event_time_ns=now_ns,
            net_base=net,
            lp_base=self.lp_base,
            venue_base=self.venue_base,
            unknown=unknown,
            filled=self.filled,
        )
