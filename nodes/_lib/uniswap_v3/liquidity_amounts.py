"""Liquidity that amounts can buy, and amounts that liquidity holds; everything rounds down.

Source: LiquidityAmounts of Uniswap v3-periphery 1.4.4.
"""

from __future__ import annotations

from nodes._lib.uniswap_v3.integers import Q96, U128, mul_div, require


def liquidity_for_amount0(sqrt_a: int, sqrt_b: int, amount0: int) -> int:
    """Return the liquidity that token0 alone buys between two prices."""
    sqrt_a, sqrt_b = sorted((sqrt_a, sqrt_b))
    return _uint128(mul_div(amount0, mul_div(sqrt_a, sqrt_b, Q96), sqrt_b - sqrt_a))


def liquidity_for_amount1(sqrt_a: int, sqrt_b: int, amount1: int) -> int:
    """Return the liquidity that token1 alone buys between two prices."""
    sqrt_a, sqrt_b = sorted((sqrt_a, sqrt_b))
    return _uint128(mul_div(amount1, Q96, sqrt_b - sqrt_a))


def liquidity_for_amounts(sqrt_price: int, sqrt_a: int, sqrt_b: int, amount0: int, amount1: int) -> int:
    """Return the most liquidity in a range that both amounts suffice for at a price."""
    sqrt_a, sqrt_b = sorted((sqrt_a, sqrt_b))
    if sqrt_price <= sqrt_a:
        return liquidity_for_amount0(sqrt_a, sqrt_b, amount0)
    if sqrt_price >= sqrt_b:
        return liquidity_for_amount1(sqrt_a, sqrt_b, amount1)
    return min(liquidity_for_amount0(sqrt_price, sqrt_b, amount0), liquidity_for_amount1(sqrt_a, sqrt_price, amount1))


def amount0_for_liquidity(sqrt_a: int, sqrt_b: int, liquidity: int) -> int:
    """Return token0 of a position whose range lies above the price."""
    sqrt_a, sqrt_b = sorted((sqrt_a, sqrt_b))
    require(sqrt_a > 0)
    return mul_div(liquidity << 96, sqrt_b - sqrt_a, sqrt_b) // sqrt_a


def amount1_for_liquidity(sqrt_a: int, sqrt_b: int, liquidity: int) -> int:
    """Return token1 of a position whose range lies below the price."""
    return mul_div(liquidity, abs(sqrt_b - sqrt_a), Q96)


def amounts_for_liquidity(sqrt_price: int, sqrt_a: int, sqrt_b: int, liquidity: int) -> tuple[int, int]:
    """Return (token0, token1) of a position at a price."""
    sqrt_a, sqrt_b = sorted((sqrt_a, sqrt_b))
    if sqrt_price <= sqrt_a:
        return amount0_for_liquidity(sqrt_a, sqrt_b, liquidity), 0
    if sqrt_price >= sqrt_b:
        return 0, amount1_for_liquidity(sqrt_a, sqrt_b, liquidity)
    return amount0_for_liquidity(sqrt_price, sqrt_b, liquidity), amount1_for_liquidity(sqrt_a, sqrt_price, liquidity)


def _uint128(value: int) -> int:
    require(value <= U128)
    return value
