"""Intensity and volatility estimates against 50-digit numbers, and properties of the running estimate."""

from math import exp, inf, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib import calibration as cal

NUMBERS = numbers("calibration")


@pytest.mark.parametrize("case", NUMBERS["intensity"])
def test_intensity(case):
    data = case["distance"], case["exposure"], case["fills"]
    fit = cal.fit_intensity(*data)
    assert (fit.A, fit.k) == (near(case["mle"]["A"], 1e-8), near(case["mle"]["k"], 1e-8))
    assert fit.k_standard_error == near(case["mle"]["k_standard_error"], 1e-8)
    assert fit.fills == sum(case["fills"])
    assert abs(fit.k - case["true"]["k"]) < 4 * fit.k_standard_error
    a, k, r_squared = cal.fit_log_linear(*data)
    assert (a, k) == (near(case["log_linear_start"]["A"], 1e-8), near(case["log_linear_start"]["k"], 1e-8))
    assert r_squared == fit.r_squared > 0.99
    assert cal.why_refuse(fit) == ""


def test_standard_error_is_the_spread_of_repeated_fits():
    random = np.random.default_rng(5)
    distances, exposure = [1.0, 2.0, 4.0, 7.0], [200.0] * 4
    fits = [
        cal.fit_intensity(distances, exposure, random.poisson([200 * 2.0 * exp(-0.4 * d) for d in distances]).tolist())
        for _ in range(300)
    ]
    spread = float(np.std([fit.k for fit in fits]))
    assert spread == pytest.approx(np.mean([fit.k_standard_error for fit in fits]), rel=0.15)
    assert np.mean([fit.k for fit in fits]) == pytest.approx(0.4, abs=4 * spread / sqrt(300))


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(1, 1e4), st.integers(0, 500)),
        min_size=3,
        max_size=8,
        unique_by=lambda x: round(x[0], 1),
    )
)
def test_the_fit_is_a_stationary_point_of_the_likelihood(levels):
    distances, exposures, fills = (list(column) for column in zip(*levels, strict=True))
    if sum(1 for n in fills if n) < 2:
        with pytest.raises(ValueError, match="fewer than two distances"):
            cal.fit_intensity(distances, exposures, fills)
        return
    fit = cal.fit_intensity(distances, exposures, fills)
    expected = [fit.A * exp(-fit.k * d) * t for d, t in zip(distances, exposures, strict=True)]
    assert sum(expected) == pytest.approx(sum(fills), rel=1e-9)
    moment = sum(n * d for n, d in zip(fills, distances, strict=True))
    assert sum(e * d for e, d in zip(expected, distances, strict=True)) == pytest.approx(moment, rel=1e-7)


def test_levels_without_fills_or_exposure():
    with_gap = cal.fit_intensity([1, 2, 3, 9], [100, 100, 100, 0], [50, 30, 20, 0])
    assert with_gap == cal.fit_intensity([1, 2, 3], [100, 100, 100], [50, 30, 20])
    empty_far = cal.fit_intensity([1, 2, 3, 9], [100, 100, 100, 100], [50, 30, 20, 0])
    assert empty_far.k > with_gap.k  # a level that was quoted and never filled is evidence


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (cal.Intensity(A=1, k=-0.1, k_standard_error=1, fills=100, r_squared=0.9), "rarer"),
        (cal.Intensity(A=1, k=nan, k_standard_error=1, fills=100, r_squared=0.9), "rarer"),
        (cal.Intensity(A=1, k=1, k_standard_error=1, fills=29, r_squared=0.9), "29 fills"),
        (cal.Intensity(A=1, k=1, k_standard_error=1, fills=30, r_squared=0.49), "0.49"),
    ],
)
def test_a_poor_fit_is_refused_with_its_reason(fit, words):
    assert words in cal.why_refuse(fit)


def test_first_passage_counts_time_at_risk():
    assert cal.first_passage([1.0, inf, 5.0, 12.0], 10.0) == (2, 26.0)


# --- volatility -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", NUMBERS["volatility"])
def test_bar_volatility(case):
    opens, highs, lows, closes, bar = (case[name] for name in ("open", "high", "low", "close", "bar_seconds"))
    prices = [opens[0], *closes]
    times = [bar * n for n in range(len(prices))]
    assert cal.realised_variance(prices, times) == near(case["realised_var_per_s"], 1e-8)
    assert cal.parkinson_variance(highs, lows, bar) == near(case["parkinson_var_per_s"], 1e-8)
    assert cal.garman_klass_variance(opens, highs, lows, closes, bar) == near(case["garman_klass_var_per_s"], 1e-8)


def test_a_missing_bar_counts_with_its_length():
    assert cal.realised_variance([100, 101, 102], [0, 60, 600]) == near(
        (log(1.01) ** 2 + log(102 / 101) ** 2) / 600, 1e-12
    )
    assert cal.annualised(1e-8) == near(sqrt(0.31536), 1e-12)


variances, returns = st.floats(0, 1e-3), st.floats(-0.2, 0.2)
half_lives, gaps = st.floats(0.1, 1e5), st.floats(0, 1e5)


@given(variances, gaps, half_lives)
def test_two_quiet_halves_equal_one_quiet_whole(variance, dt, half_life):
    once = cal.ewma_variance(variance, 0.0, 2 * dt, half_life)
    twice = cal.ewma_variance(cal.ewma_variance(variance, 0.0, dt, half_life), 0.0, dt, half_life)
    assert twice == pytest.approx(once, rel=1e-9, abs=1e-300)


@given(variances, returns, gaps, half_lives)
def test_the_estimate_stays_between_the_old_one_and_the_new_rate(variance, r, dt, half_life):
    after = cal.ewma_variance(variance, r, dt, half_life)
    assert after >= 0
    if dt > 1e-6:
        low, high = sorted((variance, r * r / dt))
        assert low * (1 - 1e-12) <= after <= high * (1 + 1e-12)


def test_the_weight_halves_in_a_half_life_and_dt_of_zero_is_the_limit():
    assert cal.ewma_variance(4e-8, 0.0, 300.0, 300.0) == near(2e-8, 1e-12)
    assert cal.ewma_variance(4e-8, 0.001, 0.0, 300.0) == near(cal.ewma_variance(4e-8, 0.001, 1e-9, 300.0), 1e-9)


def test_a_steady_walk_is_measured_without_bias_at_irregular_times():
    random = np.random.default_rng(3)
    gaps_s = random.exponential(12.0, 40_000)
    variance, seen = 1e-8, []
    for dt, z in zip(gaps_s, random.standard_normal(40_000), strict=True):
        variance = cal.ewma_variance(variance, 1e-4 * sqrt(dt) * z, dt, 1800.0)
        seen.append(variance)
    assert np.mean(seen) == pytest.approx(1e-8, rel=0.03)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cal.ewma_variance(1e-8, 0.0, -1.0, 60.0), "dt_s is -1.0"),
        (lambda: cal.ewma_variance(1e-8, 0.0, 1.0, 0.0), "half_life_s is 0.0"),
        (lambda: cal.ewma_variance(1e-8, 0.0, nan, 60.0), "dt_s is nan"),
        (lambda: cal.realised_variance([1.0], [0.0]), "at least two"),
        (lambda: cal.realised_variance([1.0, -2.0], [0.0, 1.0]), "prices"),
        (lambda: cal.realised_variance([1.0, 2.0], [1.0, 1.0]), "span is 0"),
        (lambda: cal.fit_intensity([1.0, 2.0], [1.0, 1.0], [5, -1]), "not negative"),
        (lambda: cal.fit_intensity([1.0, nan], [1.0, 1.0], [5, 1]), "level at nan"),
        (lambda: cal.first_passage([1.0], 0.0), "censor_s is 0.0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
