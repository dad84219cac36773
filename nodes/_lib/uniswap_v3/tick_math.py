"""Ticks and square-root prices: sqrtPriceX96 = 1.0001^(tick/2) · 2^96, with the contract's roundings.

Source: TickMath and Tick.tickSpacingToMaxLiquidityPerTick of Uniswap v3-core 1.0.1.
"""

from __future__ import annotations

from functools import lru_cache
from math import floor, log, log1p

from nodes._lib.uniswap_v3.integers import U128, U256, require

MIN_TICK = -887_272
MAX_TICK = 887_272
MIN_SQRT_RATIO = 4_295_128_739
"""The least price, included."""
MAX_SQRT_RATIO = 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
"""The greatest price, excluded."""

# 1.0001^(-2^k / 2) · 2^128 for k = 0, 1, ...
_FACTORS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)
_LOG_SQRT_TICK = log1p(1e-4) / 2
_LOG_Q96 = 96 * log(2)


@lru_cache(maxsize=1 << 16)
def sqrt_ratio_at_tick(tick: int) -> int:
    """Return sqrtPriceX96 of a tick, rounded up; revert with T outside ±887,272."""
    steps = abs(tick)
    require(steps <= MAX_TICK, "T")
    ratio = 1 << 128
    for bit, factor in enumerate(_FACTORS):
        if steps >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = U256 // ratio
    return (ratio >> 32) + (ratio & 0xFFFFFFFF > 0)


def tick_at_sqrt_ratio(sqrt_price_x96: int) -> int:
    """Return the greatest tick whose price is not above this one; revert with R outside the range of prices."""
    require(MIN_SQRT_RATIO <= sqrt_price_x96 < MAX_SQRT_RATIO, "R")
    # The logarithm in float64 is off by less than one tick; the exact prices of the neighbours decide.
    tick = max(MIN_TICK, min(MAX_TICK - 1, floor((log(sqrt_price_x96) - _LOG_Q96) / _LOG_SQRT_TICK)))
    while sqrt_ratio_at_tick(tick) > sqrt_price_x96:
        tick -= 1
    while sqrt_ratio_at_tick(tick + 1) <= sqrt_price_x96:
        tick += 1
    return tick


def max_liquidity_per_tick(spacing: int) -> int:
    """Return the most liquidity that one tick may refer to, for a tick spacing."""
    greatest = MAX_TICK // spacing
    return U128 // (2 * greatest + 1)
