"""Whole runs of calls beside the real pool, manager and router: every answer, revert and state to the last unit."""

from __future__ import annotations

from typing import Any

import pytest
from support.contracts import load

from nodes._lib.uniswap_v3.integers import Revert
from nodes._lib.uniswap_v3.pool import Pool
from nodes._lib.uniswap_v3.position_manager import MANAGER, PositionManager, exact_input_single, exact_output_single


def test_swaps_of_the_contracts_own_scenarios() -> None:
    cases = 0
    for scenario in load("pool_swap_scenarios")["pools"]:
        for case in scenario["cases"]:
            pool = Pool(scenario["fee"], scenario["tickSpacing"], time=1)
            pool.initialize(scenario["sqrtPriceX96"])
            for lower, upper, liquidity in scenario["positions"]:
                pool.mint("lp", lower, upper, liquidity)
            assert (pool.balance0, pool.balance1) == (scenario["balance0"], scenario["balance1"])
            cases += 1
            if "err" in case:
                with pytest.raises(Revert, match=case["err"]):
                    pool.swap(case["z"], case["amt"], case["lim"])
                continue
            swapped = pool.swap(case["z"], case["amt"], case["lim"])
            assert (swapped.amount0, swapped.amount1) == (case["amount0"], case["amount1"]), case["swap"]
            assert (pool.sqrt_price_x96, pool.tick, pool.liquidity) == (
                case["sqrtPriceX96"],
                case["tick"],
                case["liquidity"],
            )
            assert (pool.fee_growth_global0_x128, pool.fee_growth_global1_x128) == (case["fg0"], case["fg1"])
    assert cases == 240


def state(pool: Pool) -> list[int]:
    oracle = pool.oracle
    return [
        pool.sqrt_price_x96,
        pool.tick,
        oracle.index,
        oracle.cardinality,
        oracle.cardinality_next,
        pool.fee_protocol0 + 16 * pool.fee_protocol1,
        pool.liquidity,
        pool.fee_growth_global0_x128,
        pool.fee_growth_global1_x128,
        pool.protocol_fees0,
        pool.protocol_fees1,
        pool.balance0,
        pool.balance1,
    ]


def position(pool: Pool, owner: str, lower: int, upper: int) -> list[int]:
    held = pool.positions.get((owner, lower, upper))
    if held is None:
        return [0] * 5
    return [
        held.liquidity,
        held.fee_growth_inside0_last_x128,
        held.fee_growth_inside1_last_x128,
        held.tokens_owed0,
        held.tokens_owed1,
    ]


def tick(pool: Pool, number: int) -> list[Any]:
    info = pool.ticks.get(number)
    if info is None:
        return [number, *[0] * 7, False]
    return [
        number,
        info.liquidity_gross,
        info.liquidity_net,
        info.fee_growth_outside0_x128,
        info.fee_growth_outside1_x128,
        info.tick_cumulative_outside,
        info.seconds_per_liquidity_outside_x128,
        info.seconds_outside,
        True,
    ]


def call(pool: Pool, manager: PositionManager, op: dict[str, Any]) -> Any:
    kind = op["k"]
    owner = str(op.get("o", 0))
    deadline = op["t"] + op.get("dl", 0)
    least = op.get("min0", 0), op.get("min1", 0)
    if kind == "mint":
        return list(pool.mint(owner, op["lo"], op["hi"], op["L"]))
    if kind == "burn":
        return list(pool.burn(owner, op["lo"], op["hi"], op["L"]))
    if kind == "collect":
        return list(pool.collect(owner, op["lo"], op["hi"], op["m0"], op["m1"]))
    if kind == "swap":
        swapped = pool.swap(op["z"], op["amt"], op["lim"])
        return [swapped.amount0, swapped.amount1]
    if kind == "flash":
        pool.flash(op["a0"], op["a1"], op["p0"], op["p1"])
        return None
    if kind == "setFeeProtocol":
        pool.set_fee_protocol(op["f0"], op["f1"])
        return None
    if kind == "collectProtocol":
        return list(pool.collect_protocol(op["m0"], op["m1"]))
    if kind == "grow":
        pool.increase_observation_cardinality(op["n"])
        return None
    if kind == "observe":
        return [list(part) for part in pool.observe(op["ago"])]
    if kind == "inside":
        return list(pool.snapshot_cumulatives_inside(op["lo"], op["hi"]))
    if kind == "n_mint":
        return list(manager.mint(op["lo"], op["hi"], (op["d0"], op["d1"]), least, deadline))
    if kind == "n_increase":
        return list(manager.increase_liquidity(op["id"], (op["d0"], op["d1"]), least, deadline))
    if kind == "n_decrease":
        return list(manager.decrease_liquidity(op["id"], op["L"], least, deadline))
    if kind == "n_collect":
        return list(manager.collect(op["id"], op["m0"], op["m1"]))
    if kind == "n_burn":
        manager.burn(op["id"])
        return None
    limit = op["lim"]
    if kind == "r_in":
        return exact_input_single(
            pool, op["z"], op["amt"], least_out=op["bound"], deadline=deadline, sqrt_price_limit_x96=limit
        )
    assert kind == "r_out", kind
    return exact_output_single(
        pool, op["z"], op["amt"], most_in=op["bound"], deadline=deadline, sqrt_price_limit_x96=limit
    )


@pytest.mark.parametrize(
    "name", ["seq_pool_usdc_weth_5bps", "seq_pool_18_18_30bps", "seq_nfpm_router_usdc_weth_100bps"]
)
def test_sequence(name: str) -> None:
    recorded = load(name)
    meta = recorded["meta"]
    pool = Pool(meta["fee"], meta["tickSpacing"], time=meta["initTime"])
    pool.initialize(meta["sqrtPriceX96"])
    manager = PositionManager(pool)
    expected = meta["start"]
    assert state(pool) == expected
    for index, op in enumerate(recorded["ops"]):
        where = f"{name}, call {index}: {op}"
        pool.time = op["t"]
        try:
            out = call(pool, manager, op)
        except Revert as error:
            assert "err" in op, where
            assert error.reason == op["err"], where
        else:
            assert "err" not in op, where
            assert out == op.get("out"), where
        expected = op.get("s", expected)
        assert state(pool) == expected, where
        if op["k"].startswith("n_"):
            if "pos" in op:
                nft = manager.nfts[op.get("id") or op["out"][0]]
                assert [
                    nft.lower,
                    nft.upper,
                    nft.liquidity,
                    nft.fee_growth_inside0_last_x128,
                    nft.fee_growth_inside1_last_x128,
                    nft.tokens_owed0,
                    nft.tokens_owed1,
                ] == op["pos"], where
                assert position(pool, MANAGER, nft.lower, nft.upper) == op["poolpos"], where
        elif "pos" in op:
            assert position(pool, str(op["o"]), op["lo"], op["hi"]) == op["pos"], where
        for line in op.get("ticks", ()):
            assert tick(pool, line[0]) == line, where
