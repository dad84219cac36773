"""The rebuilt book: sequence rules of both venues, gaps, and agreement with the venue's own best prices."""

import json
from pathlib import Path

import msgspec
import pytest

from nodes._lib.binance_feed import BestPrices, DepthSnapshot, DepthUpdate, parse_frame, read_frames
from nodes._lib.local_book import BookBuilder, NoBook

DATA = Path(__file__).parents[4] / "data"
EXCHANGES = Path(__file__).parents[5] / "shared/fixtures/exchanges"
SEQUENCES = [
    ("usdm", EXCHANGES / "binance_usdm/sequences/akrousdt"),
    ("usdm", EXCHANGES / "binance_usdm/sequences/sushiusdt"),
    ("spot", EXCHANGES / "binance_spot/sequences/nknusdt"),
    ("spot", EXCHANGES / "binance_spot/sequences/runeeur"),
]


def snapshot(last_id: int = 100) -> DepthSnapshot:
    return DepthSnapshot(last_id, [(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.0), (102.0, 2.0)])


def update(first: int, last: int, previous: int | None = None, bids=(), asks=()) -> DepthUpdate:
    return DepthUpdate(0, "ETHUSDT", first, last, list(bids), list(asks), previous)


def test_no_book_before_a_snapshot():
    book = BookBuilder("spot")
    assert not book.update(update(1, 2))
    with pytest.raises(NoBook, match="no snapshot yet"):
        book.levels(1)


def test_levels_change_appear_and_go():
    book = BookBuilder("spot")
    assert book.snapshot(snapshot())
    assert book.update(
        update(101, 101, bids=[(99.0, 0.0), (98.5, 3.0), (97.0, 0.0)], asks=[(101.0, 5.0), (100.5, 4.0)])
    )
    assert book.levels(5) == ([(98.5, 3.0), (98.0, 2.0)], [(100.5, 4.0), (101.0, 5.0), (102.0, 2.0)])
    assert book.levels(1) == ([(98.5, 3.0)], [(100.5, 4.0)])


def test_depth_counts_levels_within_a_distance_of_mid():
    book = BookBuilder("spot")
    book.snapshot(snapshot())
    assert book.depth(100.0) == (1.0, 1.0)  # 1 % around 100
    assert book.depth(200.0) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("venue", "good", "bad"),
    [
        ("spot", update(101, 105), update(102, 105)),
        ("spot", update(99, 101), update(103, 103)),
        ("usdm", update(99, 100, 98), update(101, 105, 100)),
        ("usdm", update(100, 105, 98), update(110, 115, 109)),
    ],
)
def test_first_update_must_reach_back_to_the_snapshot(venue, good, bad):
    book = BookBuilder(venue)
    book.snapshot(snapshot())
    assert book.update(good)
    book.snapshot(snapshot())
    assert not book.update(bad)
    assert book.gaps == 1
    with pytest.raises(NoBook, match="are lost"):
        book.levels(1)


def test_usdm_follows_previous_id_not_the_first():
    book = BookBuilder("usdm")
    book.snapshot(snapshot())
    assert book.update(update(95, 105, 90))
    assert book.update(update(120, 130, 105))  # ids between belong to other symbols
    assert not book.update(update(131, 140, 129))


def test_repeated_update_changes_nothing():
    for venue, one in (("spot", update(101, 105, bids=[(99.0, 7.0)])), ("usdm", update(99, 105, 98, [(99.0, 7.0)]))):
        book = BookBuilder(venue)
        book.snapshot(snapshot())
        assert book.update(one)
        assert book.update(one)
        assert book.gaps == 0
        assert book.levels(1)[0] == [(99.0, 7.0)]


def test_after_a_gap_a_new_snapshot_takes_in_what_was_kept():
    book = BookBuilder("spot")
    book.snapshot(snapshot())
    assert not book.update(update(110, 111, bids=[(99.0, 7.0)]))
    assert not book.update(update(112, 113, bids=[(98.0, 8.0)]))
    assert not book.snapshot(snapshot(105))
    assert "too old" in book.why_not
    assert not book.ready
    assert book.snapshot(snapshot(113))
    assert book.levels(2)[0] == [(99.0, 1.0), (98.0, 2.0)]


def test_kept_updates_are_applied_to_a_snapshot_that_falls_among_them():
    book = BookBuilder("spot")
    for number in (99, 100, 101, 102):
        book.update(update(number, number, bids=[(99.0, float(number))]))
    assert book.snapshot(snapshot(100))
    assert book.last_update_id == 102
    assert book.levels(1)[0] == [(99.0, 102.0)]


def test_crossed_or_one_sided_book_is_not_shown():
    book = BookBuilder("spot")
    book.snapshot(snapshot())
    book.update(update(101, 101, bids=[(101.0, 1.0)]))
    with pytest.raises(NoBook, match="no two-sided book"):
        book.levels(1)
    book.update(update(102, 102, bids=[(101.0, 0.0), (99.0, 0.0), (98.0, 0.0)]))
    with pytest.raises(NoBook, match="no two-sided book"):
        book.depth(5.0)


@pytest.mark.parametrize(("venue", "matches"), [("usdm", 471), ("spot", 577)])
def test_rebuilt_book_equals_the_venues_best_prices(venue, matches):
    """Wherever a depth update and a best-price frame carry the same id, price and size are the same."""
    book, best, seen = BookBuilder(venue), {}, 0
    for _, frame in read_frames(DATA / f"binance_{venue}_ethusdt_2024-08-08.txt.gz"):
        if isinstance(frame, BestPrices):
            best[frame.update_id] = frame
        elif isinstance(frame, DepthSnapshot):
            assert book.snapshot(frame)
        elif isinstance(frame, DepthUpdate) and book.update(frame) and frame.last_update_id in best:
            seen += 1
            expected = best[frame.last_update_id]
            assert book.levels(1) == (
                [(expected.bid_price, expected.bid_size)],
                [(expected.ask_price, expected.ask_size)],
            )
    assert (book.gaps, seen) == (0, matches)


def _replay(venue, folder, edit):
    """Feed a recorded sequence, changed as a case says; the snapshot comes when its time of receipt has come."""
    body = json.loads((folder / "snapshot.json").read_text())
    frames = [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]
    updates = [
        (number, float(frame["received_at"]), parse_frame(msgspec.json.encode(frame["message"])))
        for number, frame in enumerate(f for f in frames if "@depth" in f["message"]["stream"])
    ]
    updates = updates[edit.get("drop_first", 0) :]
    updates = [item for item in updates if item[0] not in edit.get("drop", [])]
    for number in edit.get("repeat_after", []):
        index = next(at for at, item in enumerate(updates) if item[0] == number)
        updates.insert(index + 1, updates[index])
    if "swap" in edit:
        one, two = edit["swap"]
        updates[one], updates[two] = updates[two], updates[one]
    book, gap_at = BookBuilder(venue), None
    taken = parse_frame(msgspec.json.encode(body["body"]))
    early = [item for item in updates if item[2].first_update_id <= taken.last_update_id or not book.last_update_id]
    early = [item for item in early if item[1] <= float(body["received_at"])] or early[:1]
    for _, _, frame in early:
        book.update(frame)
    if not book.snapshot(taken):
        return book, None, True
    for number, _, frame in updates[len(early) :]:
        if not book.update(frame):
            gap_at = number
            break
    return book, gap_at, False


@pytest.mark.parametrize(("venue", "folder"), SEQUENCES, ids=lambda value: getattr(value, "name", value))
def test_recorded_sequences_end_in_the_expected_book(venue, folder):
    if not folder.exists():
        pytest.skip("the recorded sequences are not beside this checkout")
    expected = json.loads((folder / "expected.json").read_text())
    book, gap_at, _ = _replay(venue, folder, {})
    assert gap_at is None
    assert book.last_update_id == expected["final"]["last_u"]
    for side, name in zip(book.levels(20), ("top_bids", "top_asks"), strict=True):
        assert side == [(float(price), float(size)) for price, size in expected["final"][name]]
    bids, asks = book.levels(100_000)
    assert (len(bids), len(asks)) == (expected["final"]["bid_levels"], expected["final"]["ask_levels"])
    for case in expected["cases"]:
        changed, gap_at, too_old = _replay(venue, folder, case["edit"])
        wanted = case["expect"]
        assert too_old == wanted.get("snapshot_too_old", False), case["name"]
        if "resync_at_event" in wanted:
            assert gap_at == wanted["resync_at_event"], case["name"]
            assert not changed.ready
        if wanted.get("same_final_book"):
            assert changed.levels(100_000) == (bids, asks)
