"""Recorded frames: every kind, both venues, and what is refused."""

import gzip
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from nodes._lib.binance_feed import (
    BestPrices,
    DepthSnapshot,
    DepthUpdate,
    TradePrint,
    parse_frame,
    read_capture,
    read_frames,
)
from nodes._lib.history import BadData, Skip

DATA = Path(__file__).parents[4] / "data"


def test_depth_update_of_usdm():
    frame = parse_frame(
        b'{"stream":"ethusdt@depth@0ms","data":{"e":"depthUpdate","E":7,"T":6,"s":"ETHUSDT","U":10,"u":12,"pu":9,'
        b'"b":[["2681.62","1.165"],["2681.60","0"]],"a":[]}}'
    )
    assert frame == DepthUpdate(7, "ETHUSDT", 10, 12, [(2681.62, 1.165), (2681.6, 0.0)], [], 9)


def test_best_prices_without_times_on_spot():
    frame = parse_frame(
        b'{"stream":"ethusdt@bookTicker","data":{"u":5,"s":"ETHUSDT","b":"2683.80000000","B":"3.02920000",'
        b'"a":"2683.81000000","A":"31.43950000"}}'
    )
    assert frame == BestPrices(5, "ETHUSDT", 2683.8, 3.0292, 2683.81, 31.4395)


def test_trade_says_who_took():
    text = (
        b'{"stream":"ethusdt@trade","data":{"e":"trade","E":2,"T":1,"s":"ETHUSDT","t":9,"p":"2681.62","q":"1.000",'
        b'"X":"MARKET","m":true,"new_field":1}}'
    )
    frame = parse_frame(text)
    assert isinstance(frame, TradePrint)
    assert (frame.trade_id, frame.price, frame.size, frame.aggressor) == (9, 2681.62, 1.0, "sell")
    assert parse_frame(text.replace(b"true", b"false")).aggressor == "buy"


def test_unused_stream_is_passed_over():
    assert parse_frame(b'{"stream":"ethusdt@markPrice@1s","data":{"p":"x"}}') is None


@pytest.mark.parametrize("price", [b"nan", b"inf", b"-1", b"0", b"", b"x"])
def test_price_that_is_none_is_refused(price):
    with pytest.raises(msgspec.MsgspecError):
        parse_frame(b'{"stream":"e@bookTicker","data":{"u":5,"s":"E","b":"' + price + b'","B":"1","a":"3","A":"1"}}')


@pytest.mark.parametrize(
    ("venue", "counts"),
    [
        ("usdm", {DepthUpdate: 6586, BestPrices: 53992, TradePrint: 14076, DepthSnapshot: 1}),
        ("spot", {DepthUpdate: 3434, BestPrices: 24077, TradePrint: 6106, DepthSnapshot: 1}),
    ],
)
def test_whole_capture_parses(venue, counts):
    frames = read_frames(DATA / f"binance_{venue}_ethusdt_2024-08-08.txt.gz")
    assert Counter(type(frame) for _, frame in frames) == counts


def test_broken_lines_are_refused_with_their_line_or_counted(tmp_path):
    path = tmp_path / "capture.txt.gz"
    good = b'{"stream":"e@bookTicker","data":{"u":5,"s":"E","b":"1","B":"1","a":"3","A":"1"}}'
    lines = [b"10 " + good, b"11 {broken", b"9 " + good, b"no time", b"12 " + good]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    with pytest.raises(BadData, match=r"capture.txt.gz:2: the frame of 11 cannot be read"):
        list(read_frames(path))
    skip = Skip()
    assert [at_ns for at_ns, _ in read_frames(path, on_bad=skip)] == [10, 12]
    assert skip.count == 3
    with pytest.raises(BadData, match=r":3: receive time 9 goes back, from 11"):
        list(read_capture(path))
