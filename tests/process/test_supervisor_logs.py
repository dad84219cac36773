"""Logs: what a line looks like, how files turn, and what does not get into them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.process.control import Lines, Malformed, decode
from engine.process.log_file import LogFile, Rate
from engine.process.logs import JsonHandler, keep_crash, line, log_to_file, safe
from engine.topology.disguise import remember
from engine.topology.model import LogOptions

KEY = "0x" + "ab" * 32


def written(folder: Path) -> list[dict]:
    files = sorted(folder.glob("*.jsonl*"), key=lambda path: path.name, reverse=True)
    return [json.loads(text) for path in files for text in path.read_text().splitlines()]


def test_a_full_file_turns_and_only_so_many_are_kept(tmp_path):
    file = LogFile(tmp_path / "a.jsonl", size_bytes=100, keep=2)
    for number in range(100):
        file.write(b'{"n": %02d, "text": "0123456789"}\n' % number)
    file.close()
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    numbers = [row["n"] for row in written(tmp_path)]
    assert numbers == list(range(numbers[0], 100))
    assert all(path.stat().st_size <= 100 for path in tmp_path.glob("a*"))


def test_a_line_longer_than_a_file_gets_one_of_its_own(tmp_path):
    file = LogFile(tmp_path / "a.jsonl", size_bytes=100, keep=3)
    for text in (b"1\n", b"x" * 500 + b"\n", b"2\n"):
        file.write(text)
    file.close()
    assert [(tmp_path / name).read_bytes()[:1] for name in ("a.jsonl.2", "a.jsonl.1", "a.jsonl")] == [b"1", b"x", b"2"]


def test_several_processes_lose_no_line_while_the_file_turns(tmp_path):
    code = (
        "import sys; from pathlib import Path; from engine.process.log_file import LogFile\n"
        "file = LogFile(Path(sys.argv[1]), 5000, 1000)\n"
        'for number in range(500): file.write(b\'{"w": %s, "n": %d}\\n\' % (sys.argv[2].encode(), number))\n'
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.jsonl"), str(name)]) for name in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = [(row["w"], row["n"]) for row in written(tmp_path)]
    assert sorted(found) == [(writer, number) for writer in range(3) for number in range(500)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_that_cannot_be_written_is_counted_and_hurts_nobody(tmp_path):
    file = LogFile(Path("/dev/full"), 1000, 1)
    file.write(b"line\n")
    assert file.lost == 1
    file = LogFile(tmp_path / "missing" / "a.jsonl", 1000, 1)
    file.write(b"line\n")
    assert file.lost == 1


def test_a_rate_lets_a_burst_pass_and_then_so_many_a_second():
    rate = Rate(10.0)
    assert sum(rate.admit(5.0) for _ in range(30)) == 10
    assert rate.take_refused() == 20
    assert sum(rate.admit(5.5) for _ in range(30)) == 5
    assert sum(rate.admit(60.0) for _ in range(30)) == 10


def test_a_line_has_time_level_process_and_what_else_there_is():
    row = json.loads(line("info", "a", "text", 1.5, node=None, fields={"price": 1.5, "none": None}))
    assert row == {
        "time": "1970-01-01T00:00:01.500000Z",
        "level": "info",
        "process": "a",
        "message": "text",
        "fields": {"price": 1.5, "none": None},
    }
    assert json.loads(line("info", "a", "line\nend", 0.0, node="n"))["message"] == "line\nend"


def test_secrets_are_hidden_wherever_they_are():
    remember("open sesame")
    deep = {"list": [KEY, {"inside": "say open sesame"}], "tx_hash": KEY, "object": Path("/open sesame")}
    found = safe(deep, "")
    assert found == {
        "list": ["*" * 66, {"inside": "say ***"}],
        "tx_hash": KEY,
        "object": "/***",
    }
    assert "open sesame" not in json.dumps(safe({"order_id": "open sesame"}, ""))
    assert len(safe("x" * 10**6, "")) < 20_000


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield root
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_process_logs_to_its_file_alone(tmp_path, root_logger):
    handler = log_to_file(tmp_path, "a", LogOptions(level="info"), 1000.0)
    log = logging.getLogger("node.n")
    log.debug("too little")
    log.info("order %s refused", 7, extra={"node": "n", "limit": 3})
    log.info("two %s", extra={"node": "n"})
    log.info("wrong %d", "word")
    try:
        raise ValueError(f"key {KEY}")
    except ValueError:
        log.exception("failed")
    handler.close()
    rows = written(tmp_path / "logs")
    assert [row["message"] for row in rows[:2]] == ["order 7 refused", "two %s"]
    assert (rows[0]["node"], rows[0]["fields"]) == ("n", {"limit": 3})
    assert "cannot be filled in" in rows[2]["message"]
    assert "ValueError: key ****" in rows[3]["error"]
    assert KEY not in (tmp_path / "logs" / "a.jsonl").read_text()


def test_too_many_lines_are_counted_but_errors_get_through(tmp_path):
    handler = JsonHandler(LogFile(tmp_path / "a.jsonl", 1 << 20, 1), "a", lines_per_s=5.0)
    records = [logging.makeLogRecord({"msg": str(number), "levelno": 20, "levelname": "INFO"}) for number in range(50)]
    for record in records:
        handler.emit(record)
    handler.emit(logging.makeLogRecord({"msg": "bad", "levelno": 40, "levelname": "ERROR"}))
    handler.close()
    messages = [row["message"] for row in written(tmp_path)]
    assert messages[:5] == ["0", "1", "2", "3", "4"]
    assert messages[-2:] == ["46 lines were left out: this process logs too much", "bad"]


def test_only_the_last_crashes_are_kept(tmp_path):
    for epoch in range(5):
        path = keep_crash(tmp_path, "a", epoch, ValueError(f"{epoch} {KEY}"), keep=2)
        os.utime(path, ns=(epoch, epoch))
    assert sorted(path.name for path in (tmp_path / "crashes").iterdir()) == ["a-3.txt", "a-4.txt"]
    assert KEY not in (tmp_path / "crashes" / "a-4.txt").read_text()


# --- lines of the control connection ----------------------------------------------------------------------------------


def test_lines_are_cut_wherever_the_bytes_were():
    lines = Lines(20)
    assert [lines.feed(bytes([byte])) for byte in b"ab\nc\n"] == [[], [], [b"ab"], [], [b"c"]]
    assert lines.feed(b"1\n2\n3") == [b"1", b"2"]
    with pytest.raises(Malformed, match="more than 20 bytes"):
        lines.feed(b"x" * 21)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b"null", b"\xff", b"[" * 5_000])
def test_what_is_no_object_is_malformed(text):
    with pytest.raises(Malformed):
        decode(text)
