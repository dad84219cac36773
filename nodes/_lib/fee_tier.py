"""Compare fee tiers by what a hedged position would earn in each, and choose one, or none.

Amounts are quote, volumes quote per day, volatility per √s. Liquidity is √(base · quote) in whole tokens. Own
derivation from LVR with fees (Milionis, Moallemi, Roughgarden 2023, arXiv 2305.14604).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, stdev
from typing import Literal

from nodes._lib.checks import require_finite, require_fraction, require_non_negative, require_positive
from nodes._lib.clmm import arbitrage_probability

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Tier:
    """What is known of one fee tier.

    `fee` and `protocol_share` are fractions (0.0005; 1/4 where the protocol takes a quarter of the fees), `volume_day`
    is uninformed volume in quote per day, `others_liquidity` the in-range liquidity of everyone else, `rerange_day` the
    cost of moving the range, quote per day.
    """

    fee: float
    volume_day: float
    others_liquidity: float
    rerange_day: float = 0.0
    protocol_share: float = 0.0

    def __post_init__(self) -> None:
        require_positive(fee=self.fee)
        require_fraction(fee=self.fee, protocol_share=self.protocol_share)
        require_non_negative(
            volume_day=self.volume_day, others_liquidity=self.others_liquidity, rerange_day=self.rerange_day
        )


@dataclass(frozen=True, slots=True)
class Carry:
    """What a position in a tier earns and loses per day, in quote; losses are positive numbers, `net` is signed."""

    fees: float
    lvr: float
    p_trade: float
    arbitrage_loss: float
    net: float
    breakeven_volume: float


def net_carry(
    tier: Tier,
    *,
    liquidity: float,
    price: float,
    log_vol: float,
    block_s: float,
    spacing: Literal["poisson", "constant"] = "poisson",
) -> Carry:
    """Return the carry of a hedged in-range position of the given liquidity.

    Fees are (1 − η)·φ·volume·L/(L + others); the loss to arbitrage is lvr·(P_trade + η·(1 − P_trade)), as of the part
    of LVR that arbitrageurs pay back in fees the protocol keeps η. The break-even volume covers arbitrage alone.
    """
    require_positive(liquidity=liquidity, price=price)
    share = liquidity / (liquidity + tier.others_liquidity)
    kept = tier.fee * (1.0 - tier.protocol_share) * share
    lvr = log_vol * log_vol * liquidity * sqrt(price) / 4.0 * SECONDS_PER_DAY
    p_trade = arbitrage_probability(tier.fee, log_vol, block_s, spacing)
    loss = lvr * (p_trade + tier.protocol_share * (1.0 - p_trade))
    fees = kept * tier.volume_day
    return Carry(fees, lvr, p_trade, loss, fees - loss - tier.rerange_day, loss / kept)


def cautious_volume(daily_volumes: Sequence[float], z: float = 1.645) -> float:
    """Return a lower confidence bound of the mean daily volume: mean − z standard errors, not below 0."""
    if len(daily_volumes) < 2:
        raise ValueError(f"{len(daily_volumes)} daily volumes: give at least two to know how far to trust their mean")
    require_non_negative(**{f"daily_volumes[{i}]": volume for i, volume in enumerate(daily_volumes)})
    return max(0.0, fmean(daily_volumes) - z * stdev(daily_volumes) / sqrt(len(daily_volumes)))


def choose_tier(
    net_per_day: Mapping[int, float],
    current: int | None,
    enter_cost: float,
    exit_cost: float,
    holding_days: float,
) -> int | None:
    """Return the tier to be in, by fee in hundredths of a bip; None is to hold no liquidity at all.

    `net_per_day` is the carry of the same capital in each tier, quote per day; being in none earns 0. A change has to
    earn its cost back within `holding_days`: leaving costs `exit_cost`, entering `enter_cost`, quote. Of equal gains
    staying wins, then the lower fee.
    """
    require_finite(**{f"net_per_day[{fee}]": net for fee, net in net_per_day.items()})
    require_non_negative(enter_cost=enter_cost, exit_cost=exit_cost)
    require_positive(holding_days=holding_days)

    def worth(tier: int | None) -> float:
        if tier == current:
            cost = 0.0
        else:
            cost = (exit_cost if current is not None else 0.0) + (enter_cost if tier is not None else 0.0)
        # A tier that is no longer offered has to be left.
        earned = 0.0 if tier is None else net_per_day.get(tier, -inf)
        return earned * holding_days - cost

    return max([current, None, *sorted(net_per_day)], key=worth)
