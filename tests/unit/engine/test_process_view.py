"""Tables, changes and the one line that say how a run does."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from support.fake_supervisor import process, status

from engine.cli.top import page, shares
from engine.process import view
from engine.process.view import Changes, Rates

WIRE = "sensor.reading -> siren.reading"


def rated(first: dict, second: dict, seconds: float = 2.0) -> Rates:
    rates = Rates()
    rates.update(first, 10.0)
    rates.update(second, 10.0 + seconds)
    return rates


def column(table: view.Table, name: str) -> list[str]:
    index = table.columns.index(name)
    return [row[index].text for row in table.rows]


def test_rates_need_two_looks_and_a_counter_that_grows():
    first, second = status(), status()
    second["nodes"]["sensor"]["sent"] = 150
    second["nodes"]["siren"]["events"] = 3
    rates = rated(first, second)
    assert rates.of("nodes", "sensor", "sent") == 25.0
    assert rates.of("nodes", "siren", "events") is None, "it has been restarted"
    assert rates.of("nodes", "nobody", "sent") is None
    assert Rates().of("nodes", "sensor", "sent") is None


def test_trouble_comes_first():
    found = status(processes={"a": process(cpu=0.1), "b": process(cpu=0.9), "c": process("fatal", error="exit code 1")})
    table = view.processes(found)
    assert column(table, "process") == ["c", "b", "a"]
    assert table.rows[0][-1] == view.Cell("exit code 1", "bad")
    wires = {"a.x -> b.y": {"lost": 0, "dropped": 0}, "c.x -> d.y": {"lost": 2, "dropped": 0}}
    table = view.wires(status(wires=wires), Rates())
    assert column(table, "wire") == ["c.x -> d.y", "a.x -> b.y"]
    assert table.rows[0][table.columns.index("lost")] == view.Cell("2", "bad")


def test_a_process_that_waits_for_a_slow_reader_shows_it():
    table = view.processes(status(processes={"a": process(paused=True), "b": process()}))
    assert table.rows[0][1] == view.Cell("ok, paused", "warn")
    assert table.rows[1][1] == view.Cell("ok", "good")


def test_what_is_not_known_is_no_zero():
    table = view.processes(status(processes={"a": {"state": "starting", "pid": None, "cpu": None}}))
    assert {cell.text for cell in table.rows[0][2:-1]} == {"-"}
    quiet = {"latency_s": {"count": 0, "sum": 0.0, "p50": 0.0, "p99": 0.0}}
    assert column(view.wires(status(wires={"a.x -> b.y": quiet}), Rates()), "p99") == ["-"]


def test_the_headline_says_it_all():
    second = status()
    second["nodes"]["siren"]["events"] = 290
    line = view.headline(second, rated(status(), second))
    assert line == (f"2/2 processes ok, 100 events/s, 0 dropped or lost, 128 MiB, slowest wire 3.1 ms (p99, {WIRE})")
    second["run"]["halted"] = "a test"
    assert view.headline(second, Rates()).startswith("HALTED: a test, 2/2 processes ok")


def test_changes_are_told_once():
    changes = Changes()
    assert [text for text, _ in changes.update(status())] == ["field: ok (pid 4242)", "house: ok (pid 4243)"]
    assert list(changes.update(status())) == []
    broken = status(processes={"field": process("recoverable", pid=None, error="exit code 1"), "house": process()})
    broken["run"]["halted"] = "a test"
    broken["wires"][WIRE]["lost"] = 3
    assert list(changes.update(broken)) == [
        ("field: recoverable (exit code 1)", "warn"),
        ("halted: a test", "bad"),
        (f"{WIRE}: 3 messages were lost (3 in all)", "bad"),
    ]
    back = status(processes={"field": process(epoch=2), "house": process()})
    back["wires"][WIRE]["lost"] = 3
    assert list(changes.update(back)) == [("field: ok (pid 4242, start 2)", "good"), ("rearmed", "good")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0000012, "1 µs"), (0.0123, "12.3 ms"), (4.25, "4.2 s"), (192, "3m12s"), (7_500, "2h05m"), (273_600, "3d04h")],
)
def test_times_are_as_people_say_them(seconds, text):
    assert view.short_time(seconds) == text


def test_sizes_are_as_people_say_them():
    assert [view.size(count) for count in (None, 12, 2_048, 64 << 20, 3 << 30)] == [
        "-",
        "12 B",
        "2.0 KiB",
        "64 MiB",
        "3.0 GiB",
    ]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("height", [24, 50])
def test_a_page_fits_the_terminal_and_cuts_no_number(width, height):
    wires = {f"a_long_node_name.port{number} -> b.y": status()["wires"][WIRE] for number in range(40)}
    nodes = {f"node{number}": status()["nodes"]["siren"] for number in range(40)}
    found = status(wires=wires, nodes=nodes)
    screen = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    screen.print(page(found, rated(found, found), width, height))
    lines = screen.file.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "more" in "\n".join(lines)
    assert "3.1 ms" in "\n".join(lines)
    if width == 160:
        assert "superseded" in "\n".join(lines)


def test_lines_are_shared_out():
    assert shares([2, 3, 1], 50) == [2, 3, 1]
    assert sum(shares([30, 30, 30], 45)) <= 45 - 3 * 4
    assert shares([2, 40], 28) == [2, 18]


def test_a_process_that_is_no_longer_recorded_is_told_once():
    changes = Changes()
    lost = status(processes={"a": process(recording={"rows": 3, "stopped": "the disk is full"})})
    list(changes.update(status(processes={"a": process(recording={"rows": 3, "stopped": None})})))
    assert list(changes.update(lost)) == [("a: no longer recorded: the disk is full", "bad")]
    assert list(changes.update(lost)) == []


def test_a_process_that_has_not_been_started_is_no_news():
    changes = Changes()
    assert list(changes.update(status(processes={"a": process("waiting", pid=None)}))) == []
    assert [text for text, _ in changes.update(status(processes={"a": process("starting", pid=7)}))] == [
        "a: starting (pid 7)"
    ]
