"""Ranges from quoting models: where they lean, how wide they are, when they are sent."""

from __future__ import annotations

from math import exp, inf, log, sqrt

import pytest
from support.pools import START_NS, pool_state

from engine.testing import NodeUnderTest, run_node
from nodes._lib.glft import Market, closed_form
from nodes._lib.range_width import carry, carry_half_width, exit_time, fees_pay
from nodes.messages import NetExposure, RangeTarget, Volatility
from nodes.models.avellaneda_stoikov_range import AvellanedaStoikovRange
from nodes.models.glft_range import GlftRange

MODELS = [AvellanedaStoikovRange, GlftRange]
YEAR_S = 31_536_000


def volatility(annualised: float = 0.5, warm: bool = True) -> Volatility:
    return Volatility(START_NS, annualised, 2_000.0, warm)


def exposure(net: float | None) -> NetExposure:
    return NetExposure("ETH", START_NS, net, net or 0.0, 0.0)


def fed(model: type, q: float | None = 0.0, vol: float = 0.5, paid: int = 0, **params: object) -> NodeUnderTest:
    """A model that has seen exposure, volatility, and one hour of flow."""
    node = run_node(model, now_s=START_NS // 10**9, **({"fee": 500} | params))
    node.on_exposure(exposure(q))
    node.on_pool(pool_state(2_000.0))
    node.on_vol(volatility(vol))
    node.sent.clear()
    node.target = only(node.on_pool(pool_state(2_000.0, 3_600, quote_in=paid)))
    return node


def only(sent: list) -> RangeTarget:
    ((name, target),) = sent
    assert name == "target"
    return target


def widths(target: RangeTarget) -> tuple[float, float]:
    """(down, up) in log price."""
    return log(target.price / target.lower_price), log(target.upper_price / target.price)


@pytest.mark.parametrize("model", MODELS)
def test_a_flat_book_gives_a_symmetric_range_and_exposure_leans_it(model):
    lean = {"paid": 10**13, "gamma": 0.05, "max_half_width_bps": 5_000.0}
    down, up = widths(fed(model, 0.0, **lean).target)
    assert down == pytest.approx(up, rel=0.02)
    long_down, long_up = widths(fed(model, 3.0, **lean).target)
    short_down, short_up = widths(fed(model, -3.0, **lean).target)
    # Long: sell sooner, buy later.
    assert long_up < up < short_up and short_down < down < long_down


@pytest.mark.parametrize("model", MODELS)
def test_the_range_leans_by_four_times_the_models_shift(model):
    node = fed(model, 2.0, paid=10**13, max_half_width_bps=5_000.0)
    down, up = widths(node.target)
    shift = (node.target.price - node.target.reservation_price) / node.target.price
    assert shift > 0
    assert down - up == pytest.approx(4 * shift, rel=0.01)


def test_the_glft_skew_is_that_of_the_closed_form():
    node = fed(GlftRange, 2.0, gamma=0.05, k=0.8, A=0.2, lot=0.5)
    sigma = 0.5 / sqrt(YEAR_S) * 2_000
    form = closed_form(Market(A=0.2, k=0.8, gamma=0.05, sigma=sigma, lot=0.5))
    assert node.target.reservation_price == pytest.approx(2_000 - 2 * form.skew, rel=1e-12)


def test_the_avellaneda_stoikov_shift_is_q_gamma_sigma_squared_t():
    node = fed(AvellanedaStoikovRange, -1.5, gamma=0.02, horizon_s=1_800.0)
    sigma = 0.5 / sqrt(YEAR_S) * 2_000
    assert node.target.reservation_price == pytest.approx(2_000 + 1.5 * 0.02 * sigma**2 * 1_800, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_width_is_where_fees_less_lvr_less_moves_are_greatest(model):
    # An hour in which 10 M of quote was paid in, at L = 10^19 raw = 10^7: fees per hour over L·√P.
    node = fed(model, paid=10**13, move_cost_bps=8.0, move_at=0.5, min_half_width_bps=1.0, max_half_width_bps=9_000.0)
    fee_yield = 1e7 * 0.0005 / 1e7 / sqrt(2_000) / 3_600
    expected = carry_half_width(fee_yield, 0.25 / YEAR_S, 8e-4 / 0.5**2)
    assert 0.002 < expected < 0.8
    assert widths(node.target) == pytest.approx((expected, expected), rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_a_pool_that_pays_less_than_lvr_gets_the_widest_range_and_limits_hold(model):
    wide = fed(model, paid=0, max_half_width_bps=1_500.0)
    assert widths(wide.target) == pytest.approx((0.15, 0.15), rel=1e-4)
    narrow = fed(model, paid=10**15, min_half_width_bps=70.0, move_cost_bps=0.1)
    assert widths(narrow.target) == pytest.approx((0.007, 0.007), rel=1e-3)
    far = fed(model, 1e6, paid=10**15, gamma=1.0, max_half_width_bps=1_500.0, min_half_width_bps=70.0)
    assert widths(far.target) == pytest.approx((0.15, 0.007))


@pytest.mark.parametrize("model", MODELS)
def test_the_protocols_part_of_the_fees_is_not_ours(model):
    node = run_node(model, now_s=START_NS // 10**9, fee=500)
    node.on_pool(pool_state(2_000.0))
    node.on_vol(volatility())
    node.on_pool(pool_state(2_000.0, 3_600, quote_in=4 * 10**12, protocol_fee_quote=4))
    half = fed(model, paid=3 * 10**12)
    assert node.fee_yield == pytest.approx(half.fee_yield)


@pytest.mark.parametrize("model", MODELS)
def test_an_unknown_exposure_means_no_lean(model):
    node = fed(model, 3.0, paid=10**13)
    node.on_exposure(exposure(None))
    target = only(node.on_pool(pool_state(2_000.0, 3_612)))
    down, up = widths(target)
    assert down == pytest.approx(up, rel=0.02)
    assert target.exposure_base == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_a_target_is_sent_when_something_changed_enough(model):
    node = fed(model, refresh_bps=10.0, refresh_exposure=0.5, refresh_volatility=0.1)
    assert node.on_pool(pool_state(2_001.9, 3_612)) == []
    assert node.on_pool(pool_state(2_003.0, 3_612, block_closed=False)) == []
    assert only(node.on_pool(pool_state(2_003.0, 3_624))).price == 2_003.0
    node.on_exposure(exposure(0.4))
    node.on_vol(volatility(0.54))
    assert node.on_pool(pool_state(2_003.0, 3_636)) == []
    node.on_exposure(exposure(0.6))
    assert only(node.on_pool(pool_state(2_003.0, 3_648))).exposure_base == 0.6
    node.on_vol(volatility(0.6))
    assert only(node.on_pool(pool_state(2_003.0, 3_660))).volatility == 0.6


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_sent_before_the_volatility_is_warm(model):
    node = run_node(model, fee=500)
    assert node.on_pool(pool_state(2_000.0)) == []
    node.on_vol(volatility(warm=False))
    assert node.on_pool(pool_state(2_000.0, 12)) == []


def test_limits_that_cross_are_refused():
    with pytest.raises(Exception, match="min_half_width_bps"):
        run_node(GlftRange, fee=500, min_half_width_bps=300.0, max_half_width_bps=200.0)


def test_the_best_half_width_is_a_maximum_and_none_earns_without_an_edge():
    best = carry_half_width(0.09, 0.25, 0.001)
    assert best == pytest.approx(2 * 0.001 * 0.25 / (0.09 - 0.0625))
    top = carry(best, 0.09, 0.25, 0.001)
    assert top > carry(best * exp(0.1), 0.09, 0.25, 0.001)
    assert top > carry(best * exp(-0.1), 0.09, 0.25, 0.001)
    assert carry_half_width(0.0625, 0.25, 0.001) == inf


@pytest.mark.parametrize("model", MODELS)
def test_the_width_of_the_model_alone_does_not_ask_what_fees_pay_for(model: type) -> None:
    settings = {"k": 0.04, "min_half_width_bps": 20, "max_half_width_bps": 2_000}
    poor = fed(model, paid=0, width="model", **settings).target
    rich = fed(model, paid=10**13, width="model", **settings).target
    assert (poor.lower_price, poor.upper_price) == (rich.lower_price, rich.upper_price)
    wider = fed(model, paid=0, **settings).target
    assert wider.upper_price > poor.upper_price


# --- whether to be there at all -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_without_estimate_nothing_is_said_of_earnings(model):
    target = fed(model, paid=0).target
    assert (target.carry, target.stay_out) == (None, "")


@pytest.mark.parametrize("model", MODELS)
def test_it_stays_out_while_fees_do_not_pay_for_lvr_and_returns_only_with_a_margin(model):
    node = fed(model, paid=0, estimate=True, flow_half_life_s=60.0)
    assert node.target.carry < 0
    assert node.target.stay_out.startswith("fees of 0.0% a year do not pay for LVR of ")
    # L, the pool's own 10^19, in whole units of sqrt(base·quote).
    break_even = 0.5**2 / 4 / YEAR_S * 3_600 * sqrt(2_000.0) * 10**19 * 1e-12 / 0.0005 * 1e6
    for number, (factor, out) in enumerate([(1.1, True), (1.3, False), (1.1, False), (0.9, True)], 2):
        price = 2_000.0 * 1.01 ** ((number + 1) % 2)
        target = only(node.on_pool(pool_state(price, number * 3_600, quote_in=int(break_even * factor))))
        assert bool(target.stay_out) is out, factor
        assert (target.carry > 0) is (factor > 1)


def test_fees_pay_and_exit_times():
    assert fees_pay(0.26, 1.0) and not fees_pay(0.25, 1.0)
    assert not fees_pay(0.29, 1.0, 0.2) and fees_pay(0.31, 1.0, 0.2)
    assert exit_time(0.1, 0.1, 0.0001) == pytest.approx(100.0)
    assert exit_time(0.0, 0.2, 0.0001) == exit_time(-0.1, 0.3, 0.0001) == 0.0
