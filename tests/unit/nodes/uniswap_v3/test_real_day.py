"""The real morning of 2024-01-05 on the USDC/WETH 5 bp pool: every swap and every fee to the last unit."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from nodes._lib.uniswap_v3 import tick_bitmap
from nodes._lib.uniswap_v3.integers import U128, Revert
from nodes._lib.uniswap_v3.pool import Pool, TickInfo
from nodes._lib.uniswap_v3.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO

DATA = Path(__file__).parents[4] / "data"
DAY = "mainnet_usdc_weth_5bps_2024-01-05_morning"
OLDER = 1 << 100
"""Gross liquidity of ticks whose positions were opened before the day: how much is not known, only that it is there."""


def test_every_swap_and_fee_of_a_morning_is_exact() -> None:
    start = json.loads((DATA / f"{DAY}.start.json").read_text())
    pool = pool_at(start)
    gone = set(start["ticks_that_vanish_when_older_positions_burn"])
    expected: dict[Any, list[int]] = {}
    for known in start["positions_opened_and_collected_that_day"]:
        key = known["position"], known["lower"], known["upper"]
        before = expected.get(key, [0, 0])  # some were opened and collected more than once
        expected[key] = [had + int(new) for had, new in zip(before, known["collected"], strict=True)]
    collected: dict[Any, list[int]] = {key: [0, 0] for key in expected}
    swaps = 0
    for event in list(events())[1:]:
        key = event["position"], whole(event["lower"]), whole(event["upper"])
        match event["type"]:
            case "SWAP":
                assert swap(pool, event), event
                swaps += 1
            case "MINT":
                minted = pool.mint(*key, whole(event["position_liquidity"]))
                assert minted == (whole(event["amount0"]), whole(event["amount1"])), event
            case "BURN":
                burn(pool, key, abs(whole(event["position_liquidity"])), gone)
            case "COLLECT" if key in expected:
                pool.burn(*key, 0) if pool.positions[key].liquidity else None
                paid = pool.collect(*key, U128, U128)
                collected[key] = [had + new for had, new in zip(collected[key], paid, strict=True)]
    assert swaps == 2841
    assert collected == expected


def whole(text: str) -> int:
    return int(text) if text else 0


def events() -> Iterator[dict[str, str]]:
    with gzip.open(DATA / f"{DAY}.csv.gz", "rt") as file:
        yield from csv.DictReader(file)


def pool_at(start: dict[str, Any]) -> Pool:
    pool = Pool(start["fee"], start["tickSpacing"], time=1)
    pool.initialize(int(start["sqrtPriceX96"]))
    pool.tick, pool.liquidity = start["tick"], int(start["liquidity"])
    pool.balance0 = pool.balance1 = U128
    for tick, net in start["liquidity_net_at_day_start"]:
        pool.ticks[tick] = TickInfo(OLDER, int(net))
        tick_bitmap.flip_tick(pool.bitmap, tick, pool.tick_spacing)
    return pool


def swap(pool: Pool, event: dict[str, str]) -> bool:
    """Make the swap of an event: an exact input, an exact output, or one that stopped at its price."""
    amount0, amount1, price = whole(event["amount0"]), whole(event["amount1"]), int(event["sqrtPriceX96"])
    zero_for_one = amount0 > 0
    given, got = (amount0, amount1) if zero_for_one else (amount1, amount0)
    free = MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1
    after = amount0, amount1, price, int(event["liquidity"]), int(event["tick"])
    for amount, limit in ((given, free), (got, free), (given * 2, price)):
        with suppress(_AnotherSwap, Revert), pool.transaction():
            made = pool.swap(zero_for_one, amount, limit)
            if (made.amount0, made.amount1, pool.sqrt_price_x96, pool.liquidity, pool.tick) != after:
                raise _AnotherSwap
            return True
    return False


class _AnotherSwap(Exception):
    """This was not how the swap was asked for."""


def burn(pool: Pool, key: tuple[str, int, int], amount: int, gone: set[int]) -> None:
    """Burn liquidity of today; of a position that was there before, only what it leaves behind is known."""
    _, lower, upper = key
    if key in pool.positions and pool.positions[key].liquidity >= amount:
        pool.burn(*key, amount)
        return
    for tick, change in ((lower, -amount), (upper, amount)):
        if tick not in pool.ticks:
            continue
        pool.ticks[tick].liquidity_net += change
        if tick in gone and pool.ticks[tick].liquidity_net == 0:
            del pool.ticks[tick]
            tick_bitmap.flip_tick(pool.bitmap, tick, pool.tick_spacing)
    if lower <= pool.tick < upper:
        pool.liquidity -= amount
