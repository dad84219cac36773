"""From when to when a file is replayed."""

from __future__ import annotations

import pytest

from nodes._lib.history import BadData, time_ns
from nodes._lib.replay_span import bounds_ns, last_replayed_ns

ROWS = "time,x\n2024-01-05 00:00:00,1\n2024-01-05 01:00:00,2\n2024-01-05 02:00:00,3\n"


def test_bounds_are_read_and_refused():
    assert bounds_ns("", "") == (0, None)
    assert bounds_ns("2024-01-05 00:00:00", "") == (1_704_412_800 * 10**9, None)
    with pytest.raises(ValueError, match="begin is '2024-01-05'"):
        bounds_ns("2024-01-05", "")
    with pytest.raises(ValueError, match="not after begin"):
        bounds_ns("2024-01-05 02:00:00", "2024-01-05 02:00:00")


@pytest.mark.parametrize(
    ("begin", "end", "repeat", "ends"),
    [
        ("", "", 1, "2024-01-05 02:00:00"),
        ("", "2024-01-05 01:30:00", 1, "2024-01-05 01:30:00"),
        ("", "2024-01-06 00:00:00", 1, "2024-01-05 02:00:00"),
        ("", "", 3, "2024-01-05 06:00:00"),
        ("2024-01-05 01:00:00", "", 3, "2024-01-05 04:00:00"),
    ],
)
def test_the_end_follows_from_the_rows_the_bounds_and_the_repeats(tmp_path, begin, end, repeat, ends):
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)
    assert last_replayed_ns([file], 0, begin, end, repeat) == time_ns(ends)


def test_a_file_without_rows_or_times_is_refused(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("time,x\n")
    with pytest.raises(BadData, match="no row"):
        last_replayed_ns([file], 0, "", "", 1)
    file.write_text("time,x\n1,2\n")
    with pytest.raises(BadData, match="no time"):
        last_replayed_ns([file], 0, "", "", 1)
