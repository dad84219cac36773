"""The recorded pools as they come into the graph."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from engine.testing import run_node
from nodes._lib.history import BadData
from nodes._lib.pool_history import read_pool_events, read_pool_minutes
from nodes.messages import PoolState
from nodes.sources.uniswap_v3_history import UniswapV3History
from nodes.sources.uniswap_v3_minutes import UniswapV3Minutes

DATA = Path(__file__).parents[4] / "data"
MORNING = DATA / "mainnet_usdc_weth_5bps_2024-01-05_morning.csv.gz"
MINUTES = [DATA / f"polygon_usdc_weth_5bps_2023-08-{day}.minute.csv.gz" for day in range(13, 18)]


def events(**params: object) -> list[PoolState]:
    values: dict[str, object] = {"file": str(MORNING), "pool": "ETH-USDC-5", "quote_is_token0": True}
    return [state for _, state in run_node(UniswapV3History, **(values | params)).node.history()]


def minutes(days: slice = slice(None), **params: object) -> list[PoolState]:
    files = [str(path) for path in MINUTES[days]]
    values: dict[str, object] = {"files": files, "pool": "ETH-USDC-5", "quote_is_token0": True}
    return [state for _, state in run_node(UniswapV3Minutes, **(values | params)).node.history()]


def test_the_mornings_swaps_keep_the_contracts_numbers_and_turn_into_base_and_quote():
    swaps = [event for event in read_pool_events(MORNING) if event.kind == "swap"]
    states = events()
    assert len(states) == len(swaps) == 2_842
    for swap, state in zip(swaps, states, strict=True):
        assert (state.sqrt_price_x96, state.liquidity, state.tick) == (swap.sqrt_price_x96, swap.liquidity, swap.tick)
        assert state.price == pytest.approx(1e12 / (swap.sqrt_price_x96 / 2**96) ** 2, rel=1e-12)
        # token0 is USDC: what is paid in of it is quote.
        assert (state.quote_in, state.base_in) == (max(0, swap.amount0), max(0, swap.amount1))
    # The price of ETH that morning.
    assert all(2_150 < state.price < 2_300 for state in states)


def test_paying_in_quote_raises_the_price_of_the_base():
    for before, after in pairwise(events()):
        assert (after.price >= before.price) if after.quote_in else (after.price <= before.price)
        assert (after.price_low, after.price_high) == tuple(sorted((before.price, after.price)))


def test_the_last_swap_of_each_block_closes_it():
    states = events()
    for one, other in pairwise(states):
        assert one.block_closed == (one.block != other.block)
        if one.block == other.block:
            assert one.event_time_ns == other.event_time_ns
    assert states[-1].block_closed
    assert sum(state.block_closed for state in states) == len({state.block for state in states})


def test_a_part_of_the_day_and_a_repeated_day():
    part = events(begin="2024-01-05 01:00:00", end="2024-01-05 02:00:00")
    whole = [state for state in events() if part[0].event_time_ns <= state.event_time_ns <= part[-1].event_time_ns]
    assert [state.sqrt_price_x96 for state in part] == [state.sqrt_price_x96 for state in whole]
    twice = events(begin="2024-01-05 01:00:00", end="2024-01-05 02:00:00", repeat=2)
    assert len(twice) == 2 * len(part)
    assert all(one.event_time_ns <= other.event_time_ns and one.block <= other.block for one, other in pairwise(twice))
    assert [state.price for state in twice[len(part) :]] == [state.price for state in part]
    assert twice[len(part)].block == part[-1].block + 1


def test_the_other_token_order_mirrors_prices_and_flows():
    for usual, mirrored in zip(
        events(), events(quote_is_token0=False, base_decimals=6, quote_decimals=18), strict=True
    ):
        assert mirrored.price == pytest.approx(1 / usual.price, rel=1e-12)
        assert (mirrored.base_in, mirrored.quote_in) == (usual.quote_in, usual.base_in)


def test_minutes_carry_ticks_as_prices_and_flows_of_the_minute():
    rows = list(read_pool_minutes(MINUTES[:1]))
    states = minutes(slice(0, 1))
    assert len(states) == len(rows)
    for row, state in zip(rows, states, strict=True):
        assert (state.event_time_ns, state.tick, state.liquidity) == (row.event_time_ns, row.close_tick, row.liquidity)
        assert state.price == pytest.approx(1e12 / 1.0001**row.close_tick, rel=1e-9)
        assert (state.quote_in, state.base_in) == (row.in0, row.in1)
        assert state.price_low <= state.price <= state.price_high
        assert state.estimated and state.block_closed
    for before, after in pairwise(states):
        assert after.price_low <= before.price <= after.price_high


def test_minutes_of_several_days_follow_each_other_and_repeat():
    once = minutes()
    assert len(once) > 7_000
    twice = minutes(repeat=2)
    assert len(twice) == 2 * len(once)
    assert all(one.event_time_ns < other.event_time_ns for one, other in pairwise(twice))


def test_a_file_that_cannot_be_true_is_refused_with_its_line(tmp_path):
    bad = tmp_path / "bad.csv"
    header, first = gzip.decompress(MINUTES[0].read_bytes()).decode().splitlines()[:2]
    bad.write_text(f"{header}\n{first.rpartition(',')[0]},-5\n")
    with pytest.raises(BadData, match=r"bad\.csv:2"):
        list(run_node(UniswapV3Minutes, files=[str(bad)], pool="X", quote_is_token0=True).node.history())


def test_a_history_knows_about_when_it_ends():
    node = run_node(UniswapV3Minutes, files=[str(path) for path in MINUTES], pool="X", quote_is_token0=True).node
    last = minutes()[-1].event_time_ns
    assert 0 <= last - node.history_end_ns() <= 60 * 10**9
    node = run_node(UniswapV3History, file=str(MORNING), pool="X", quote_is_token0=True).node
    assert node.history_end_ns() == events()[-1].event_time_ns
