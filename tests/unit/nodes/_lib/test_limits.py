"""Each pre-trade limit on its own."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from support.markets import PERP, book, exposure, place

from nodes._lib import limits

S = 1_000_000_000
ORDER = place("a", "sell", "2000.1", "1")


def test_another_instrument_is_named():
    assert limits.known_instrument(ORDER, PERP) is None
    assert limits.known_instrument(ORDER, "ETH-USDC") == ("instrument", "ETH-USDT-PERP is not ETH-USDC")


@pytest.mark.parametrize(
    ("price", "size", "part"),
    [
        ("2000.15", "1", "tick"),
        ("2000.1", "0.0005", "lot"),
        ("2000.1", "0.004", "notional"),
        ("-2000.1", "1", "above 0"),
        ("2000.1", "-1", "above 0"),
        ("sNaN", "1", "finite"),
        ("2000.1", "Infinity", "finite"),
    ],
)
def test_a_malformed_order_is_told_what_is_wrong(price, size, part):
    rule, detail = limits.well_formed(place("a", "buy", price, size), Decimal("0.1"), Decimal("0.001"), Decimal(10))
    assert rule == "well_formed"
    assert part in detail


def test_a_reference_is_fresh_up_to_its_age():
    assert limits.fresh_reference(book(), 5 * S, 5 * S) is None
    assert "old" in limits.fresh_reference(book(), 5 * S + 1, 5 * S)[1]
    assert limits.fresh_reference(None, 0, S)[0] == "reference"


def test_an_exposure_says_which_source_is_unknown():
    assert limits.known_exposure(exposure(0.0), S, S) is None
    assert limits.known_exposure(exposure(None), 0, S)[1].endswith("lp")
    assert limits.known_exposure(exposure(0.0), S + 1, S) is not None


def test_the_collar_holds_on_both_sides_and_includes_its_edge():
    assert limits.price_collar(1010.0, 1000.0, 100.0 + 1e-9) is None
    assert limits.price_collar(990.0, 1000.0, 100.0 + 1e-9) is None
    assert limits.price_collar(1010.1, 1000.0, 100.0) is not None
    assert limits.price_collar(989.9, 1000.0, 100.0) is not None


@pytest.mark.parametrize("pair", [(math.nan, 2000.0), (2000.0, math.nan), (math.inf, 2000.0)])
def test_a_price_that_cannot_be_compared_does_not_pass(pair):
    assert limits.price_collar(*pair, 100.0) is not None


def test_size_and_value_include_their_limit():
    assert limits.order_size(Decimal(2), Decimal(2)) is None
    assert limits.order_size(Decimal("2.001"), Decimal(2)) is not None
    assert limits.order_value(Decimal(100), Decimal(2), Decimal(200)) is None
    assert limits.order_value(Decimal(100), Decimal("2.01"), Decimal(200)) is not None


@pytest.mark.parametrize(
    ("net", "worst", "passes"),
    [
        (0.0, 8.0, True),
        (0.0, -8.01, False),
        (20.0, 19.0, True),  # beyond the limit, but falling
        (20.0, -8.0, True),
        (20.0, -8.01, False),  # beyond the limit on the other side
        (20.0, -20.0, False),  # as much on the other side is no reduction
        (20.0, 21.0, False),
        (-20.0, -19.0, True),
        (math.nan, 1.0, True),  # the exposure itself is checked by known_exposure
        (1.0, math.nan, False),
        (1.0, math.inf, False),
    ],
)
def test_exposure_stays_within_the_limit_or_falls(net, worst, passes):
    assert (limits.net_exposure(net, worst, 8.0) is None) == passes


def test_worst_case_goes_the_way_of_the_order():
    assert limits.worst_net("buy", 1.0, 2.0, 3.0) == 6.0
    assert limits.worst_net("sell", 1.0, 2.0, 3.0) == -4.0


def test_tokens_flow_in_up_to_the_burst():
    rate = limits.MessageRate(rate_per_s=2.0, burst=3.0, reserve=1.0)
    for _ in range(2):
        assert rate.check(0) is None
        rate.spend(0)
    assert rate.check(0) is not None
    assert rate.check(S // 2) is None
    rate.spend(S // 2)
    assert rate.check(100 * S) is None
    assert rate.tokens == 3.0


def test_the_debt_of_cancels_is_bounded():
    rate = limits.MessageRate(rate_per_s=1.0, burst=3.0, reserve=0.0)
    for _ in range(100):
        rate.spend(0)
    assert rate.check(4 * S) is None


def test_repetition_forgets_what_leaves_the_window():
    repetition = limits.Repetition(max_count=2, window_ns=S)
    repetition.add("buy", 0)
    repetition.add("buy", S // 2)
    assert repetition.check("sell", S // 2) is None
    assert repetition.check("buy", S - 1) is not None
    assert repetition.check("buy", S) is None


def test_execution_allows_what_the_lp_has_moved_and_an_allowance():
    execution = limits.Execution(window_ns=60 * S, allowance=2.0)
    execution.move(10.0, 10.0, S)
    execution.move(7.0, 7.0, 2 * S)
    execution.add("sell", 15.0, 3 * S)
    assert execution.check("sell", 3 * S) is None
    execution.add("sell", 0.1, 4 * S)
    assert execution.check("sell", 4 * S) is not None
    assert execution.check("buy", 4 * S) is None


def test_execution_forgets_old_fills_and_old_moves():
    execution = limits.Execution(window_ns=60 * S, allowance=2.0)
    execution.move(0.0, 100.0, S)
    for second in range(2, 200):
        execution.move(0.0, 100.0, second * S)
    execution.add("sell", 2.1, 200 * S)
    assert execution.check("sell", 200 * S) is not None
    assert execution.check("sell", 261 * S) is None
    assert len(execution.marks) < 12


def test_execution_allows_what_net_exposure_was_when_the_window_began():
    execution = limits.Execution(window_ns=60 * S, allowance=2.0)
    execution.move(10.0, 10.0, S)
    execution.add("sell", 12.0, 2 * S)
    assert execution.check("sell", 2 * S) is None
    execution.add("sell", 0.1, 2 * S)
    assert execution.check("sell", 2 * S) is not None
    execution.add("buy", 2.1, 2 * S)
    assert execution.check("buy", 2 * S) is not None


def test_execution_begins_a_window_when_exposure_is_known_again():
    execution = limits.Execution(window_ns=60 * S, allowance=2.0)
    execution.move(0.0, 0.0, S)
    execution.move(None, 0.0, 2 * S)
    execution.move(50.0, 50.0, 30 * S)
    execution.add("sell", 50.0, 40 * S)
    assert execution.check("sell", 40 * S) is None


def test_an_lp_that_is_not_finite_does_not_explain_fills():
    execution = limits.Execution(window_ns=60 * S, allowance=2.0)
    execution.move(0.0, math.nan, S)
    execution.move(0.0, math.inf, S)
    execution.move(math.inf, 0.0, S)
    execution.add("sell", 3.0, S)
    assert execution.check("sell", S) is not None
