"""What a position holds and earns, against the contracts' numbers and a real morning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes._lib.pool_history import PoolEvent, read_pool_events, read_pool_start
from nodes._lib.pool_position import (
    Q96,
    Position,
    amount0_between,
    amount1_between,
    diluted,
    fee_of,
    liquidity_for,
    open_position,
    price_of_sqrt,
    sqrt_of_price,
    sqrt_ratio_at_tick,
)
from nodes._lib.ticks import Orientation

DATA = Path(__file__).parents[4] / "data"
MORNING = DATA / "mainnet_usdc_weth_5bps_2024-01-05_morning"
USDC_FIRST = Orientation(18, 6, True, 10)
WETH_FIRST = Orientation(18, 6, False, 10)


@pytest.mark.parametrize(
    ("tick", "root"),
    [(0, Q96), (-887_272, 4295128739), (887_272, 1461446703485210103287273052203988822378723970342)],
)
def test_square_root_prices_of_ticks(tick, root):
    # The contract's own constants carry errors of its 128-bit steps.
    assert sqrt_ratio_at_tick(tick) == pytest.approx(root, rel=1e-18)


def test_a_tick_outside_what_a_pool_allows_is_refused():
    with pytest.raises(ValueError, match="887273"):
        sqrt_ratio_at_tick(887_273)


def test_prices_in_both_token_orders():
    for orientation in (USDC_FIRST, WETH_FIRST):
        root = sqrt_of_price(orientation, 2_269.75)
        assert price_of_sqrt(orientation, root) == pytest.approx(2_269.75, rel=1e-14)
    assert price_of_sqrt(USDC_FIRST, 1662995104975155420368771254341874) == pytest.approx(2_269.745824, rel=1e-9)


def test_amounts_below_inside_and_above_and_their_rounding():
    position = open_position(WETH_FIRST, "1", (-200_000, -199_000), 10**17, Q96)
    low, high = position.lower_sqrt, position.upper_sqrt
    middle = (low + high) // 2
    assert position.amounts(low - 1) == (position.full0, 0) == (amount0_between(low, high, 10**17), 0)
    assert position.amounts(high + 1) == (0, position.full1) == (0, amount1_between(low, high, 10**17))
    amount0, amount1 = position.amounts(middle)
    cost0, cost1 = position.cost(middle)
    assert 0 <= cost0 - amount0 <= 2 and 0 <= cost1 - amount1 <= 1
    # In real numbers: L(1/s - 1/b) and L(s - a).
    assert amount0 == pytest.approx(10**17 * (Q96 / middle - Q96 / high), rel=1e-12)
    assert amount1 == pytest.approx(10**17 * (middle - low) / Q96, abs=1)


def test_liquidity_is_the_most_that_both_amounts_pay_for():
    low, high = sqrt_ratio_at_tick(-200_000), sqrt_ratio_at_tick(-199_000)
    at = sqrt_ratio_at_tick(-199_600)
    liquidity = liquidity_for(at, low, high, 10**18, 10**10)
    position = open_position(WETH_FIRST, "1", (-200_000, -199_000), liquidity, at)
    cost0, cost1 = position.cost(at)
    assert cost0 <= 10**18 and cost1 <= 10**10
    more0, more1 = open_position(WETH_FIRST, "1", (-200_000, -199_000), liquidity + liquidity // 10**6, at).cost(at)
    assert more0 > 10**18 or more1 > 10**10
    assert liquidity_for(low - 5, low, high, 10**18, 0) > 0 == liquidity_for(high + 5, low, high, 10**18, 0)


def test_a_fee_follows_from_what_a_move_adds_to_the_position():
    position = open_position(WETH_FIRST, "1", (-200_000, -199_000), 10**17, Q96)
    low, high = position.lower_sqrt, position.upper_sqrt
    whole0, whole1 = amount0_between(low, high, 10**17), amount1_between(low, high, 10**17)
    assert (position.amount0, position.amount1) == (0, whole1)
    # Out of range above, nothing is gained; then all the way down, and half the way up.
    assert position.move_to(high + 5) == (0, 0)
    assert position.move_to(low - 5) == (whole0, -whole1)
    assert position.move_to(low - 9) == (0, 0)
    gained0, gained1 = position.move_to((low + high) // 2)
    assert gained0 < 0 and gained1 == amount1_between(low, (low + high) // 2, 10**17)
    # Of 1,000,000 paid in, 500 are the fee and 999,500 go into the liquidity.
    assert fee_of(999_500, 500) == 500
    assert diluted(1_000, own=3, others=1) == 250


def test_the_share_of_a_bar_is_measured_in_ticks():
    position = open_position(USDC_FIRST, "1", (199_000, 200_000), 10**17, Q96)
    lower, upper = position.lower_price, position.upper_price
    inside = (lower * upper) ** 0.5
    assert position.share_of_bar(inside, inside) == position.share_of_bar(lower, upper) == 1.0
    assert position.share_of_bar(upper / 1.002, upper * 1.002) == pytest.approx(0.5)
    assert position.share_of_bar(lower / 1.03, lower * 1.01) == pytest.approx(0.2518, abs=1e-3)
    assert position.share_of_bar(upper * 1.01, upper * 1.02) == 0.0


# --- a real morning -------------------------------------------------------------------------------------------------


def earned_by_real_positions() -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield (fees reproduced, fees really collected) of each position that was opened and collected in the morning."""
    start = read_pool_start(MORNING.with_suffix(".start.json"))
    wanted = {(each.position, each.lower, each.upper) for each in start.opened}
    held: dict[tuple[str, int, int], Position] = {}
    principal: dict[tuple[str, int, int], tuple[int, int]] = {}
    root = start.sqrt_price_x96
    events = list(read_pool_events(MORNING.with_suffix(".csv.gz")))
    for event in events[start.start_after_event + 1 :]:
        key = (event.position, event.lower, event.upper)
        if event.kind == "swap":
            for position in held.values():
                _earn(position, event, start.fee, to_token0=event.sqrt_price_x96 < root)
            root = event.sqrt_price_x96
        elif key not in wanted:
            continue
        elif event.kind == "mint":
            held[key] = open_position(
                USDC_FIRST, event.position, (event.lower, event.upper), event.position_liquidity, root
            )
            assert held[key].cost(root) == (event.amount0, event.amount1)
        elif event.kind == "burn":
            principal[key] = held[key].amounts(root)
            assert principal[key] == (event.amount0, event.amount1)
        else:
            position, (burned0, burned1) = held.pop(key), principal[key]
            yield (position.fees0, position.fees1), (event.amount0 - burned0, event.amount1 - burned1)


def _earn(position: Position, event: PoolEvent, fee: int, to_token0: bool) -> None:
    gained0, gained1 = position.move_to(event.sqrt_price_x96)
    if to_token0:
        position.fees0 += fee_of(gained0, fee)
    else:
        position.fees1 += fee_of(gained1, fee)


def test_fees_mints_and_burns_of_ten_real_positions_are_reproduced():
    # Their liquidity is in the data already, so that nothing is thinned. The contract rounds each step of a swap.
    found = list(earned_by_real_positions())
    assert len(found) == 10
    for ours, real in found:
        for mine, collected in zip(ours, real, strict=True):
            assert abs(mine - collected) <= max(2, collected * 1e-7)
    assert sum(real != (0, 0) for _, real in found) == 9
