"""Markets made of bars, and captured frames."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest

from engine.testing import run_node
from nodes._lib.history import read_bars
from nodes.messages import Bar, Book, Trade
from nodes.sources.bar_market import BarMarket
from nodes.sources.binance_capture import BinanceCapture

DATA = Path(__file__).parents[4] / "data"
BARS = str(DATA / "binance_spot_ethusdt_1m_2024-01-04_05.csv.gz")
MODEL = str(DATA / "book_model_binance_spot_ethusdt.json")
HOUR = {"begin": "2024-01-05 00:00:00", "end": "2024-01-05 01:00:00"}


def market(**params: object) -> list:
    values: dict[str, object] = {"file": BARS, "model": MODEL, "instrument": "ETH-USDT", "points": 6}
    return list(run_node(BarMarket, **(values | params)).node.history())


def test_the_path_of_a_bar_touches_its_prices_and_trades_its_volume():
    rows = market(**HOUR)
    assert all(one[0] <= other[0] for one, other in pairwise(rows))
    bars = [message for _, message in rows if isinstance(message, Bar)]
    assert bars == [
        bar
        for bar in read_bars(BARS, "ETH-USDT")
        if bars[0].start_time_ns <= bar.start_time_ns <= bars[-1].start_time_ns
    ]
    assert len(bars) == 60
    messages = [message for _, message in rows]
    for bar in bars:
        end = messages.index(bar)
        within = [each for each in messages[max(0, end - 14) : end] if each.event_time_ns > bar.start_time_ns]
        trades = [message for message in within if isinstance(message, Trade)]
        mids = [message.mid for message in within if isinstance(message, Book)]
        assert sum(trade.size for trade in trades) == pytest.approx(bar.volume)
        assert max([bar.open, *mids]) == pytest.approx(bar.high, abs=0.011)
        assert min([bar.open, *mids]) == pytest.approx(bar.low, abs=0.011)
        assert mids[-1] == pytest.approx(bar.close, abs=0.011)
        assert len(mids) == 6 and within[-1].event_time_ns == bar.event_time_ns


def test_trades_take_in_the_direction_of_the_path_and_come_before_their_book():
    mid = None
    rows = market(**HOUR)
    for (now, message), (then, after) in pairwise(rows):
        if isinstance(message, Trade):
            assert isinstance(after, Book) and then == now
            assert mid is not None
            if abs(after.mid - mid) > 0.02:
                assert message.aggressor == ("buy" if after.mid > mid else "sell")
        elif isinstance(message, Book):
            mid = message.mid


def test_nothing_tells_of_what_comes_later(tmp_path):
    """Whatever a bar does after a moment, all that was sent by then is the same, but for the order of its extremes."""
    head = "datetime,open,high,low,close,volume\n2024-01-05 00:00:00,100,101,99,100.5,10\n"
    sent = []
    for number, later in enumerate(("100.5,140,100.5,139,1", "100.5,100.5,60,61,500")):
        file = tmp_path / f"{number}.csv"
        file.write_text(f"{head}2024-01-05 00:01:00,{later}\n")
        rows = market(file=str(file))
        sent.append([row for row in rows if row[0] <= rows[0][0] + 60 * 10**9])
    assert sent[0] == sent[1] and len(sent[0]) == 14


def test_a_repeated_market_goes_on_in_time():
    once, twice = market(**HOUR), market(**HOUR, repeat=2)
    assert len(twice) >= 2 * len(once) - 1
    assert all(one[0] <= other[0] for one, other in pairwise(twice))


@pytest.mark.parametrize("venue", ["usdm", "spot"])
def test_a_capture_shows_the_exchanges_own_best_prices(venue):
    node = run_node(
        BinanceCapture,
        file=str(DATA / f"binance_{venue}_ethusdt_2024-08-08.txt.gz"),
        venue=venue,
        instrument="ETH-USDT",
    )
    rows = list(islice(node.node.history(), 12_000))
    assert all(one[0] <= other[0] for one, other in pairwise(rows))
    books = [message for _, message in rows if isinstance(message, Book)]
    trades = [message for _, message in rows if isinstance(message, Trade)]
    assert len(books) > 8_000 and len(trades) > 1_000
    for book in books[::50]:
        bids, asks = book.sides()
        assert (bids[0], asks[0]) == ((book.bid_price, book.bid_size), (book.ask_price, book.ask_size))
        assert book.bid_price < book.ask_price
        assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
        assert 1 <= len(bids) <= 10
    # Trades print at or inside the best prices that stood just before, but for the latency between the streams.
    book = None
    near = []
    for _, message in rows:
        if isinstance(message, Book):
            book = message
        elif book is not None:
            near.append(abs(message.price / book.mid - 1) * 10_000 < 2)
    assert sum(near) / len(near) > 0.95


def test_depth_alone_is_sent_at_its_own_pace():
    params = {"file": str(DATA / "binance_spot_ethusdt_2024-08-08.txt.gz"), "venue": "spot", "instrument": "ETH-USDT"}
    books = [
        message
        for _, message in run_node(BinanceCapture, **params, best_prices=False, depth_levels=3).node.history()
        if isinstance(message, Book)
    ]
    assert 3_000 < len(books) < 3_500
    assert all(len(side) == 3 for side in books[-1].sides())
