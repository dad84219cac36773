"""Ranges from quotes, budgets and the trigger, against reference numbers and by their meaning."""

from math import exp, inf, log, nan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib import clmm, ranges

MAPPING = numbers("range_fee_hedge")["range_mapping"]
ORIGIN = numbers("origin_asymmetric_lp")["ranges"]


@pytest.mark.parametrize("case", MAPPING)
def test_both_methods(case):
    i = case["inputs"]
    price = i["P"]
    lower, upper = ranges.match_execution(price, i["delta_b"], i["delta_a"], i["fee"])
    a = case["method_a"]
    assert (lower, upper) == (near(a["P_lower"], 1e-10), near(a["P_upper"], 1e-10))
    assert log(upper / price) == near(a["log_width_up"], 1e-10)
    assert log(price / lower) == near(a["log_width_down"], 1e-10)
    assert sqrt(price * upper) == near(a["mean_sale_price"], 1e-10)
    assert sqrt(price * lower) == near(a["mean_buy_price"], 1e-10)
    b = case["method_b"]
    liquidity, limits = ranges.match_slope(price, i["skew"], i["x_avail"], i["y_avail"])
    assert liquidity == near(b["L"], 1e-10)
    assert limits == (near(b["P_lower"], 1e-10), near(b["P_upper"], 1e-10))


def test_method_b_uses_up_what_is_available():
    liquidity, (lower, upper) = ranges.match_slope(2000.0, 0.5, 10.0, 20_000.0)
    assert clmm.amounts(liquidity, lower, upper, 2000.0) == (near(10.0, 1e-9), near(20_000.0, 1e-9))
    # dP per base sold equals the model's skew.
    assert -1 / clmm.gamma(liquidity, lower, upper, 2000.0) == near(0.5, 1e-12)


def test_method_b_with_more_inventory_than_the_curve_can_trade():
    assert ranges.match_slope(100.0, 10.0, 1e6, 1e9)[1] == (0.0, inf)


@given(st.floats(100, 1e5), st.floats(0, 0.02), st.floats(0, 0.02), st.floats(0, 0.01))
def test_a_range_swept_earns_the_models_quotes(price, down, up, fee):
    lower, upper = ranges.match_execution(price, down * price, up * price, fee)
    assert sqrt(price * upper) * exp(fee) == pytest.approx(price * (1 + up), rel=1e-12)
    assert sqrt(price * lower) * exp(-fee) == pytest.approx(price * (1 - down), rel=1e-12)


def test_an_end_on_the_wrong_side_is_brought_back():
    limits = ranges.match_execution(2500.0, 6.0, 20.0, 0.003)
    assert limits[0] > 2500.0
    lower, upper = ranges.widen(limits, 2500.0, 0.0010)
    assert log(2500.0 / lower) == near(0.0010, 1e-9)
    assert upper == near(limits[1], 1e-12)
    assert ranges.widen((0.0, inf), 2500.0, 0.001, 0.5) == (near(2500 * exp(-0.5), 1e-12), near(2500 * exp(0.5), 1e-12))
    assert ranges.wider((1.0, 2.0), (1.5, 3.0)) == (1.0, 3.0)


@given(st.floats(0, 1e3), st.floats(0, 1e6), st.floats(0.5, 2))
def test_two_positions_hold_any_mix(base, quote, place):
    price, limits = 2000.0 * place, (1500.0, 2500.0)
    above, below = ranges.split_budget(base, quote, limits, price)
    held_base = clmm.amounts(above, max(price, limits[0]), limits[1], price)[0] if above else 0.0
    held_quote = clmm.amounts(below, limits[0], min(price, limits[1]), price)[1] if below else 0.0
    assert held_base == pytest.approx(base if price < limits[1] else 0.0, rel=1e-9)
    assert held_quote == pytest.approx(quote if price > limits[0] else 0.0, rel=1e-9)


BASELINE = ranges.Baseline(price=2000.0, base=10.0, quote=20_000.0)


@pytest.mark.parametrize(
    ("baseline", "now", "reason"),
    [
        (None, (2000.0, 10.0, 20_000.0), "no position"),
        (BASELINE, (2000.0, 10.0, 20_000.0), ""),
        (BASELINE, (2200.0, 10.0, 20_000.0), ""),  # exactly the threshold is not beyond it
        (BASELINE, (2201.0, 10.0, 20_000.0), "price moved by +10.05%"),
        (BASELINE, (1799.0, 10.0, 20_000.0), "price moved by -10.05%"),
        (BASELINE, (2000.0, 8.9, 20_000.0), "base fell by 11.00%"),
        (BASELINE, (2000.0, 30.0, 20_000.0), ""),  # growing is no reason
        (BASELINE, (2000.0, 10.0, 17_000.0), "quote fell by 15.00%"),
        (ranges.Baseline(2000.0, 0.0, 20_000.0), (2000.0, 0.0, 20_000.0), ""),
        (ranges.Baseline(2000.0, 0.0, 0.0), (2000.0, 0.0, 0.0), ""),
    ],
)
def test_edge_trigger(baseline, now, reason):
    assert ranges.edge_trigger(baseline, *now, threshold=0.1) == reason


@pytest.mark.parametrize("case", ORIGIN)
def test_compatible_widths(case):
    config, price = case["config"], case["price_token1_per_token0"]
    value0 = case["token0"] * price
    share = value0 / (value0 + case["token1"])
    assert share == near(case["inventory_ratio"], 1e-9)
    assert abs(share - config["TARGET_INVENTORY_RATIO"]) == near(case["deviation"], 1e-9)
    up, down = ranges.compatible_widths(
        {"AvellanedaStoikovModel": "avellaneda_stoikov", "GLFTModel": "glft"}[case["model"]],
        base_share=share,
        target_share=config["TARGET_INVENTORY_RATIO"],
        annual_log_vol=case["volatility"],
        base_spread=config["BASE_SPREAD"],
        gamma=config["INVENTORY_RISK_AVERSION"],
        min_width=config["MIN_RANGE_PERCENTAGE"] / 100,
        max_width=config["MAX_RANGE_PERCENTAGE"] / 100,
    )
    assert 100 * up == near(case["range_a_percentage"], 1e-9)
    assert 100 * down == near(case["range_b_percentage"], 1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ranges.match_execution(2000.0, 2000.0, 1.0, 0.0), "quotes must be above 0"),
        (lambda: ranges.match_execution(2000.0, nan, 1.0, 0.0), "bid_distance is nan"),
        (lambda: ranges.match_slope(2000.0, 0.0, 1.0, 1.0), "skew is 0.0"),
        (lambda: ranges.widen((1.0, 2.0), 1.5, 0.1, 0.05), "below min_log_width"),
        (lambda: ranges.widen((1.0, 2.0), 1.5, 0.0), "min_log_width is 0.0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
