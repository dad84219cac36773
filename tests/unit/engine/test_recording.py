"""Recordings in segments: whatever was flushed is readable, at any time and after any death."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.halves import Station

from engine.run import recording
from engine.run.recording import BATCH_ROWS, Recorder
from engine.run.segment import RecordingFailed, Row, Segment, read_recording, segments


def row(number: int) -> Row:
    return Row(number, "in", "a", "b", "c.d", number, 1, "", 0, b"x" * 100)


def numbers(folder: Path) -> list[int]:
    return [each.number for each in read_recording(folder)]


def test_what_was_flushed_is_readable_at_any_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trade", 1)
    for number in range(BATCH_ROWS + 700):
        recorder.add(row(number))
        if number % 7 == 6:
            recorder.flush()
        if number % 333 == 0:
            assert numbers(tmp_path) == list(range((number + 1) // 7 * 7))
    assert recorder.rows == BATCH_ROWS + 700
    assert not segments(tmp_path)[0].closed
    recorder.close()
    assert numbers(tmp_path) == list(range(BATCH_ROWS + 700))
    assert [path.name for path in (tmp_path / "trade").iterdir()] == ["events.1.parquet"]
    assert segments(tmp_path)[0].closed


@pytest.mark.parametrize("ending", [".arrow", ".tail"])
def test_files_cut_anywhere_are_read_up_to_their_last_whole_piece(tmp_path: Path, ending: str) -> None:
    recorder = Recorder(tmp_path, 1)
    for number in range(3 * BATCH_ROWS + 40):
        recorder.add(row(number))
        if number % 10 == 9:
            recorder.flush()
    path = tmp_path / f"events.1{ending}"
    whole = path.read_bytes()
    counts = set()
    for cut in range(0, len(whole) + 1, max(1, len(whole) // 97)):
        path.write_bytes(whole[:cut])
        found = numbers(tmp_path)
        assert found == list(range(len(found)))
        counts.add(len(found))
    assert len(counts) > 2


def test_rows_that_move_to_the_stream_meanwhile_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, 1)
    for number in range(BATCH_ROWS - 1):
        recorder.add(row(number))
    recorder.flush()
    read_tail = Segment._tail

    def read_then_write(segment: Segment):
        found = read_tail(segment)
        recorder.add(row(BATCH_ROWS - 1))
        recorder.flush()
        return found

    monkeypatch.setattr(Segment, "_tail", read_then_write)
    assert numbers(tmp_path) == list(range(BATCH_ROWS))


def test_a_segment_without_rows_is_empty(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    assert numbers(tmp_path) == []
    recorder.close()
    assert numbers(tmp_path) == []


def test_a_start_is_recorded_once(tmp_path: Path) -> None:
    Recorder(tmp_path, 1).abandon()
    with pytest.raises(RecordingFailed, match="start 1 of the process is recorded in"):
        Recorder(tmp_path, 1)
    Recorder(tmp_path, 2).close()
    with pytest.raises(RecordingFailed, match="start 2 of the process is recorded in"):
        Recorder(tmp_path, 2)


def test_a_full_disk_is_an_error_and_leaves_whole_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, 1)
    recorder.add(row(0))
    recorder.flush()
    write = os.write
    room = 50

    def short(file: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[:room])
        room -= written
        return written

    monkeypatch.setattr(recording.os, "write", short)
    recorder.add(row(1))
    with pytest.raises(RecordingFailed, match=r"events\.1\.tail cannot be written: No space left on device"):
        recorder.flush()
    assert numbers(tmp_path) == [0]
    room = 10_000
    recorder.flush()
    assert numbers(tmp_path) == [0, 1]


def test_a_recorder_that_is_told_to_stop_says_so_and_takes_no_more(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    for number in range(10):
        recorder.add(row(number))
        recorder.flush()
    recorder.stop("the disk is nearly full", 77)
    for number in range(10, BATCH_ROWS * 3):
        recorder.add(row(number))
        recorder.flush_full()
    assert recorder.stopped == "the disk is nearly full"
    recorder.stop("again", 78)
    recorder.close()
    rows = list(read_recording(tmp_path))
    assert [each.number for each in rows[:-1]] == list(range(10))
    assert rows[-1].kind == "stopped"
    assert (rows[-1].time_ns, rows[-1].payload) == (77, b"the disk is nearly full")


def test_a_recorder_that_cannot_even_say_so_leaves_a_recording_that_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, 1)
    recorder.add(row(0))
    recorder.flush()

    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(recording.os, "write", full)
        recorder.stop("the disk is nearly full", 1)
    assert "nearly full" in recorder.stopped
    recorder.close()
    assert numbers(tmp_path) == [0]
    assert not segments(tmp_path)[0].closed


def test_a_recorder_that_may_not_fail_ends_the_recording_and_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[RecordingFailed] = []
    recorder = Recorder(tmp_path, 1, told.append)
    recorder.add(row(0))
    recorder.flush()

    def broken(file: int, data: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(recording.os, "write", broken)
        patch.setattr(recording.os, "ftruncate", broken)
        for number in range(1, 3 * BATCH_ROWS):
            recorder.add(row(number))
            recorder.flush_full()
    assert [str(error) for error in told] == [recorder.stopped]
    assert "Input/output error" in recorder.stopped
    assert recorder.rows == 0, "of which none is in a whole batch"
    recorder.close()
    assert numbers(tmp_path) == [0]


def test_what_is_long_is_closed_without_being_converted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 1)
    for number in range(BATCH_ROWS + 3):
        recorder.add(row(number))
        recorder.flush_full()
    recorder.flush()
    assert not segments(tmp_path)[0].closed
    assert recorder.close(most_bytes=1_000) == tmp_path / "events.1.arrow"
    assert numbers(tmp_path) == list(range(BATCH_ROWS + 3))
    assert segments(tmp_path)[0].closed, "although it is a stream"


def test_rows_name_the_start_of_their_writer(tmp_path: Path) -> None:
    station = Station(tmp_path)
    station.read(1, 31.0)
    station.crash("field")
    station.read(2, 31.0)
    station.close()
    assert [str(each) for each in segments(tmp_path / "recordings")] == [
        "field, start 1",
        "field, start 2",
        "house, start 1",
    ]
    house = [each for each in segments(tmp_path / "recordings")[2].rows() if each.kind == "in" and each.node == "siren"]
    assert [(each.writer, each.number, each.epoch) for each in house] == [
        ("smoother.smooth", 1, 1),
        ("smoother.smooth", 2, 2),
    ]
    second = list(segments(tmp_path / "recordings")[1].rows())
    assert [each.kind for each in second[:2]] == ["state", "state"]
    assert {each.epoch for each in second if each.kind == "out"} == {2}
