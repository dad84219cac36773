"""The stated book and the path inside a bar."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from nodes._lib.book_model import BookShape, bar_path, book_around, path_volumes, read_book_model
from nodes._lib.history import BadData

DATA = Path(__file__).parents[4] / "data"
MODEL = read_book_model(DATA / "book_model_binance_usdm_ethusdt.json")


# --- path ---------------------------------------------------------------------------------------------------------


def test_rising_bar_goes_down_first():
    assert bar_path(10.0, 12.0, 9.0, 11.0, 5) == [10.0, 9.0, 10.0, 11.0, 12.0, 11.0]


def test_falling_bar_goes_up_first():
    assert bar_path(11.0, 12.0, 9.0, 10.0, 5) == [11.0, 12.0, 11.0, 10.0, 9.0, 10.0]


def test_flat_bar_stays():
    assert bar_path(10.0, 10.0, 10.0, 10.0, 4) == [10.0] * 5
    assert path_volumes([10.0] * 5, 8.0) == [2.0] * 4


def test_leg_without_length_takes_no_step():
    assert bar_path(9.0, 12.0, 9.0, 12.0, 3) == [9.0, 10.0, 11.0, 12.0]


def test_volume_goes_by_length_of_leg():
    path = bar_path(10.0, 12.0, 9.0, 11.0, 3)
    assert path == [10.0, 9.0, 12.0, 11.0]
    assert path_volumes(path, 10.0) == [2.0, 6.0, 2.0]


def test_too_few_points_and_impossible_bars_are_refused():
    with pytest.raises(ValueError, match="2 points cannot touch"):
        bar_path(10.0, 12.0, 9.0, 11.0, 2)
    with pytest.raises(ValueError, match="are no bar"):
        bar_path(10.0, 9.0, 11.0, 10.0, 5)
    with pytest.raises(ValueError, match="are no bar"):
        bar_path(10.0, float("nan"), 9.0, 10.0, 5)


# --- book ---------------------------------------------------------------------------------------------------------


def test_touch_is_one_tick_wide_as_measured():
    bids, asks = book_around(2681.385, MODEL)
    assert (bids[0], asks[0]) == ((2681.38, MODEL.touch_depth_base), (2681.39, MODEL.touch_depth_base))


def test_sizes_add_up_to_the_depths():
    bids, asks = book_around(2681.385, MODEL)
    for side in (bids, asks):
        assert sum(size for _, size in side) == pytest.approx(MODEL.depth_10bps_base)
        near = sum(size for price, size in side if abs(price / 2681.385 - 1) <= 5.001e-4)
        assert near == pytest.approx(MODEL.depth_5bps_base)


def test_levels_run_away_from_mid_on_the_tick():
    for tick in (0.01, 0.05, 0.5, 1.0, 10.0):
        shape = BookShape(MODEL, tick)
        for mid in (2268.123, 2681.385, 2681.38, 41_000.0):
            bids, asks = shape.around(mid)
            prices = [price for price, _ in bids[::-1] + asks]
            assert prices == sorted(set(prices))
            assert all(Decimal(str(price)) % Decimal(str(tick)) == 0 for price in prices)
            # Best bid and ask lie evenly around mid, to half a tick.
            assert abs((bids[0][0] + asks[0][0]) / 2 - mid) <= tick / 2 * (1 + 1e-6)


def test_wider_model_gives_a_wider_book():
    wide = msgspec.structs.replace(MODEL, half_spread_bps=2.0)
    bids, asks = book_around(2500.0, wide)
    assert asks[0][0] - bids[0][0] == pytest.approx(1.0, abs=0.011)


@pytest.mark.parametrize("mid", [0.0, -1.0, float("nan"), float("inf")])
def test_book_around_no_price_is_refused(mid):
    with pytest.raises(ValueError, match="mid is"):
        book_around(mid, MODEL)
    with pytest.raises(ValueError, match="tick is"):
        BookShape(MODEL, 0.0)


def test_model_file_is_checked(tmp_path):
    path = tmp_path / "model.json"
    with pytest.raises(BadData, match="cannot be read as a book model"):
        read_book_model(path)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(MODEL, touch_depth_base=0.0)))
    with pytest.raises(BadData, match="must be positive"):
        read_book_model(path)
    path.write_bytes(msgspec.json.encode({"tick": 1.0}))
    with pytest.raises(BadData, match="missing required field"):
        read_book_model(path)
