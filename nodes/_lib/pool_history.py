"""A pool's recorded history: every event of a day, or one row a minute.

Everything is in the contract's own orientation and integers (token0, token1, ticks, X96 square-root prices).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from pathlib import Path

import msgspec

from engine import NS_PER_S
from nodes._lib.history import BadData, OnBad, Record, Table, read_all, refuse, time_ns, time_text

MIN_SQRT_PRICE_X96 = 4295128739
MAX_SQRT_PRICE_X96 = 1461446703485210103287273052203988822378723970342
_PER_Q96 = 2.0**-96
_HALF_TICKS = 2 / log(1.0001)
_MINUTE_NS = 60 * NS_PER_S
_KINDS = {"MINT": "mint", "BURN": "burn", "COLLECT": "collect"}


# --- every event --------------------------------------------------------------------------------------------------


class PoolEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a pool contract, in the order of the chain.

    `amount0` and `amount1` are from the pool's point of view for a swap (paid in is positive) and what was paid in or
    out, not negative, otherwise. `sqrt_price_x96`, `liquidity` (in range) and `tick` are the pool's state after a
    swap, 0 for other kinds; `position` (an NFT's id, or the owner's address), `lower`, `upper` and
    `position_liquidity` (minted or burned) belong to the other kinds.
    """

    block: int
    event_time_ns: int
    log_index: int
    tx: str
    kind: str
    amount0: int
    amount1: int
    sqrt_price_x96: int = 0
    liquidity: int = 0
    tick: int = 0
    position: str = ""
    lower: int = 0
    upper: int = 0
    position_liquidity: int = 0


class _EventRow(Record, frozen=True):
    block: int
    time: str
    log_index: int
    tx: str
    type: str
    amount0: int
    amount1: int
    sqrtPriceX96: str
    liquidity: str
    tick: str
    position: str
    lower: str
    upper: str
    position_liquidity: str


_EVENTS = Table(_EventRow)


def read_pool_events(path: Path | str, on_bad: OnBad = refuse) -> Iterator[PoolEvent]:
    """Yield all swaps, mints, burns and collects of a file, in the order of block and log index.

    Bad rows go to `on_bad`: a field that is no integer, an unknown kind, an event that repeats or goes back, two times
    in one block, a swap whose amounts have one sign or whose tick is not the tick of its price.
    """
    block, log_index, at_ns = -1, -1, -1
    for line, row in _EVENTS.read(path, on_bad):
        try:
            event = _event(row)
        except ValueError as error:
            on_bad(BadData(path, line, str(error)))
            continue
        if event.block > block:
            follows = event.event_time_ns > at_ns
        else:
            follows = event.block == block and event.event_time_ns == at_ns and event.log_index > log_index
        if follows:
            wrong = _implausible(event)
        elif event.block == block and event.log_index == log_index:
            wrong = f"event {block}/{log_index} is there twice"
        else:
            before = f"{block}/{log_index} of {time_text(at_ns)}"
            wrong = f"event {event.block}/{event.log_index} of {row.time} does not follow {before}"
        if wrong:
            on_bad(BadData(path, line, wrong))
            continue
        block, log_index, at_ns = event.block, event.log_index, event.event_time_ns
        yield event


def _event(row: _EventRow) -> PoolEvent:
    # Raises ValueError with what is wrong.
    at_ns = time_ns(row.time)
    if row.type == "SWAP":
        root, liquidity, tick = int(row.sqrtPriceX96), int(row.liquidity), int(row.tick)
        return PoolEvent(
            row.block, at_ns, row.log_index, row.tx, "swap", row.amount0, row.amount1, root, liquidity, tick
        )
    if row.type not in _KINDS:
        raise ValueError(f"type is {row.type!r}; known are SWAP, {', '.join(_KINDS)}")
    return PoolEvent(
        *(row.block, at_ns, row.log_index, row.tx, _KINDS[row.type], row.amount0, row.amount1, 0, 0, 0),
        *(row.position, int(row.lower), int(row.upper), int(row.position_liquidity or 0)),
    )


def _implausible(event: PoolEvent) -> str:
    # What is wrong with the event by itself; empty when nothing is.
    if event.kind == "swap":
        if (event.amount0 > 0 and event.amount1 > 0) or (event.amount0 < 0 and event.amount1 < 0):
            return f"a swap has amounts of one sign, {event.amount0} and {event.amount1}"
        if not MIN_SQRT_PRICE_X96 <= event.sqrt_price_x96 < MAX_SQRT_PRICE_X96 or event.liquidity < 0:
            return f"sqrtPriceX96 {event.sqrt_price_x96} or liquidity {event.liquidity} is outside what a pool allows"
        # A swap that stops on a tick going down rests one below it, and float64 is a little off.
        if not -0.001 <= log(event.sqrt_price_x96 * _PER_Q96) * _HALF_TICKS - event.tick <= 1.001:
            return f"tick {event.tick} is not the tick of sqrtPriceX96 {event.sqrt_price_x96}"
    elif event.amount0 < 0 or event.amount1 < 0 or event.position_liquidity < 0:
        return f"a {event.kind} has a negative amount"
    elif event.lower >= event.upper:
        return f"the range [{event.lower}, {event.upper}] of a {event.kind} is empty"
    return ""


# --- the state from which events go on ----------------------------------------------------------------------------


class OpenedPosition(msgspec.Struct, frozen=True, gc=False):
    """A position that was opened and fully collected within the file: what it really got, to check fees against.

    `collected` and `left` are (amount0, amount1): what was paid out by `time` and what stayed owed.
    """

    position: str
    lower: int
    upper: int
    time: str
    collected: tuple[int, int]
    exact: bool
    left: tuple[int, int]


class PoolStart(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "tick_spacing": "tickSpacing",
        "sqrt_price_x96": "sqrtPriceX96",
        "liquidity_net": "liquidity_net_at_day_start",
        "vanishing_ticks": "ticks_that_vanish_when_older_positions_burn",
        "opened": "positions_opened_and_collected_that_day",
    },
):
    """State of a pool right after event number `start_after_event` (from 0) of its file.

    `liquidity_net` holds (tick, net liquidity) of all initialised ticks in reach. `guessed_intervals` are tick
    indices divided by the spacing where no swap came to rest, so that their liquidity was inferred; `vanishing_ticks`
    become uninitialised when positions older than the file are burned.
    """

    start_after_event: int
    fee: int
    tick_spacing: int
    sqrt_price_x96: int
    tick: int
    liquidity: int
    liquidity_net: tuple[tuple[int, int], ...]
    guessed_intervals: tuple[int, ...] = ()
    vanishing_ticks: tuple[int, ...] = ()
    opened: tuple[OpenedPosition, ...] = ()


def read_pool_start(path: Path | str) -> PoolStart:
    """Return the start state of a file of events.

    Raises BadData when it cannot be read, and when the net liquidity up to the tick is not the liquidity in range.
    """
    try:
        start = msgspec.json.decode(read_all(path), type=PoolStart, strict=False)
    except msgspec.MsgspecError as error:
        raise BadData(path, 1, f"is not a pool's start state: {error}") from error
    in_range = sum(net for tick, net in start.liquidity_net if tick <= start.tick)
    if in_range != start.liquidity:
        raise BadData(path, 1, f"net liquidity up to tick {start.tick} is {in_range}, liquidity says {start.liquidity}")
    return start


# --- minutes ------------------------------------------------------------------------------------------------------


class PoolMinute(msgspec.Struct, frozen=True, gc=False):
    """The swaps of one minute, summed up; known at its end, `event_time_ns`.

    `net0`, `net1`: what the pool gained (paid in is positive). `in0`, `in1`: what swappers paid in, fee included.
    Ticks are the contract's; `liquidity` is what was in range at the end.
    """

    event_time_ns: int
    start_time_ns: int
    net0: int
    net1: int
    open_tick: int
    close_tick: int
    lowest_tick: int
    highest_tick: int
    in0: int
    in1: int
    liquidity: int


class _MinuteRow(Record, frozen=True):
    timestamp: str
    netAmount0: int
    netAmount1: int
    closeTick: int
    openTick: int
    lowestTick: int
    highestTick: int
    inAmount0: int
    inAmount1: int
    currentLiquidity: int


_MINUTES = Table(_MinuteRow)


def read_pool_minutes(
    paths: Sequence[Path | str], max_gap_minutes: int = 5, on_bad: OnBad = refuse
) -> Iterator[PoolMinute]:
    """Yield the minutes of one or more files, which follow each other in time.

    The files hold a row for every minute, without swaps too. Minutes that are missing nevertheless are passed over: no
    row is made up, so whatever was traded in them counts as nothing. More than `max_gap_minutes` of them in a row are
    a bad row, because that is a hole and not a hiccup. In about one row of eighty of this source the closing tick
    lies outside lowest and highest; these are widened to contain it.
    """
    furthest_ns = (max_gap_minutes + 1) * _MINUTE_NS
    previous_ns = -1
    for path in paths:
        for line, row in _MINUTES.read(path, on_bad):
            try:
                at_ns = time_ns(row.timestamp)
            except ValueError as error:
                on_bad(BadData(path, line, str(error)))
                continue
            if not 0 < at_ns - previous_ns <= furthest_ns and previous_ns >= 0:
                on_bad(BadData(path, line, _jump(at_ns, previous_ns, max_gap_minutes)))
                if at_ns <= previous_ns:
                    continue
            net0, net1, in0, in1 = row.netAmount0, row.netAmount1, row.inAmount0, row.inAmount1
            opened, close, low, high = row.openTick, row.closeTick, row.lowestTick, row.highestTick
            liquidity = row.currentLiquidity
            if low > high or in0 < net0 or in1 < net1 or in0 < 0 or in1 < 0 or liquidity <= 0:
                on_bad(BadData(path, line, _wrong_minute(low, high, (net0, net1), (in0, in1), liquidity)))
                continue
            if not (low <= close <= high and low <= opened <= high):
                low, high = min(low, opened, close), max(high, opened, close)
            previous_ns = at_ns
            yield PoolMinute(at_ns + _MINUTE_NS, at_ns, net0, net1, opened, close, low, high, in0, in1, liquidity)


def _jump(at_ns: int, previous_ns: int, max_gap_minutes: int) -> str:
    now, before = time_text(at_ns), time_text(previous_ns)
    if at_ns <= previous_ns:
        return f"{now} is not after {before}, the minute before (a repeated or misplaced row)"
    missing = (at_ns - previous_ns) // _MINUTE_NS - 1
    return f"{missing} minutes are missing between {before} and {now}; allowed are {max_gap_minutes}"


def _wrong_minute(low: int, high: int, net: tuple[int, int], paid: tuple[int, int], liquidity: int) -> str:
    if low > high:
        return f"lowestTick {low} is above highestTick {high}"
    if liquidity <= 0:
        return f"currentLiquidity is {liquidity}; swaps need some"
    token = 0 if paid[0] < max(net[0], 0) else 1
    return f"inAmount{token} {paid[token]} is negative or less than netAmount{token} {net[token]}"
