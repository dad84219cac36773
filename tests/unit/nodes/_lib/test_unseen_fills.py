"""Fills that were reported and are not in the net exposure yet."""

from __future__ import annotations

from nodes._lib.unseen_fills import UnseenFills

S = 1_000_000_000


def unseen() -> UnseenFills:
    return UnseenFills(patience_ns=5 * S)


def test_a_fill_is_seen_once_the_venue_part_has_moved_by_it():
    fills = unseen()
    assert not fills
    fills.report("sell", 2.0, -1.0, 0)
    assert fills
    fills.see(-1.0, S)
    assert fills.sold == 2.0
    fills.see(-2.5, S)
    assert fills.sold == 0.5
    fills.see(-3.0, S)
    assert not fills


def test_a_move_the_other_way_is_not_the_fill():
    fills = unseen()
    fills.report("sell", 2.0, 0.0, 0)
    fills.see(2.0, S)
    assert fills.sold == 2.0


def test_both_sides_are_counted_apart():
    fills = unseen()
    fills.report("sell", 2.0, 0.0, 0)
    fills.report("buy", 1.0, 0.0, 0)
    fills.see(1.0, S)
    assert (fills.bought, fills.sold) == (0.0, 2.0)


def test_patience_ends_with_the_first_exposure_after_it():
    fills = unseen()
    fills.report("buy", 1.0, 0.0, 0)
    fills.see(0.0, 5 * S)
    assert fills
    fills.see(0.0, 5 * S + 1)
    assert not fills


def test_a_fill_that_the_exposure_had_first_is_not_waited_for():
    fills = unseen()
    fills.expect()
    fills.see(-2.0, S)
    fills.report("sell", 1.5, -2.0, S)
    assert not fills
    fills.report("sell", 1.0, -2.0, S)
    assert fills.sold == 0.5


def test_what_moved_before_the_order_went_out_is_not_its_fill():
    fills = unseen()
    fills.see(-2.0, S)
    fills.expect()
    fills.report("sell", 1.5, -2.0, S)
    assert fills.sold == 1.5


def test_what_moved_the_other_way_or_long_ago_is_not_the_fill():
    fills = unseen()
    fills.see(2.0, S)
    fills.report("sell", 1.0, 2.0, S)
    assert fills.sold == 1.0
    fills.report("buy", 1.0, 2.0, 7 * S)
    assert fills.bought == 1.0


def test_a_move_is_first_what_was_reported_and_then_what_will_be():
    fills = unseen()
    fills.report("buy", 1.0, 0.0, S)
    fills.see(1.5, S)
    fills.report("buy", 0.5, 1.5, S)
    assert not fills


def test_binary_noise_is_not_a_rest():
    fills = unseen()
    fills.report("buy", 0.1 + 0.2, 0.0, 0)
    fills.see(0.3, S)
    assert not fills
