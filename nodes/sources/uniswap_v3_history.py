"""Replay every swap of a Uniswap v3 pool from a file of its events."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from engine import NS_PER_S, Node, Out, param
from nodes._lib.pool_history import PoolEvent, read_pool_events
from nodes._lib.pool_position import price_of_sqrt
from nodes._lib.replay_span import bounds_ns, last_replayed_ns
from nodes._lib.ticks import Orientation
from nodes.messages import PoolState

REPEAT_GAP_NS = 12 * NS_PER_S


class UniswapV3History(Node):
    """Recorded swaps of a Uniswap v3 pool, one state each, in base and quote.

    Mints and burns of others show in the liquidity of the next swap. A block's last swap is marked `block_closed`; the
    swaps of a block share its time. A file that cannot be true is refused with its line.
    """

    simulated = "recorded swaps stand in for the chain"

    state = Out(PoolState, doc="One per swap.", tags={"pair": "pool"})

    file: str = param(path=True, doc="Events of the pool, CSV or CSV.gz, in the order of the chain.")
    pool: str = param(doc="Name of the pool, as in ETH-USDC-5.")
    quote_is_token0: bool = param(doc="Whether the pool's token0 is the quote (USDC/WETH on Ethereum: true).")
    base_decimals: int = param(18, minimum=0, maximum=36, unit="1", doc="Decimals of the base token.")
    quote_decimals: int = param(6, minimum=0, maximum=36, unit="1", doc="Decimals of the quote token.")
    protocol_fee_base: int = param(
        0, minimum=0, maximum=10, unit="1", doc="0, or n: the protocol keeps 1/n of fees in base."
    )
    protocol_fee_quote: int = param(0, minimum=0, maximum=10, unit="1", doc="0, or n: the same for fees in quote.")
    begin: str = param("", doc="First time to replay, as YYYY-MM-DD HH:MM:SS in UTC; empty for the file's first.")
    end: str = param("", doc="Time before which to end, in the same form; empty for the file's last.")
    repeat: int = param(
        1, minimum=1, unit="1", doc="Replay the file so many times, one after the other; for benchmarks."
    )

    def history(self) -> Iterator[tuple[int, PoolState]]:
        """Yield (time, state) of each swap."""
        shift_ns = shift_blocks = 0
        # Replayed again and again the swaps are kept; replayed once they are streamed.
        kept = list(self._swaps()) if self.repeat > 1 else None
        for turn in count(1):
            first = last = None
            swaps = iter(kept) if kept is not None else self._swaps()
            for state in self._states(swaps, shift_ns, shift_blocks):
                first = first or state
                last = state
                yield state.event_time_ns, state
            if turn == self.repeat or first is None or last is None:
                return
            shift_ns += last.event_time_ns - first.event_time_ns + REPEAT_GAP_NS
            shift_blocks += last.block - first.block + 1

    def history_end_ns(self) -> int:
        """Return about when the replay ends."""
        return last_replayed_ns([self.file], 1, self.begin, self.end, self.repeat)

    def _swaps(self) -> Iterator[PoolEvent]:
        begin_ns, end_ns = bounds_ns(self.begin, self.end)
        for event in read_pool_events(self.file):
            if end_ns is not None and event.event_time_ns >= end_ns:
                return
            if event.kind == "swap" and event.event_time_ns >= begin_ns:
                yield event

    def _states(self, swaps: Iterator[PoolEvent], shift_ns: int, shift_blocks: int) -> Iterator[PoolState]:
        orientation = Orientation(self.base_decimals, self.quote_decimals, self.quote_is_token0, spacing=1)
        swap = next(swaps, None)
        before = price_of_sqrt(orientation, swap.sqrt_price_x96) if swap else 0.0
        while swap is not None:
            following = next(swaps, None)
            price = price_of_sqrt(orientation, swap.sqrt_price_x96)
            in0, in1 = max(0, swap.amount0), max(0, swap.amount1)
            yield PoolState(
                pool=self.pool,
                event_time_ns=swap.event_time_ns + shift_ns,
                block=swap.block + shift_blocks,
                price=price,
                price_low=min(before, price),
                price_high=max(before, price),
                sqrt_price_x96=swap.sqrt_price_x96,
                tick=swap.tick,
                liquidity=swap.liquidity,
                base_in=in1 if self.quote_is_token0 else in0,
                quote_in=in0 if self.quote_is_token0 else in1,
                block_closed=following is None or following.block != swap.block,
                protocol_fee_base=self.protocol_fee_base,
                protocol_fee_quote=self.protocol_fee_quote,
            )
            before, swap = price, following
