"""Fixed-width integers: widths, full-precision division, and what reverts.

Source of the behaviour: FullMath, UnsafeMath, LiquidityMath and SafeCast of Uniswap v3-core 1.0.1.
"""

from __future__ import annotations

Q96 = 1 << 96
Q128 = 1 << 128
U32 = (1 << 32) - 1
U128 = (1 << 128) - 1
U160 = (1 << 160) - 1
U256 = (1 << 256) - 1
I256_MAX = (1 << 255) - 1


class Revert(Exception):
    """The contract would revert; `reason` is its own word, empty where it gives none. No state has changed."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "reverted without a reason")


def require(holds: bool, reason: str = "") -> None:
    """Revert unless the condition holds."""
    if not holds:
        raise Revert(reason)


def mul_div(a: int, b: int, divisor: int) -> int:
    """Return floor(a·b / divisor) of uint256s; revert when it does not fit 256 bits or the divisor is 0."""
    require(divisor > 0)
    result = a * b // divisor
    require(result <= U256)
    return result


def mul_div_rounding_up(a: int, b: int, divisor: int) -> int:
    """Return ceil(a·b / divisor) of uint256s; revert when it does not fit 256 bits or the divisor is 0."""
    require(divisor > 0)
    result = -(-a * b // divisor)
    require(result <= U256)
    return result


def add_delta(liquidity: int, delta: int) -> int:
    """Return liquidity (uint128) changed by a signed delta; revert with LS below 0 and LA above 128 bits."""
    result = liquidity + delta
    require(result >= 0, "LS")
    require(result <= U128, "LA")
    return result


def to_int256(value: int) -> int:
    """Return a uint256 as int256; revert when it does not fit."""
    require(value <= I256_MAX)
    return value


def wrap_signed(value: int, bits: int) -> int:
    """Return a value wrapped to a signed integer of this width, as unchecked arithmetic does."""
    half = 1 << (bits - 1)
    return (value + half) % (half << 1) - half


def truncated_div(a: int, b: int) -> int:
    """Return a / b rounded towards zero, as the EVM divides signed integers."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient
