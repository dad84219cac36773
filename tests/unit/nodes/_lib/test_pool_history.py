"""A pool's events and minutes, as shipped and as broken."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest

from nodes._lib.history import BadData, Skip, time_ns
from nodes._lib.pool_history import read_pool_events, read_pool_minutes, read_pool_start

DATA = Path(__file__).parents[4] / "data"
MORNING = DATA / "mainnet_usdc_weth_5bps_2024-01-05_morning.csv.gz"
DAYS = [DATA / f"polygon_usdc_weth_5bps_2023-08-{day}.minute.csv.gz" for day in range(13, 18)]


def lines_of(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def changed(folder: Path, source: Path, line: int, column: int, value: str) -> Path:
    """Copy the first twenty lines of a file with one field replaced; lines count from 1, columns from 0."""
    lines = lines_of(source)[:20]
    fields = lines[line - 1].split(",")
    fields[column] = value
    lines[line - 1] = ",".join(fields)
    path = folder / "changed.csv"
    path.write_text("\n".join(lines))
    return path


# --- events -------------------------------------------------------------------------------------------------------


def test_morning_has_every_event_with_exact_integers():
    events = list(read_pool_events(MORNING))
    kinds = [event.kind for event in events]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    assert counts == {"burn": 33, "collect": 32, "mint": 27, "swap": 2842}
    first = events[0]
    assert first.event_time_ns == time_ns("2024-01-05 00:00:23")
    assert (first.block, first.log_index, first.amount0, first.amount1) == (18937382, 169, -22686110, 10**16)
    assert (first.sqrt_price_x96, first.tick) == (1662995104975155420368771254341874, 199045)
    mint = next(event for event in events if event.kind == "mint")
    assert (mint.lower, mint.upper, mint.position_liquidity) == (199060, 199070, 389297572651811471360)


@pytest.mark.parametrize("name", ["mainnet_usdc_weth_5bps_2024-01-05_morning", "mainnet_usdc_weth_30bps_2024-01-05"])
def test_start_is_the_state_after_the_event_that_it_names(name):
    start = read_pool_start(DATA / f"{name}.start.json")
    event = list(read_pool_events(DATA / f"{name}.csv.gz"))[start.start_after_event]
    assert (start.sqrt_price_x96, start.tick, start.liquidity) == (event.sqrt_price_x96, event.tick, event.liquidity)
    assert all(tick % start.tick_spacing == 0 for tick, _ in start.liquidity_net)


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        (5, "1.5", "amount0 is '1.5', not a whole number"),
        (7, "", "invalid literal"),
        (4, "FLASH", "type is 'FLASH'; known are SWAP"),
        (1, "2024-01-05", "is not a time"),
        (9, "199055", "is not the tick of sqrtPriceX96"),
        (0, "18937381", "does not follow"),
        (2, "1", "does not follow"),
        (2, "169", "event 18937382/169 is there twice"),
        (6, "783707260129944808", "amounts of one sign"),
        (7, "4295128738", "outside what a pool allows"),
    ],
)
def test_bad_event_is_refused_or_skipped(tmp_path, column, value, what):
    path = changed(tmp_path, MORNING, 3, column, value)
    with pytest.raises(BadData, match=what) as error:
        list(read_pool_events(path))
    assert error.value.line == 3
    skip = Skip()
    assert len(list(read_pool_events(path, on_bad=skip))) + skip.count == 19


def test_start_whose_liquidity_does_not_add_up_is_refused(tmp_path):
    state = json.loads((DATA / "mainnet_usdc_weth_30bps_2024-01-05.start.json").read_text())
    state["liquidity"] = str(int(state["liquidity"]) + 1)
    path = tmp_path / "start.json"
    path.write_text(json.dumps(state))
    with pytest.raises(BadData, match="net liquidity up to tick 199032"):
        read_pool_start(path)
    path.write_text("{}")
    with pytest.raises(BadData, match="is not a pool's start state"):
        read_pool_start(path)


# --- minutes ------------------------------------------------------------------------------------------------------


def test_five_days_of_minutes_with_the_one_that_is_missing():
    minutes = list(read_pool_minutes(DAYS))
    assert len(minutes) == 5 * 1440 - 1
    gaps = [
        (before.event_time_ns, after.start_time_ns)
        for before, after in pairwise(minutes)
        if before.event_time_ns != after.start_time_ns
    ]
    assert gaps == [(time_ns("2023-08-14 00:00:00"), time_ns("2023-08-14 00:01:00"))]
    assert all(minute.lowest_tick <= minute.close_tick <= minute.highest_tick for minute in minutes)
    assert max(minute.in1 for minute in minutes) > 2**64  # no integer was squeezed into a machine word


def test_closing_tick_outside_its_minute_widens_the_minute():
    minute = next(m for m in read_pool_minutes(DAYS[:1]) if m.start_time_ns == time_ns("2023-08-13 00:54:00"))
    assert (minute.open_tick, minute.close_tick) == (201097, 201098)
    assert (minute.lowest_tick, minute.highest_tick) == (201097, 201098)


def test_a_hole_is_refused(tmp_path):
    with pytest.raises(BadData, match="1440 minutes are missing between 2023-08-13 23:59:00 and 2023-08-15 00:00:00"):
        list(read_pool_minutes([DAYS[0], DAYS[2]]))
    with pytest.raises(BadData, match="1 minutes are missing"):
        list(read_pool_minutes(DAYS[:2], max_gap_minutes=0))


def test_the_same_day_twice_is_refused():
    with pytest.raises(BadData, match=r"2023-08-13 00:00:00 is not after 2023-08-13 23:59:00"):
        list(read_pool_minutes([DAYS[0], DAYS[0]]))


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        (1, "x", "netAmount0 is 'x', not a whole number"),
        (5, "300000", "lowestTick 300000 is above highestTick"),
        (7, "-1", "inAmount0 -1 is negative or less"),
        (9, "0", "currentLiquidity is 0"),
        (0, "2023-08-13 00:00:00", "repeated or misplaced"),
    ],
)
def test_bad_minute_is_refused(tmp_path, column, value, what):
    with pytest.raises(BadData, match=what) as error:
        list(read_pool_minutes([changed(tmp_path, DAYS[0], 3, column, value)]))
    assert error.value.line == 3
