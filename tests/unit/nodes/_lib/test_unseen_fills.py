"""Fills that were reported and are not in the net exposure yet."""

from __future__ import annotations

from decimal import Decimal

from support.markets import PERP

from nodes._lib.unseen_fills import UnseenFills
from nodes.messages import NetExposure, VenueFills

S = 1_000_000_000


def unseen() -> UnseenFills:
    return UnseenFills(patience_ns=5 * S)


def shown(bought: str = "0", sold: str = "0", instrument: str = PERP) -> NetExposure:
    return NetExposure("ETH", 0, 0.0, 0.0, 0.0, (), (VenueFills(instrument, Decimal(bought), Decimal(sold)),))


def test_a_fill_is_seen_once_the_exposure_contains_it() -> None:
    fills = unseen()
    assert not fills
    fills.report("sell", Decimal(2), 0)
    assert fills and fills.sold == 2.0
    fills.see(shown(sold="1.5"), PERP, S)
    assert fills.sold == 0.5
    fills.see(shown(sold="2"), PERP, S)
    assert not fills and fills.sold == 0.0


def test_sides_and_instruments_are_counted_apart() -> None:
    fills = unseen()
    fills.report("sell", Decimal(2), 0)
    fills.report("buy", Decimal(1), 0)
    fills.see(shown(bought="1"), PERP, S)
    fills.see(shown(sold="2", instrument="ETH-USDC-PERP"), PERP, S)
    assert (fills.bought, fills.sold) == (0.0, 2.0)


def test_a_fill_that_is_never_shown_is_never_forgotten() -> None:
    fills = unseen()
    fills.report("buy", Decimal(1), 0)
    for second in (6, 60, 86_400):
        fills.see(shown(sold="3"), PERP, second * S)
        assert fills.bought == 1.0


def test_a_fill_that_the_exposure_had_first_is_not_waited_for() -> None:
    fills = unseen()
    fills.expect()
    fills.see(shown(sold="2"), PERP, S)
    fills.report("sell", Decimal("1.5"), S)
    assert not fills
    fills.report("sell", Decimal(1), S)
    assert fills.sold == 0.5


def test_what_was_shown_before_the_order_went_out_is_not_its_fill() -> None:
    fills = unseen()
    fills.see(shown(sold="2"), PERP, S)
    fills.expect()
    fills.report("sell", Decimal(2), S)
    assert fills.sold == 2.0
    fills.see(shown(sold="4"), PERP, 2 * S)
    assert not fills


def test_what_was_shown_long_ago_is_not_the_fill() -> None:
    fills = unseen()
    fills.see(shown(sold="2"), PERP, S)
    fills.report("sell", Decimal(2), 6 * S + 1)
    assert fills.sold == 2.0
    fills = unseen()
    fills.see(shown(sold="2"), PERP, S)
    fills.report("sell", Decimal(2), 6 * S)
    assert not fills


def test_a_tenth_ten_times_is_one() -> None:
    fills = unseen()
    for _ in range(10):
        fills.report("buy", Decimal("0.1"), 0)
    fills.see(shown(bought="1.0"), PERP, S)
    assert not fills
