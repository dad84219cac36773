"""Calibration: on frames made by hand, where each figure is known, and on the shipped captures."""

import gzip
import json
from pathlib import Path

import pytest

from engine import PipelineError
from nodes._lib.book_calibration import calibrate
from nodes._lib.book_model import read_book_model

DATA = Path(__file__).parents[4] / "data"
START_MS = 1_700_000_000_000


def best(at_ms: int, bid: float, bid_size: float, ask: float, ask_size: float) -> tuple[int, dict]:
    data = {"e": "bookTicker", "u": at_ms, "s": "ETHUSDT", "T": START_MS + at_ms, "E": START_MS + at_ms}
    data |= {"b": str(bid), "B": str(bid_size), "a": str(ask), "A": str(ask_size)}
    return at_ms, {"stream": "ethusdt@bookTicker", "data": data}


def trade(at_ms: int, price: float, size: float, buys: bool) -> tuple[int, dict]:
    data = {"e": "trade", "E": START_MS + at_ms, "T": START_MS + at_ms, "s": "ETHUSDT", "t": at_ms}
    data |= {"p": str(price), "q": str(size), "X": "MARKET", "m": not buys}
    return at_ms, {"stream": "ethusdt@trade", "data": data}


def depth(at_ms: int, first: int, last: int, previous: int) -> tuple[int, dict]:
    data = {"e": "depthUpdate", "E": START_MS + at_ms, "s": "ETHUSDT", "U": first, "u": last, "pu": previous}
    return at_ms, {"stream": "ethusdt@depth@0ms", "data": data | {"b": [], "a": []}}


def capture(folder: Path, frames: list[tuple[int, dict]]) -> Path:
    book = {
        "lastUpdateId": 5,
        "bids": [["1000.00", "4"], ["999.90", "6"]],
        "asks": [["1000.10", "2"], ["1000.45", "8"]],
    }
    lines = [(0, book), depth(0, 4, 6, 3), *frames]
    path = folder / "made.txt.gz"
    path.write_bytes(gzip.compress("\n".join(f"{(START_MS + at) * 10**6} {json.dumps(f)}" for at, f in lines).encode()))
    return path


def still_market(seconds: int = 300) -> list[tuple[int, dict]]:
    """A bid of 4 and an ask of 2 that never move; one sell of 1 at the bid each second, half a second in."""
    frames = [best(0, 1000.0, 4, 1000.1, 2)]
    for second in range(seconds):
        frames.append(trade(second * 1000 + 500, 1000.0, 1.0, buys=False))
        frames.append(best((second + 1) * 1000, 1000.0, 4, 1000.1, 2))
    return frames


def test_figures_of_a_market_that_stands_still(tmp_path):
    model = calibrate(capture(tmp_path, still_market()), "ETH-USDT-PERP", "usdm", tick=0.1)
    assert model.seconds == 300.0
    assert model.half_spread_bps == pytest.approx(0.05 / 1000.05 * 1e4, rel=1e-5)
    assert (model.spread_ticks, model.one_tick_share) == (1.0, 1.0)
    assert model.touch_depth_base == 3.0
    assert (model.depth_1bps_base, model.depth_2bps_base, model.depth_5bps_base) == (3.0, 6.0, 10.0)
    assert (model.trade_rate, model.mean_trade_base, model.through_volume_share) == (1.0, 1.0, 0.0)
    assert model.queue_ahead_base == 3.0  # the median over a bid of 4 and an ask of 2
    # A bid waits behind 4: the fifth sell, 4.5 s after joining, fills it. An ask never trades.
    assert model.fill_share_60s == 0.5
    assert model.markout_1s_bps == pytest.approx(0.05 / 1000.0 * 1e4, rel=1e-5)
    assert model.mid_volatility == 0.0


def test_queue_shrinks_to_what_is_displayed(tmp_path):
    frames = still_market()
    for index, (at_ms, frame) in enumerate(frames):
        if frame["stream"].endswith("bookTicker") and at_ms:
            frames[index] = best(at_ms, 1000.0, 0.5, 1000.1, 0.5)
    model = calibrate(capture(tmp_path, frames), "ETH-USDT-PERP", "usdm", tick=0.1)
    assert model.queue_ahead_base == 0.5
    assert model.fill_share_60s == 0.5


def test_price_that_goes_through_fills_and_costs(tmp_path):
    """The bid falls by 1 each 30 s: every resting bid is filled at its price, and mid is then below it."""
    frames = []
    for second in range(300):
        bid = 1000.0 - second // 30
        frames.append(best(second * 1000, bid, 4, bid + 0.1, 4))
        frames.append(trade(second * 1000 + 1, bid - 0.1, 2.0, buys=False))
    model = calibrate(capture(tmp_path, frames), "ETH-USDT-PERP", "usdm", tick=0.1)
    assert model.through_volume_share == 1.0
    assert model.markout_30s_bps < model.markout_1s_bps < 1.0
    assert model.markout_30s_bps < -5.0
    assert model.mid_volatility > 0.0


def test_prints_of_one_millisecond_and_side_are_one_order(tmp_path):
    frames = still_market()
    frames += [
        trade(300_001, 1000.0, 5.0, buys=False),
        trade(300_001, 999.9, 5.0, buys=False),
        best(300_002, 999, 1, 1001, 1),
    ]
    model = calibrate(capture(tmp_path, frames), "ETH-USDT-PERP", "usdm", tick=0.1)
    assert model.p99_trade_base == 1.0
    assert model.mean_trade_base == pytest.approx(310 / 301, rel=1e-5)
    assert model.through_volume_share == pytest.approx(5 / 310, rel=1e-5)


def test_capture_that_is_too_short_is_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"holds 60 s.*needs 120 s"):
        calibrate(capture(tmp_path, still_market(60)), "ETH-USDT-PERP", "usdm", tick=0.1)


@pytest.mark.parametrize(("venue", "instrument"), [("usdm", "ETH-USDT-PERP"), ("spot", "ETH-USDT")])
def test_shipped_models_are_what_the_captures_give(venue, instrument):
    model = calibrate(DATA / f"binance_{venue}_ethusdt_2024-08-08.txt.gz", instrument, venue, tick=0.01)
    assert model == read_book_model(DATA / f"book_model_binance_{venue}_ethusdt.json")
