"""One step of a swap, within one stretch of constant liquidity. Source: SwapMath of Uniswap v3-core 1.0.1."""

from __future__ import annotations

from nodes._lib.uniswap_v3.sqrt_price_math import (
    amount0_delta,
    amount1_delta,
    next_price_from_input,
    next_price_from_output,
)

FEE_UNITS = 1_000_000
"""A fee is counted in hundredths of a bip."""


def compute_swap_step(
    sqrt_price: int, sqrt_target: int, liquidity: int, remaining: int, fee: int
) -> tuple[int, int, int, int]:
    """Return (price after the step, amount in, amount out, fee amount).

    `remaining` above 0 is input that is left to give, below 0 output that is left to get. The step goes to the target
    or as far as the amount reaches; the fee comes on top of the amount in.
    """
    zero_for_one = sqrt_price >= sqrt_target
    if remaining >= 0:
        net = remaining * (FEE_UNITS - fee) // FEE_UNITS
        delta_in = amount0_delta if zero_for_one else amount1_delta
        amount_in = delta_in(sqrt_target, sqrt_price, liquidity, True)
        if net >= amount_in:
            after = sqrt_target
        else:
            after = next_price_from_input(sqrt_price, liquidity, net, zero_for_one)
            amount_in = delta_in(after, sqrt_price, liquidity, True)
        delta_out = amount1_delta if zero_for_one else amount0_delta
        amount_out = delta_out(after, sqrt_price, liquidity, False)
        if after != sqrt_target:
            return after, amount_in, amount_out, remaining - amount_in
    else:
        wanted = -remaining
        delta_out = amount1_delta if zero_for_one else amount0_delta
        amount_out = delta_out(sqrt_target, sqrt_price, liquidity, False)
        if wanted >= amount_out:
            after = sqrt_target
        else:
            after = next_price_from_output(sqrt_price, liquidity, wanted, zero_for_one)
            if after != sqrt_target:
                amount_out = delta_out(after, sqrt_price, liquidity, False)
        delta_in = amount0_delta if zero_for_one else amount1_delta
        amount_in = delta_in(after, sqrt_price, liquidity, True)
        amount_out = min(amount_out, wanted)
    return after, amount_in, amount_out, -(-amount_in * fee // (FEE_UNITS - fee))
