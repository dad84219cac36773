"""How wide a range has to be for fees to pay for arbitrage and for moving it. Own derivation, in log prices.

A range of half width w around the price holds liquidity L = V/(√P·w) per capital V (first order in w). Per time it then
loses v²/(4w) of V to arbitrage (LVR) and earns y/w, where y = fees/(L_pool·√P) is what the pool pays one unit of √P·L.
A price with variance v² leaves the range after w²/v² on average, and moving the range costs the part c of V. So

    net(w) = (y − v²/4)/w − c·v²/w²,      greatest at w* = 2·c·v²/(y − v²/4).

Cheaper moves and better fees narrow the range, volatility widens it; when y ≤ v²/4 no width earns anything.
"""

from __future__ import annotations

from math import inf

from nodes._lib.checks import require_non_negative, require_positive


def carry_half_width(fee_yield: float, variance: float, move_cost: float) -> float:
    """Return the half width, in log price, that earns most after arbitrage and the cost of moving; inf when none earns.

    `fee_yield` is the pool's fee income over L·√P and `variance` that of the log price, both per the same time;
    `move_cost` is the cost of moving the range as a part of the capital in it.
    """
    require_non_negative(fee_yield=fee_yield, move_cost=move_cost)
    require_positive(variance=variance)
    edge = fee_yield - variance / 4
    return 2 * move_cost * variance / edge if edge > 0 else inf


def fees_pay(fee_yield: float, variance: float, margin: float = 0.0) -> bool:
    """Return whether fees exceed LVR by a part `margin` of it: y > (1 + margin)·v²/4, whatever the width."""
    require_non_negative(fee_yield=fee_yield, variance=variance, margin=margin)
    return fee_yield > (1 + margin) * variance / 4


def exit_time(below: float, above: float, variance: float) -> float:
    """Return the mean time after which a driftless log price leaves a range, in the time of `variance`: a·b/v².

    `below` and `above` are the log distances to its ends. Source: first exit of Brownian motion (optional stopping).
    """
    require_positive(variance=variance)
    return max(0.0, below) * max(0.0, above) / variance


def carry(half_width: float, fee_yield: float, variance: float, move_cost: float) -> float:
    """Return net(w): what a range of this half width earns per time, as a part of the capital in it."""
    require_positive(half_width=half_width)
    return (fee_yield - variance / 4) / half_width - move_cost * variance / half_width**2
