"""Logs of several processes, merged by time, read and followed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import engine.cli
from engine.cli.logs import moment
from engine.errors import ExitCode, UsageError
from engine.process.log_file import LogFile
from engine.process.log_reader import Follower, Wanted, read_logs
from engine.process.logs import line, log_path

RUN = Path("runs/station")
NOON_S = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log_path(RUN, "x").parent.mkdir(parents=True)
    (RUN / "supervisor.lock").touch()
    write("field", line("info", "field", "one", NOON_S), line("warning", "field", "three", NOON_S + 2, node="sensor"))
    write(
        "house",
        line("info", "house", "two", NOON_S + 1),
        line("error", "house", "four", NOON_S + 3, error="Trace\n at"),
    )


def write(process: str, *lines: bytes, size_bytes: int = 1 << 20) -> None:
    log = LogFile(log_path(RUN, process), size_bytes, keep=3)
    for text in lines:
        log.write(text)
    log.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(engine.cli.main, ["logs", *words])


def messages(*words: str) -> list[str]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(text)["message"] for text in result.stdout.splitlines()]


def test_lines_come_in_order_of_time_with_who_says_them():
    assert run().stdout.splitlines() == [
        "-- 2026-11-24 UTC",
        "12:00:00.000  field  one",
        "12:00:01.000  house  two",
        "12:00:02.000  field  warning: [sensor] three",
        "12:00:03.000  house  error: four",
        "              Trace",
        "               at",
    ]


def test_lines_can_be_chosen():
    assert messages("house") == ["two", "four"]
    assert messages("--level", "warning") == ["three", "four"]
    assert messages("--since", "2026-11-24T12:00:01.5") == ["three", "four"]
    assert messages("-n", "1") == ["four"]
    assert messages("house", "--level", "error", "-n", "5") == ["four"]
    result = run("huose")
    assert result.exit_code == ExitCode.USAGE
    assert "did you mean 'house'?" in result.stderr


def test_a_moment_is_a_time_or_how_long_ago_it_was():
    assert moment("2026-11-24T13:00+01:00") == "2026-11-24T12:00:00.000000Z"
    ago = datetime.now(UTC) - datetime.fromisoformat(moment("10m"))
    assert abs(ago - timedelta(minutes=10)) < timedelta(seconds=5)
    for text in ("yesterday", "10 parsecs", "1e400d"):
        with pytest.raises(UsageError, match="is no time"):
            moment(text)


def test_rotated_files_are_read_from_the_oldest_on():
    texts = [line("info", "field", f"{number:04}", NOON_S + 10 + number) for number in range(12)]
    write("field", *texts, size_bytes=4 * len(texts[0]))
    assert len(list((RUN / "logs").glob("field.jsonl.*"))) > 1
    assert messages("field", "-n", "12") == [f"{number:04}" for number in range(12)]


def test_a_damaged_line_is_shown_and_cannot_steer_the_terminal():
    with log_path(RUN, "field").open("ab") as file:
        file.write(b'{"time": "2026-11-24T12:00:0\n' + line("info", "field", "a\x1b[2Jb", NOON_S + 5) + b'{"half')
    shown = run("field").stdout
    assert 'warning: {"time": "2026-11-24T12:00:0' in shown
    assert "a\\x1b[2Jb" in shown
    assert "half" not in shown, "it is still being written"
    assert "\x1b" not in shown


def test_following_gives_what_is_new_over_rotations_and_new_files():
    follower = Follower(RUN, Wanted(level="info"))
    assert follower.poll() == []
    write("attic", line("info", "attic", "six", NOON_S + 6))
    texts = [line("info", "field", f"{number:04}", NOON_S + 10 + number) for number in range(3)]
    write("field", texts[0], line("debug", "field", "unwanted", NOON_S + 10))
    assert [found["message"] for found in follower.poll()] == ["six", "0000"]
    write("field", *texts[1:], size_bytes=len(texts[0]) + 10)
    assert follower.poll()[-1]["message"] == "0002", (
        "of files that were rotated away between two looks some may be missed"
    )
    with log_path(RUN, "house").open("ab") as file:
        whole = line("info", "house", "seven", NOON_S + 7)
        file.write(whole[:20])
        file.flush()
        assert follower.poll() == []
        file.write(whole[20:])
    assert [found["message"] for found in follower.poll()] == ["seven"]
    follower.close()


def test_following_an_ended_run_ends():
    assert messages("-f") == ["one", "two", "three", "four"]


def test_a_run_without_logs_says_so(tmp_path):
    (tmp_path / "runs/other").mkdir()
    (tmp_path / "runs/other/run.json").write_text("{}")
    result = run("--run", "other")
    assert result.exit_code == ExitCode.USAGE
    assert "has no logs" in result.stderr
    assert list(read_logs(tmp_path / "runs/other", Wanted())) == []
