"""The integer arithmetic beside numbers that the contracts' own bytecode produced, each row exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.contracts import load

from nodes._lib.uniswap_v3 import integers, liquidity_amounts, sqrt_price_math, swap_math, tick_bitmap, tick_math
from nodes._lib.uniswap_v3.integers import Revert
from nodes._lib.uniswap_v3.pool import Pool, PositionInfo, TickInfo, update_position


def rows(name: str) -> list[list[Any]]:
    found: list[list[Any]] = load(name)["rows"]
    return found


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call returns, or "revert:REASON"."""
    try:
        return call(*arguments)
    except Revert as error:
        return f"revert:{error.reason}"


def test_price_of_a_tick() -> None:
    for tick, expected in rows("tickmath_sqrt_ratio_at_tick"):
        assert outcome(tick_math.sqrt_ratio_at_tick, tick) == expected, tick


def test_tick_of_a_price() -> None:
    for price, expected in rows("tickmath_tick_at_sqrt_ratio"):
        assert outcome(tick_math.tick_at_sqrt_ratio, price) == expected, price


NEXT_PRICE = {
    "nextFromInput": sqrt_price_math.next_price_from_input,
    "nextFromOutput": sqrt_price_math.next_price_from_output,
    "nextFromAmount0RoundingUp": sqrt_price_math.next_price_from_amount0,
    "nextFromAmount1RoundingDown": sqrt_price_math.next_price_from_amount1,
}


def test_next_price() -> None:
    for name, price, liquidity, amount, flag, expected in rows("sqrtpricemath_next_price"):
        assert outcome(NEXT_PRICE[name], price, liquidity, amount, flag) == expected, (name, price, amount)


AMOUNT = {
    "amount0Delta": sqrt_price_math.amount0_delta,
    "amount1Delta": sqrt_price_math.amount1_delta,
    "amount0DeltaSigned": lambda a, b, liquidity, _: sqrt_price_math.amount0_delta_signed(a, b, liquidity),
    "amount1DeltaSigned": lambda a, b, liquidity, _: sqrt_price_math.amount1_delta_signed(a, b, liquidity),
}


def test_amounts_between_prices() -> None:
    for name, a, b, liquidity, round_up, expected in rows("sqrtpricemath_amount_delta"):
        assert outcome(AMOUNT[name], a, b, liquidity, round_up) == expected, (name, a, b, liquidity)


def test_steps_of_a_swap() -> None:
    for price, target, liquidity, remaining, fee, *expected in rows("swapmath_compute_swap_step"):
        found = outcome(swap_math.compute_swap_step, price, target, liquidity, remaining, fee)
        if isinstance(found, str):
            assert found == expected[0], (price, target, liquidity, remaining, fee)
        else:
            assert list(found) == expected, (price, target, liquidity, remaining, fee)


def test_full_precision_division() -> None:
    functions = {"mulDiv": integers.mul_div, "mulDivRoundingUp": integers.mul_div_rounding_up}
    for name, a, b, divisor, expected in rows("fullmath"):
        assert outcome(functions[name], a, b, divisor) == expected


def test_liquidity_arithmetic() -> None:
    for name, x, y, expected in rows("liquidity_math"):
        if name == "maxLiquidityPerTick":
            assert tick_math.max_liquidity_per_tick(x) == expected
        else:
            assert outcome(integers.add_delta, x, y) == expected


AMOUNTS = {
    "liquidityForAmounts": liquidity_amounts.liquidity_for_amounts,
    "amountsForLiquidity": lambda p, a, b, x, _: list(liquidity_amounts.amounts_for_liquidity(p, a, b, x)),
    "liquidityForAmount0": lambda _, a, b, x, __: liquidity_amounts.liquidity_for_amount0(a, b, x),
    "liquidityForAmount1": lambda _, a, b, x, y: liquidity_amounts.liquidity_for_amount1(a, b, y if x is None else x),
    "amount0ForLiquidity": lambda _, a, b, x, __: liquidity_amounts.amount0_for_liquidity(a, b, x),
    "amount1ForLiquidity": lambda _, a, b, x, __: liquidity_amounts.amount1_for_liquidity(a, b, x),
}


def test_liquidity_and_amounts() -> None:
    for name, price, a, b, x, y, expected in rows("liquidity_amounts"):
        assert outcome(AMOUNTS[name], price, a, b, x, y) == expected, (name, price, a, b, x, y)


def test_fee_growth_inside_wraps() -> None:
    for lower, upper, current, low0, low1, high0, high1, global0, global1, expected in rows("fee_growth_inside"):
        pool = Pool(500, 1, tick=current, fee_growth_global0_x128=global0, fee_growth_global1_x128=global1)
        pool.ticks = {
            lower: TickInfo(1, fee_growth_outside0_x128=low0, fee_growth_outside1_x128=low1),
            upper: TickInfo(1, fee_growth_outside0_x128=high0, fee_growth_outside1_x128=high1),
        }
        assert list(pool.fee_growth_inside(lower, upper)) == expected


def test_what_a_position_is_owed_wraps() -> None:
    for liquidity, last0, last1, owed0, owed1, delta, inside0, inside1, expected in rows("position_update"):
        position = PositionInfo(liquidity, last0, last1, owed0, owed1)
        failure = outcome(update_position, position, delta, inside0, inside1)
        if failure is not None:
            assert failure == expected
            continue
        assert [
            position.liquidity,
            position.fee_growth_inside0_last_x128,
            position.fee_growth_inside1_last_x128,
            position.tokens_owed0,
            position.tokens_owed1,
        ] == expected


def test_next_initialised_tick() -> None:
    for spacing, words, queries in rows("tick_bitmap_next"):
        bitmap = {int(word): bits for word, bits in words.items()}
        for tick, lte, expected in queries:
            assert list(tick_bitmap.next_tick_within_one_word(bitmap, tick, spacing, lte)) == expected
