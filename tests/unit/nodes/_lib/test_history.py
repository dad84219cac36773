"""Files to rows: times, bars and series, and what is refused where."""

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from nodes._lib.history import BadData, Skip, read_bars, read_lines, read_series, time_ns, time_text

DATA = Path(__file__).parents[4] / "data"
BARS = DATA / "binance_spot_ethusdt_1m_2024-01-04_05.csv.gz"
DIRTY = Path(__file__).parents[5] / "shared/fixtures/uniswap_v3/real"
DIRTY /= "dirty_pool_ohlc_usdc_eth_1m_2023-12-27_2024-01-17.csv"
HEADER = "datetime,open,high,low,close,volume\n"
GOOD = "2024-01-05 00:00:00,10,12,9,11,5.5\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "bars.csv"
    path.write_text(text)
    return path


def bars(folder: Path, text: str, **options):
    return list(read_bars(write(folder, HEADER + text), "ETH-USDT", **options))


# --- times --------------------------------------------------------------------------------------------------------


def test_time_is_utc_and_read_back():
    assert time_ns("1970-01-02 00:00:01") == 86_401 * 10**9
    assert time_ns("2024-01-05T12:34:56") == time_ns("2024-01-05 12:34:56") == 1_704_458_096 * 10**9
    assert time_text(time_ns("2024-02-29 23:59:59")) == "2024-02-29 23:59:59"


@pytest.mark.parametrize(
    "text", ["", "2024-01-05", "2024-01-05 24:00:00", "2023-02-29 00:00:00", "2024-01-05 00:00", "2024-01-05 1:00:000"]
)
def test_time_of_another_form_is_refused(text):
    with pytest.raises(ValueError):
        time_ns(text)


# --- bars ---------------------------------------------------------------------------------------------------------


def test_bar_is_known_at_its_end(tmp_path):
    [bar] = bars(tmp_path, GOOD)
    assert bar.start_time_ns == time_ns("2024-01-05 00:00:00")
    assert bar.event_time_ns == time_ns("2024-01-05 00:01:00")
    assert (bar.instrument, bar.open, bar.high, bar.low, bar.close, bar.volume) == ("ETH-USDT", 10, 12, 9, 11, 5.5)


def test_shipped_bars_are_two_whole_days():
    rows = list(read_bars(BARS, "ETH-USDT"))
    assert len(rows) == 2880
    assert all(after.start_time_ns == bar.event_time_ns for bar, after in pairwise(rows))


def test_window_keeps_only_bars_wholly_inside():
    start, end = time_ns("2024-01-05 00:00:30"), time_ns("2024-01-05 00:03:30")
    rows = list(read_bars(BARS, "ETH-USDT", start_ns=start, end_ns=end))
    assert [time_text(bar.start_time_ns)[11:] for bar in rows] == ["00:01:00", "00:02:00"]


def test_missing_bar_is_not_made_up(tmp_path):
    rows = bars(tmp_path, GOOD + "2024-01-05 00:05:00,10,12,9,11,5.5\n")
    assert [time_text(bar.start_time_ns)[14:16] for bar in rows] == ["00", "05"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("2024-01-05 00:01:00,10,8,9,10,1", "high 8.0 is below low 9.0"),
        ("2024-01-05 00:01:00,10,12,9,13,1", "high 12.0 is below open 10.0 or close 13.0"),
        ("2024-01-05 00:01:00,8,12,9,10,1", "low 9.0 is above open 8.0"),
        ("2024-01-05 00:01:00,10,12,nan,11,1", "not finite"),
        ("2024-01-05 00:01:00,10,inf,9,11,1", "not finite"),
        ("2024-01-05 00:01:00,10,12,-9,11,1", "a price is positive"),
        ("2024-01-05 00:01:00,10,12,9,11,-1", "a volume is not negative"),
        ("2024-01-05 00:01:00,10,12,9,ten,1", "close is 'ten', not a number"),
        ("2024-01-05 00:01:00,10,12,9,11", "the row has 5 fields; expected 6"),
        ("2024-01-05 00:01,10,12,9,11,1", "'2024-01-05 00:01' is not a time"),
        ("2024-01-05 00:00:00,10,12,9,11,1", "repeats or goes back"),
        ("2024-01-04 23:59:00,10,12,9,11,1", "repeats or goes back"),
    ],
)
def test_bad_bar_is_refused_with_file_and_line_or_skipped_and_counted(tmp_path, row, what):
    text = GOOD + row + "\n2024-01-05 00:02:00,10,12,9,11,5.5\n"
    with pytest.raises(BadData) as error:
        bars(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'bars.csv'}:3: ")
    assert what in str(error.value)

    skip = Skip()
    assert len(bars(tmp_path, text, on_bad=skip)) == 2
    assert skip.count == 1
    assert what in str(skip.first)


def test_other_columns_are_refused(tmp_path):
    path = write(tmp_path, "time,open,high,low,close,volume\n")
    with pytest.raises(BadData, match=r"bars.csv:1: the columns are 'time,open.*expected 'datetime,open"):
        list(read_bars(path, "ETH-USDT"))


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadData, match=r"none\.csv.*cannot be read"):
        list(read_bars(tmp_path / "none.csv", "ETH-USDT"))


def test_compressed_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress((HEADER + GOOD * 1000).encode())[:-20])
    with pytest.raises(BadData, match="damaged or cut short"):
        list(read_lines(path))


def test_lines_are_whole_across_blocks_and_line_ends(tmp_path):
    lines = [b"x" * (number % 200) for number in range(3000)]
    for end in (b"\n", b"\r\n"):
        path = tmp_path / "lines.txt"
        path.write_bytes(end.join(lines))
        assert list(read_lines(path)) == list(enumerate(lines, 1))


@pytest.mark.skipif(not DIRTY.exists(), reason="the example of bad data is not beside this checkout")
def test_real_bad_data_is_refused_or_counted():
    with pytest.raises(BadData, match=r"\.csv:4: high 0\.0004261 is below open 0\.0004261 or close 0\.00042619"):
        list(read_bars(DIRTY, "USDC-ETH"))
    skip = Skip()
    assert len(list(read_bars(DIRTY, "USDC-ETH", on_bad=skip))) == 3320
    assert skip.count == 1632


# --- series -------------------------------------------------------------------------------------------------------


def test_series_of_the_polygon_days():
    prices = list(read_series(DATA / "polygon_price_weth_usdc_2023-08-13_17.csv.gz", "WETH"))
    gas = list(read_series(DATA / "polygon_gas_price_2023-08-14_17.csv.gz", "gas_price"))
    assert len(prices) == 5 * 1440
    assert len(gas) == 4 * 1440
    assert (prices[0].value, prices[-1].value) == (1848.12, 1683.66)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("2024-01-05 00:00:00,1", "is not after"),
        ("2024-01-05 00:01:00,nan", "not a finite number"),
        ("2024-01-05 00:01:00", "expected a time and 1 numbers"),
    ],
)
def test_bad_point_is_refused(tmp_path, row, what):
    path = write(tmp_path, "time,gwei\n2024-01-05 00:00:00,30\n" + row + "\n")
    with pytest.raises(BadData, match=what) as error:
        list(read_series(path, "gwei"))
    assert error.value.line == 3


def test_series_without_the_column_is_refused(tmp_path):
    with pytest.raises(BadData, match="no column 'wei'; there are gwei"):
        list(read_series(write(tmp_path, "time,gwei\n"), "wei"))
