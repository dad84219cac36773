"""Which folder a run gets, and what is refused so that nothing is lost which somebody may need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.packages import only_packages

from engine.errors import UsageError
from engine.process.places import LOCK, claim
from engine.process.prepare import Asked, as_written, ended, flat_of, prepare
from engine.process.state import FILE, Halted, StateFile
from engine.run.folder import MARK
from engine.topology.flat import differences, flatten
from engine.topology.load import load_topology

RUN = Path("runs/station")
TOPOLOGY = """
topology: station
params:
  limit: {type: float, default: 30, doc: Alarm above this.}
nodes:
  sensor: {use: sources.thermometer, params: {values: [20, 31]}}
  siren:
    use: models.siren
    params: {limit: "${limit}"}
    in: {reading: {from: sensor.reading, on_stale: {after: 9s, action: warn}}}
  diary: {use: sinks.diary, in: {alarm: siren.alarm}}
"""


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "station.yaml").write_text(TOPOLOGY)
    (tmp_path / "other.yaml").write_text(TOPOLOGY.replace("topology: station", "topology: other"))
    monkeypatch.chdir(tmp_path)
    with TemporaryDirectory(prefix="run-") as private, only_packages("support.weather_station"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", private)
        yield


def asked(file: str = "station.yaml", sets: tuple[str, ...] = (), **how: Any) -> Asked:
    return Asked([Path(file)], list(sets), **how)


def lived(**how: Any) -> None:
    """Leave a run behind as a supervisor does, with something that nobody may lose."""
    run = prepare(asked(force=True))
    state = StateFile(RUN)
    state.state.id = run.id
    state.state.halted = how.get("halted")
    state.save()
    (RUN / "keepsake").touch()
    if how.get("in_order", True):
        ended(run, in_order=True)


def refused(**how: Any) -> str:
    """Return why it is refused, and see that nothing has been touched."""
    before = sorted(RUN.rglob("*"))
    with pytest.raises(UsageError) as error:
        prepare(asked(**how))
    assert sorted(RUN.rglob("*")) == before
    return str(error.value)


def test_what_was_not_asked_for_comes_from_the_topology():
    run = prepare(asked())
    assert (run.folder, run.seed, run.speed, run.record, run.port_offset) == (RUN, 0, 1.0, True, 0)
    assert list(run.plan.topology.processes) == ["main"], "nodes that nobody has placed live in one process"
    made = json.loads((RUN / MARK).read_text())
    assert made["id"] == run.id
    assert made["speed"] == 1.0


def test_a_run_that_has_ended_in_order_is_replaced():
    lived()
    prepare(asked())
    assert not (RUN / "keepsake").exists()
    assert {path.name for path in RUN.iterdir()} == {MARK, "topology.json", LOCK}


def test_a_run_that_has_not_ended_in_order_is_kept():
    lived(in_order=False)
    assert "has not ended in order; go on with it (--resume)" in refused()
    prepare(asked(force=True))
    assert not (RUN / "keepsake").exists()


def test_a_run_that_was_halted_is_kept():
    lived(halted=Halted("the wires burn", 7))
    assert "was halted: the wires burn; go on with it (--resume)" in refused()


def test_a_run_of_something_else_is_kept():
    lived()
    assert "holds a run of 'station'" in refused(file="other.yaml", out=RUN, resume=True)
    Path("runs/other").symlink_to(RUN.resolve())
    assert "holds a run of 'station'" in refused(file="other.yaml")


def test_a_run_in_a_folder_that_was_named_is_kept():
    lived()
    assert "already holds a run; choose another --out, go on with it (--resume)" in refused(out=RUN)


def test_a_backtest_is_replaced_and_cannot_be_resumed():
    lived(in_order=False)
    (RUN / FILE).unlink()
    assert "was not made by `pipeline up`" in refused(resume=True)
    prepare(asked())
    assert not (RUN / "keepsake").exists()


def test_a_run_that_is_alive_is_never_touched():
    lived()
    held = claim(RUN)
    try:
        for how in ({}, {"force": True}, {"resume": True}, {"resume": True, "force": True}, {"out": RUN}):
            assert "is being run now; `pipeline down runs/station` ends it" in refused(**how)
    finally:
        held.release()


def test_a_folder_of_something_else_is_never_touched():
    Path("mine").mkdir()
    Path("mine/letter").touch()
    with pytest.raises(UsageError, match="mine is not empty and holds no run"):
        prepare(asked(out=Path("mine"), force=True))
    assert [path.name for path in Path("mine").iterdir()] == ["letter"]
    with pytest.raises(UsageError, match="mine is not a run folder"):
        prepare(asked(out=Path("mine"), resume=True))


def test_a_resumed_run_goes_on_as_it_was_asked_for():
    first = prepare(asked(seed=7, speed=60.0, record=False, port_offset=100))
    lived_in = StateFile(RUN)
    lived_in.save()
    again = prepare(asked(resume=True))
    assert (again.id, again.seed, again.speed, again.record, again.port_offset) == (first.id, 7, 60.0, False, 100)
    assert prepare(asked(resume=True, speed=2.0)).speed == 2.0
    assert "in_order" not in json.loads((RUN / MARK).read_text())


def test_a_changed_topology_is_resumed_only_when_that_is_meant():
    lived(in_order=False)
    why = refused(sets=("limit=31",), resume=True)
    assert "has changed since runs/station was run: `pipeline diff station.yaml --run runs/station` shows how" in why
    prepare(asked(sets=("limit=31",), resume=True, force=True))
    assert (RUN / "keepsake").exists()


def test_what_a_run_was_begun_with_can_be_compared():
    prepare(asked())
    assert not differences(flat_of(RUN), as_written(flatten(load_topology([Path("station.yaml")], []))))
    changed = as_written(flatten(load_topology([Path("station.yaml")], ["limit=31"])))
    assert [str(found) for found in differences(flat_of(RUN), changed)] == ["~ nodes.siren.params.limit: 30.0 -> 31.0"]
    (RUN / "topology.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        flat_of(RUN)
