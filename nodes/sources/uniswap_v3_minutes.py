"""Replay a Uniswap v3 pool from rows of one minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import astuple

from engine import NS_PER_S, Node, Out, param
from nodes._lib.pool_history import PoolMinute, read_pool_minutes
from nodes._lib.pool_position import sqrt_ratio_at_tick
from nodes._lib.replay_span import bounds_ns, last_replayed_ns
from nodes._lib.ticks import Orientation
from nodes.messages import PoolState

MINUTE_NS = 60 * NS_PER_S


class UniswapV3Minutes(Node):
    """Recorded minutes of a Uniswap v3 pool, one state each at the minute's end, in base and quote.

    Prices are those of ticks, so they are good to 1 bp, and flows are sums over the minute: fees that follow from them
    are estimates (`estimated`). The path inside a minute is not known. Block numbers are not in the files and are 0.
    """

    simulated = "recorded minutes stand in for the chain"

    state = Out(PoolState, doc="One per minute.", tags={"pair": "pool"})

    files: list[str] = param(path=True, doc="Minutes of the pool, CSV or CSV.gz; the files follow each other.")
    pool: str = param(doc="Name of the pool, as in ETH-USDC-5.")
    quote_is_token0: bool = param(doc="Whether the pool's token0 is the quote (USDC/WETH on Polygon: true).")
    base_decimals: int = param(18, minimum=0, maximum=36, unit="1", doc="Decimals of the base token.")
    quote_decimals: int = param(6, minimum=0, maximum=36, unit="1", doc="Decimals of the quote token.")
    protocol_fee_base: int = param(
        0, minimum=0, maximum=10, unit="1", doc="0, or n: the protocol keeps 1/n of fees in base."
    )
    protocol_fee_quote: int = param(0, minimum=0, maximum=10, unit="1", doc="0, or n: the same for fees in quote.")
    begin: str = param("", doc="First time to replay, as YYYY-MM-DD HH:MM:SS in UTC; empty for the files' first.")
    end: str = param("", doc="Time at which to end, in the same form; empty for the files' last.")
    repeat: int = param(
        1, minimum=1, unit="1", doc="Replay the files so many times, one after the other; for benchmarks."
    )

    def history(self) -> Iterator[tuple[int, PoolState]]:
        """Yield (time, state) of each minute."""
        if self.repeat == 1:
            for state in self._states(self._minutes()):
                yield state.event_time_ns, state
            return
        # Replayed again and again the states are kept: only their time is another.
        kept = [(state.event_time_ns, astuple(state)[2:]) for state in self._states(self._minutes())]
        pool, span_ns = self.pool, kept[-1][0] - kept[0][0] + MINUTE_NS if kept else 0
        for shift_ns in range(0, self.repeat * span_ns, span_ns or 1):
            for first_ns, rest in kept:
                now_ns = first_ns + shift_ns
                yield now_ns, PoolState(pool, now_ns, *rest)

    def history_end_ns(self) -> int:
        """Return about when the replay ends."""
        return last_replayed_ns(self.files, 0, self.begin, self.end, self.repeat)

    def _minutes(self) -> Iterator[PoolMinute]:
        begin_ns, end_ns = bounds_ns(self.begin, self.end)
        for minute in read_pool_minutes(self.files):
            if end_ns is not None and minute.event_time_ns > end_ns:
                return
            if minute.start_time_ns >= begin_ns:
                yield minute

    def _states(self, minutes: Iterable[PoolMinute]) -> Iterator[PoolState]:
        orientation = Orientation(self.base_decimals, self.quote_decimals, self.quote_is_token0, spacing=1)
        prices: dict[int, float] = {}

        def price_of(tick: int) -> float:
            found = prices.get(tick)
            if found is None:
                found = prices[tick] = orientation.price(tick)
            return found

        inverted, pool = self.quote_is_token0, self.pool
        protocol_base, protocol_quote = self.protocol_fee_base, self.protocol_fee_quote
        before = 0
        for minute in minutes:
            close = minute.close_tick
            before = before or close
            # Both ends of the move since the previous minute are part of this one.
            low, high = min(minute.lowest_tick, before), max(minute.highest_tick, before)
            before = close
            # By position: this is the hot loop of long backtests.
            yield PoolState(
                pool,
                minute.event_time_ns,
                0,
                price_of(close),
                price_of(high if inverted else low),
                price_of(low if inverted else high),
                sqrt_ratio_at_tick(close),
                close,
                minute.liquidity,
                minute.in1 if inverted else minute.in0,
                minute.in0 if inverted else minute.in1,
                True,
                True,
                protocol_base,
                protocol_quote,
            )
