"""The watch over memory, processors and disk; and the order in which processes start."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.zoo import run_of

from engine.errors import Place
from engine.process import limits, upkeep
from engine.process.lifecycle import has_sources, start_order
from engine.process.settings import Settings
from engine.process.watch import Disk, ProcessWatch, Room, look_at_disk, prune, size_of
from engine.topology.model import Origin, Policy, RunOptions
from engine.topology.plan import PlannedWire

HERE = Origin(Place("x", 1, 1))
MIB = 1 << 20


def test_a_process_is_judged_by_what_it_has_beyond_its_zygote():
    watch = ProcessWatch(Settings(memory_looks=2))
    me = os.getpid()
    assert watch.look("a", me, 1, 1.0) is None
    assert "its limit is 0 MiB" in watch.look("a", me, 1, 2.0)
    watch = ProcessWatch(Settings(memory_looks=1), base_bytes=1 << 40)
    assert watch.look("a", me, 1, 1.0) is None
    assert watch.uses["a"].last.rss_bytes > MIB


def test_readings_tell_processor_time_and_files():
    before = limits.read(os.getpid(), 1.0)
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass
    with open("/dev/null") as _:
        after = limits.read(os.getpid(), 1.4)
    assert after.fds == before.fds + 1
    assert 0.4 < limits.cpu_share(before, after) < 1.5
    assert limits.cpu_share(before, before) == 0.0


def test_a_process_that_is_gone_has_no_reading():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    watch = ProcessWatch(Settings())
    assert limits.read(gone.pid, 0.0) is None
    assert watch.look("a", gone.pid, 1, 0.0) is None


def test_limits_hold_in_a_child():
    code = (
        "import resource; from engine.process.limits import apply; apply(100, 64 << 20)\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 100)\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "small = bytearray(20 << 20)\n"
        "try: bytearray(80 << 20)\n"
        "except MemoryError: print('limited')\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "limited"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 100


def test_libraries_are_kept_at_one_thread(monkeypatch):
    for name in limits.ONE_THREAD:
        monkeypatch.setenv(name, "8")
    limits.pin_threads()
    assert {os.environ[name] for name in limits.ONE_THREAD} == {"1"}


@pytest.mark.parametrize(
    ("free", "room"), [(1000, Room.ENOUGH), (400, Room.ENOUGH), (399, Room.LOW), (100, Room.LOW), (99, Room.NONE)]
)
def test_little_room_stops_recordings_and_less_halts(tmp_path, free, room):
    found = look_at_disk(tmp_path, Settings(free_disk_bytes=400 * MIB), lambda folder: free * MIB)
    assert found.room is room
    assert (found.reason == "") == (room is Room.ENOUGH)


def test_a_folder_that_has_grown_beyond_its_limit_stops_recordings(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 3 * MIB)
    (tmp_path / "link").symlink_to("/usr")
    plenty = {"free_disk_bytes": MIB}
    assert 3 * MIB <= size_of(tmp_path) < 4 * MIB
    assert look_at_disk(tmp_path, Settings(disk_bytes=2 * MIB, **plenty)).room is Room.LOW
    assert look_at_disk(tmp_path, Settings(disk_bytes=4 * MIB, **plenty)).room is Room.ENOUGH


def test_the_oldest_runs_lose_recordings_and_logs_but_never_state_or_ledger(tmp_path):
    for age, name in enumerate(("oldest", "older", "newest")):
        for file in ("recordings/a/rows", "logs/a.jsonl", "crashes/a.txt", "ledger.sqlite"):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * MIB)
        state = tmp_path / name / "state.json"
        state.touch()
        os.utime(state, (1000 + age, 1000 + age))
    (tmp_path / "no_run").mkdir()
    (tmp_path / "no_run" / "recordings").mkdir()
    assert prune(tmp_path, tmp_path / "newest", 100 * MIB) == []
    assert {path.relative_to(tmp_path) for path in prune(tmp_path, tmp_path / "newest", 9 * MIB + 200_000)} == {
        Path("oldest/recordings"),
        Path("oldest/logs"),
        Path("oldest/crashes"),
    }
    prune(tmp_path, tmp_path / "newest", 1)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [path for path in kept if not path.startswith("newest")] == [
        "older/ledger.sqlite",
        "older/state.json",
        "oldest/ledger.sqlite",
        "oldest/state.json",
    ]
    assert len([path for path in kept if path.startswith("newest")]) == 5
    assert (tmp_path / "no_run" / "recordings").exists()


def test_settings_come_from_the_topology():
    options = RunOptions(free_disk_bytes=7, disk_bytes=8, keep_runs_bytes=9)
    found = Settings.of(options)
    assert (found.free_disk_bytes, found.disk_bytes, found.keep_runs_bytes, found.log) == (7, 8, 9, options.log)


def planned(*wires: str, processes: str):
    """Return a plan: `a>b` is a wire, `a~b` one that closes a loop; each letter is a node in a process of its name."""
    import dataclasses

    plan = run_of({"folder": "x", "processes": {name: ["calm", {}] for name in processes}}).plan
    made = [PlannedWire((wire[0], "x"), (wire[2], "y"), Policy(), wire[1] == "~") for wire in wires]
    return dataclasses.replace(plan, wires=tuple(made))


@pytest.mark.parametrize(
    ("processes", "wires", "order"),
    [
        ("abc", (), "abc"),
        ("abc", ("a>b", "b>c"), "cba"),
        ("abcd", ("a>c", "b>c", "c>d", "d~a"), "dcab"),
        ("abcd", ("a>b", "b>c", "c>b", "c>d"), "dbca"),
    ],
)
def test_readers_start_before_writers(processes, wires, order):
    assert start_order(planned(*wires, processes=processes)) == list(order)


def test_a_process_has_sources_when_one_of_its_nodes_is_one():
    plan = run_of({"folder": "x", "processes": {"a": ["calm", {}], "b": ["source", {}]}}).plan
    assert [has_sources(plan, name) for name in "ab"] == [False, True]


class Watched:
    """As much of a supervisor as its upkeep needs."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.run = run_of({"folder": str(folder), "processes": {}})
        self.settings = Settings(**settings)
        self.fleet = SimpleNamespace(members={})
        self.file = SimpleNamespace(state=SimpleNamespace(pace=None))
        self.on_status = None
        self.notes: list[tuple[str, str]] = []

    def note(self, level: str, message: str) -> None:
        self.notes.append((level, message))


def test_a_slow_disk_does_not_hold_up_the_supervisor(tmp_path, monkeypatch):
    """Looks at the disk, and the removal of old recordings, are made beside the loop, one at a time."""
    looks = []

    def slow(*arguments: object) -> Disk:
        looks.append(arguments)
        time.sleep(0.2)
        raise PermissionError("not yours")

    monkeypatch.setattr(upkeep, "look_at_disk", slow)
    monkeypatch.setattr(upkeep, "prune", slow)
    watched = Watched(tmp_path, keep_runs_bytes=1)

    async def scene() -> float:
        kept = upkeep.Upkeep(watched)
        began = time.monotonic()
        kept.tick(100.0)
        kept.tick(200.0)
        took_s = time.monotonic() - began
        while len(watched.notes) < 2:
            await asyncio.sleep(0.01)
        return took_s

    assert asyncio.run(scene()) < 0.1
    assert len(looks) == 2
    assert {level for level, _ in watched.notes} == {"error"}
    assert all("not yours" in message for _, message in watched.notes)
