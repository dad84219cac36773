"""What happens outside the trading loop, by seed: a market, an LP or a pool, and what goes wrong with them.

`script(seed, lp)` yields (time in s, act) in order of time. An act is a message that a writer outside sends, or a
fault: a link is cut, the venue slows down, the ledger is restarted, and at last everything is mended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from engine import NS_PER_S, Message
from nodes._lib.pool_position import sqrt_of_price
from nodes._lib.ticks import TICK_SPACING, Orientation
from nodes.messages import Book, InventoryDelta, PoolState, RangeTarget, Trade

PERP = "ETH-USDT-PERP"
POOL = "ETH-USDC-5"
SOURCE = "ethereum:ETH-USDC-5:lp"
START_S = 1_700_000_000
FAULTY_S = 1_200.0
CALM_S = 700.0
TICK = 0.01
ORIENTATION = Orientation(18, 6, True, TICK_SPACING[500])


@dataclass(frozen=True, slots=True)
class Say:
    """A writer outside sends a message from one of its ports."""

    port: tuple[str, str]
    message: Message


@dataclass(frozen=True, slots=True)
class Fault:
    """Something breaks, or is mended."""

    kind: Literal["silence", "latency", "restart_ledger", "mend"]
    link: str = ""
    seconds: float = 0.0


Act = Say | Fault


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` to `end`, in s since the start, the market or the LP shows one kind of fault."""

    kind: str
    begin: float
    end: float


BOOK_FAULTS = ("crossed", "one_sided", "zero_size", "not_a_number", "spike", "burst", "no_books")
LP_FAULTS = ("lp_silent", "lp_not_a_number", "lp_restart", "lp_jump")
LINK_FAULTS = ("cut_hedger_books", "cut_gate_books", "cut_delta", "cut_updates", "cut_gate_updates", "cut_fills")
OTHER_FAULTS = ("slow_venue", "restart_ledger")


def windows(random: Random) -> list[Window]:
    """Return the fault plan: 8 to 14 windows, in order of their beginning."""
    plan = []
    for _ in range(random.randint(8, 14)):
        kind = random.choice(BOOK_FAULTS + LP_FAULTS + LINK_FAULTS + OTHER_FAULTS)
        length = 300.0 if kind == "no_books" else random.choice((1.0, 5.0, 20.0, 90.0))
        begin = random.uniform(5.0, FAULTY_S - 100.0)
        plan.append(Window(kind, begin, min(begin + length, FAULTY_S)))
    return sorted(plan, key=lambda window: window.begin)


def script(seed: int, lp: bool) -> Iterator[tuple[float, Act]]:
    """Yield (s since the start, act). With `lp` the pool is scripted and the LP is real; without, its deltas are."""
    random = Random(f"{seed}:script")
    plan = windows(random)
    pending = [*_faults(plan, random), (FAULTY_S, Fault("mend"))]
    pending.sort(key=lambda item: item[0])
    market = _Market(random)
    source: _Pool | _Lp = _Pool(market, random) if lp else _Lp(market, random)
    now, end = 0.0, FAULTY_S + CALM_S
    while now < end:
        while pending and pending[0][0] <= now:
            yield pending.pop(0)
        active = {window.kind for window in plan if window.begin <= now < window.end}
        calm = now >= FAULTY_S
        for act in market.step(now, active, calm):
            yield now, act
        for act in source.step(now, active, calm):
            yield now, act
        pause = random.expovariate(1.0)
        now += 0.001 if "burst" in active and random.random() < 0.8 else min(max(pause, 0.01), 4.0)


def _faults(plan: list[Window], random: Random) -> Iterator[tuple[float, Fault]]:
    for window in plan:
        if window.kind.startswith("cut_"):
            # A wire of state may be cut for long; what is kept and comes late is bounded by the time to settle.
            link = window.kind.removeprefix("cut_")
            most = 300.0 if link in ("hedger_books", "gate_books", "delta") else 3.0
            yield window.begin, Fault("silence", link, min(window.end - window.begin, most))
        elif window.kind == "slow_venue":
            yield window.begin, Fault("latency", "", random.choice((0.5, 2.0, 8.0, 20.0)))
            yield window.end, Fault("latency", "", 0.05)
        elif window.kind == "restart_ledger":
            yield window.begin, Fault("restart_ledger")


@dataclass
class _Market:
    """A venue whose mid walks at random, with trades of others at its best prices."""

    random: Random
    mid: float = 2_000.0

    def step(self, now: float, active: set[str], calm: bool) -> Iterator[Act]:
        random = self.random
        self.mid *= math.exp(random.gauss(0.0, 0.00008))
        if "no_books" in active:
            return
        spread = TICK * random.choice((1, 1, 2, 5))
        bid = math.floor(self.mid / TICK) * TICK
        ask = round(bid + spread, 2)
        bid = round(bid, 2)
        size = random.expovariate(0.3) + 0.001, random.expovariate(0.3) + 0.001
        at = round((START_S + now) * NS_PER_S)
        yield Say(("market", "book"), Book(PERP, at, at, *self._shown(active, (bid, size[0], ask, size[1]))))
        if random.random() < 0.7:
            aggressor: Literal["buy", "sell"] = random.choice(("buy", "sell"))
            beyond = random.choice((0, 0, 0, 1, 4)) * TICK
            price = round(ask + beyond if aggressor == "buy" else bid - beyond, 2)
            amount = round(random.expovariate(0.5) + 0.001, 3) * (3 if calm else 1)
            yield Say(("market", "trade"), Trade(PERP, at, at, price, amount, aggressor))

    def _shown(self, active: set[str], sound: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        # The book as it is shown: of ten in a faulty window, seven are not sound.
        bid, bid_size, ask, ask_size = sound
        random = self.random
        kinds = sorted(active.intersection(BOOK_FAULTS))
        if not kinds or random.random() < 0.3:
            return sound
        bad = random.choice(("nan", "inf"))
        match random.choice(kinds):
            case "crossed":
                return ask, bid_size, random.choice((ask, bid)), ask_size
            case "one_sided":
                return random.choice(((0.0, 0.0, ask, ask_size), (bid, bid_size, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)))
            case "zero_size":
                return random.choice(((bid, 0.0, ask, ask_size), (bid, bid_size, ask, 0.0)))
            case "not_a_number":
                odd = float(bad)
                return random.choice(
                    ((odd, bid_size, ask, ask_size), (bid, bid_size, odd, ask_size), (bid, odd, ask, ask_size))
                )
            case "spike":
                factor = random.choice((10.0, 0.1))
                return round(bid * factor, 2), bid_size, round(ask * factor + TICK, 2), ask_size
            case _:
                return sound


@dataclass
class _Lp:
    """An LP that is not there: its level of base moves by steps, and is told every few seconds."""

    market: _Market
    random: Random
    level: float = 0.0
    epoch: int = 1
    sequence: int = 0
    told_at: float = -100.0
    jumped: float = -100.0

    def step(self, now: float, active: set[str], calm: bool) -> Iterator[Act]:
        random = self.random
        moved = False
        if not calm:
            if random.random() < 0.04:
                self.level += random.gauss(-0.05 * self.level, 1.0)
                moved = True
            if "lp_jump" in active and now - self.jumped > 60.0:
                self.jumped, moved = now, True
                self.level += random.choice((-12.0, -5.0, 5.0, 12.0, 25.0))
                self.level = min(max(self.level, -30.0), 30.0)
            if "lp_restart" in active and random.random() < 0.1:
                self.epoch, self.sequence = self.epoch + 1, 0
        if "lp_silent" in active or not (moved or now - self.told_at >= 10.0):
            return
        self.told_at = now
        self.sequence += 1
        odd = "lp_not_a_number" in active and random.random() < 0.5
        yield Say(("script", "delta"), self._delta(now, float("nan") if odd else self.level))

    def _delta(self, now: float, level: float) -> InventoryDelta:
        price = self.market.mid
        return InventoryDelta(
            source=SOURCE,
            pool=POOL,
            event_time_ns=round((START_S + now) * NS_PER_S),
            block=int(now),
            block_hash="",
            expires_block=int(now) + 25,
            epoch=self.epoch,
            sequence=self.sequence,
            delta_base_wei=0,
            delta_base=level,
            base_target=0.0,
            base_in_positions=level,
            base_uncollected=0.0,
            base_in_wallet=0.0,
            quote_total=0.0,
            pending_base_change=0.0,
            price=price,
            sqrt_price=price**0.5,
            positions=(),
            value_usd=level * price,
            usd_rate=1.0,
            inventory_ratio=0.5,
            target_ratio=0.0,
            deviation=0.5,
        )


@dataclass
class _Pool:
    """A pool whose price follows the venue's with swings of its own, and a model that advises ranges around it."""

    market: _Market
    random: Random
    swing: float = 0.0
    block: int = 0
    told_at: float = -100.0
    price: float = field(default=0.0, init=False)

    def step(self, now: float, active: set[str], calm: bool) -> Iterator[Act]:
        if now - self.told_at < 6.0 or "lp_silent" in active:
            return
        random = self.random
        self.told_at = now
        before = self.price or self.market.mid
        if not calm:
            self.swing = self.swing * 0.97 + random.gauss(0.0, 0.0015)
            if "lp_jump" in active and random.random() < 0.2:
                self.swing += random.choice((-0.02, 0.02))
            self.price = self.market.mid * math.exp(self.swing)
        else:
            self.price *= 1 + random.choice((-1e-7, 1e-7))  # the LP speaks when its pool's price moves
        price = self.price
        self.block += 1
        at = round((START_S + now) * NS_PER_S)
        paid = abs(price / before - 1) * 5e6
        falling = price < before
        yield Say(
            ("pool", "state"),
            PoolState(
                pool=POOL,
                event_time_ns=at,
                block=self.block,
                price=price,
                price_low=min(price, before),
                price_high=max(price, before),
                sqrt_price_x96=sqrt_of_price(ORIENTATION, price),
                tick=math.floor(ORIENTATION.tick(price)),
                liquidity=10**19,
                base_in=int(paid / price * 10**18) if falling else 0,
                quote_in=0 if falling else int(paid * 10**6),
                block_closed=random.random() < 0.9,
            ),
        )
        target = self._target(at)
        yield Say(("ranges", "target"), target)

    def _target(self, at: int) -> Any:
        width = self.random.uniform(0.002, 0.02)
        price = self.price
        return RangeTarget(POOL, at, price, price * (1 - width), price * (1 + width), price)
