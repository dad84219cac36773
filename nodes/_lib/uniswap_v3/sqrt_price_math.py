"""Amounts between two prices, and the price after an amount: what rounds up and what rounds down.

Prices are sqrtPriceX96. Every rounding favours the pool. Source: SqrtPriceMath of Uniswap v3-core 1.0.1.
"""

from __future__ import annotations

from nodes._lib.uniswap_v3.integers import (
    Q96,
    U160,
    U256,
    mul_div,
    mul_div_rounding_up,
    require,
    to_int256,
)


def amount0_delta(sqrt_a: int, sqrt_b: int, liquidity: int, round_up: bool) -> int:
    """Return token0 between two prices: liquidity · (1/√a - 1/√b)."""
    if sqrt_a > sqrt_b:
        sqrt_a, sqrt_b = sqrt_b, sqrt_a
    require(sqrt_a > 0)
    product = (liquidity << 96) * (sqrt_b - sqrt_a)
    if round_up:
        return -(-product // sqrt_b // sqrt_a)
    return product // sqrt_b // sqrt_a


def amount1_delta(sqrt_a: int, sqrt_b: int, liquidity: int, round_up: bool) -> int:
    """Return token1 between two prices: liquidity · (√b - √a)."""
    product = liquidity * abs(sqrt_b - sqrt_a)
    return -(-product >> 96) if round_up else product >> 96


def amount0_delta_signed(sqrt_a: int, sqrt_b: int, liquidity: int) -> int:
    """Return token0 that a change of liquidity takes in (rounded up), or gives out as a negative (rounded down)."""
    if liquidity < 0:
        return -to_int256(amount0_delta(sqrt_a, sqrt_b, -liquidity, False))
    return to_int256(amount0_delta(sqrt_a, sqrt_b, liquidity, True))


def amount1_delta_signed(sqrt_a: int, sqrt_b: int, liquidity: int) -> int:
    """Return token1 that a change of liquidity takes in (rounded up), or gives out as a negative (rounded down)."""
    if liquidity < 0:
        return -to_int256(amount1_delta(sqrt_a, sqrt_b, -liquidity, False))
    return to_int256(amount1_delta(sqrt_a, sqrt_b, liquidity, True))


def next_price_from_amount0(sqrt_price: int, liquidity: int, amount: int, add: bool) -> int:
    """Return the price after token0 is added or removed, rounded up."""
    if amount == 0:
        return sqrt_price
    numerator = liquidity << 96
    product = amount * sqrt_price
    if not add:
        require(product <= U256 and numerator > product)
        result = mul_div_rounding_up(numerator, sqrt_price, numerator - product)
        require(result <= U160)
        return result
    if product <= U256 and numerator + product <= U256:
        return mul_div_rounding_up(numerator, sqrt_price, numerator + product)
    # Where the exact form overflows the contract takes another one, which rounds differently.
    require(sqrt_price > 0)
    denominator = numerator // sqrt_price + amount
    require(denominator <= U256)
    return -(-numerator // denominator)


def next_price_from_amount1(sqrt_price: int, liquidity: int, amount: int, add: bool) -> int:
    """Return the price after token1 is added or removed, rounded down."""
    if add:
        result = sqrt_price + mul_div(amount, Q96, liquidity)
        require(result <= U160)
        return result
    quotient = mul_div_rounding_up(amount, Q96, liquidity)
    require(sqrt_price > quotient)
    return sqrt_price - quotient


def next_price_from_input(sqrt_price: int, liquidity: int, amount: int, zero_for_one: bool) -> int:
    """Return the price after an input; it never goes further than the input pays for."""
    require(sqrt_price > 0 and liquidity > 0)
    if zero_for_one:
        return next_price_from_amount0(sqrt_price, liquidity, amount, True)
    return next_price_from_amount1(sqrt_price, liquidity, amount, True)


def next_price_from_output(sqrt_price: int, liquidity: int, amount: int, zero_for_one: bool) -> int:
    """Return the price after an output; it goes at least as far as the output costs."""
    require(sqrt_price > 0 and liquidity > 0)
    if zero_for_one:
        return next_price_from_amount1(sqrt_price, liquidity, amount, False)
    return next_price_from_amount0(sqrt_price, liquidity, amount, False)
