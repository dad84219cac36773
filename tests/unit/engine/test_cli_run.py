"""`pipeline backtest`, `record` and `replay` on a small graph that has nothing to do with markets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.packages import only_packages
from support.weather_station.models.smoother import Smoother

import engine.cli

TOPOLOGY = """
topology: station
params:
  limit: {type: float, default: 30, doc: Alarm above this.}
nodes:
  sensor: {use: sources.thermometer, params: {values: [20, 25, 31, 33, 20]}}
  smoother: {use: models.smoother, in: {reading: sensor.reading}, params: {weight: 1}}
  siren:
    use: models.siren
    params: {limit: "${limit}"}
    in: {reading: {from: smoother.smooth, on_stale: {after: 10s, action: warn}}}
  diary: {use: sinks.diary, in: {alarm: siren.alarm}, params: {path: "${run.dir}/diary.txt"}}
variants:
  deaf: {about: Nothing is ever too hot., set: {limit: 100}}
"""
FILE = "station.yaml"
OUT = Path("runs/station")


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / FILE).write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)
    with only_packages("support.weather_station"):
        yield


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(engine.cli.main, [str(word) for word in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


# --- backtest -----------------------------------------------------------------------------------------------------


def test_a_backtest_writes_its_run_folder_and_shows_the_report():
    lines = done("backtest", FILE).splitlines()
    assert lines[0] == "4 lines", "the page that a sink wants to be shown"
    assert any(line.startswith("5 rows and ") for line in lines)
    assert f"  {OUT}/diary.txt" in lines
    assert (OUT / "recordings" / "events.parquet").exists()
    mark = json.loads((OUT / "run.json").read_text())
    assert (mark["topology"], mark["seed"], mark["files"]) == ("station", 0, [str(Path(FILE).resolve())])


def test_variants_run_in_folders_of_their_own():
    done("backtest", FILE)
    assert "31.000" in (OUT / "diary.txt").read_text()
    assert "31.000" not in (OUT / "variants" / "deaf" / "diary.txt").read_text()
    done("backtest", FILE, "--no-variants")
    assert not (OUT / "variants").exists()


def test_json_is_all_that_is_printed():
    result = json.loads(done("backtest", FILE, "--json", "--no-record"))
    assert result["topology"] == "station"
    assert result["summary"]["rows"] == 5
    assert result["summary"]["sent"]["sensor.reading"] == 5
    assert result["variants"]["deaf"]["sent"]["siren.alarm"] < result["summary"]["sent"]["siren.alarm"]
    assert result["written"] == [f"{OUT}/diary.txt"]
    assert not (OUT / "recordings").exists()


def test_parameters_and_overlays_change_the_run():
    Path("cool.yaml").write_text("topology: station\nparams: {limit: 32}\n")
    done("backtest", FILE, "--set", "limit=100", "--no-variants")
    assert "31.000" not in (OUT / "diary.txt").read_text()
    Path("fast.yaml").write_text("nodes: {sensor: {params: {values: [50, 50]}}}\n")
    done("backtest", FILE, "-f", "fast.yaml", "--no-variants")
    assert "50.000" in (OUT / "diary.txt").read_text()


def test_the_seed_decides_chance():
    def smooth(seed: str) -> bytes:
        done("backtest", FILE, "--seed", seed, "--out", f"out{seed}", "--force", "--no-variants")
        return Path(f"out{seed}/recordings/events.parquet").read_bytes()

    assert smooth("1") != smooth("2")
    assert smooth("1") == smooth("1")


def test_the_default_folder_is_replaced_and_a_named_one_only_by_force():
    done("backtest", FILE)
    (OUT / "old").touch()
    done("backtest", FILE)
    assert not (OUT / "old").exists()
    done("backtest", FILE, "--out", "mine")
    Path("mine/old").touch()
    result = run("backtest", FILE, "--out", "mine")
    assert result.exit_code == 2
    assert "mine already holds a run; choose another --out, or replace it with --force" in result.output
    assert Path("mine/old").exists()
    done("backtest", FILE, "--out", "mine", "--force")
    assert not Path("mine/old").exists()


@pytest.mark.parametrize("command", [("backtest", FILE), ("record", FILE), ("replay", "mine")])
def test_a_folder_that_is_no_run_is_never_emptied(command: tuple[str, str]):
    done("backtest", FILE, "--out", "mine")
    Path("precious").mkdir()
    Path("precious/thesis.txt").touch()
    result = run(*command, "--out", "precious", "--force")
    assert result.exit_code == 2
    assert "precious is not empty and holds no run; choose another --out" in result.output
    assert Path("precious/thesis.txt").exists()


def test_an_empty_folder_is_taken():
    Path("empty").mkdir()
    done("backtest", FILE, "--out", "empty")
    assert Path("empty/diary.txt").exists()


def test_the_default_folder_too_is_only_replaced_when_it_holds_a_run():
    OUT.mkdir(parents=True)
    (OUT / "thesis.txt").touch()
    assert run("backtest", FILE).exit_code == 2
    assert (OUT / "thesis.txt").exists()


def test_a_broken_topology_ends_with_2_and_touches_nothing():
    done("backtest", FILE)
    Path(FILE).write_text(TOPOLOGY.replace("models.siren", "models.sirene"))
    result = run("backtest", FILE)
    assert result.exit_code == 2
    assert "error[unknown-type]" in result.output
    assert (OUT / "diary.txt").exists()
    assert run("backtest", "no.yaml").exit_code == 2
    assert run("backtest", FILE, "--set", "limits=3").exit_code == 2


def test_a_failing_node_ends_with_1_and_says_which(monkeypatch: pytest.MonkeyPatch):
    def fail(self: Smoother, reading: object) -> None:
        raise ValueError("the sun went out")

    monkeypatch.setattr(Smoother, "on_reading", fail)
    result = run("backtest", FILE)
    assert result.exit_code == 1
    assert "node 'smoother' failed in" in result.output
    assert "ValueError: the sun went out" in result.output
    assert "Traceback" not in result.output


def test_what_a_failed_run_recorded_can_be_replayed(monkeypatch: pytest.MonkeyPatch):
    heard = Smoother.on_reading

    def fail(self: Smoother, reading) -> None:
        if reading.celsius > 32:
            raise ValueError("too hot to think")
        heard(self, reading)

    monkeypatch.setattr(Smoother, "on_reading", fail)
    assert run("backtest", FILE, "--no-variants").exit_code == 1
    assert (OUT / "recordings" / "events.parquet").exists()
    monkeypatch.setattr(Smoother, "on_reading", heard)
    result = run("replay", OUT, "--node", "siren")
    assert result.exit_code == 0, result.output


def test_no_data_ends_with_1():
    Path(FILE).write_text(TOPOLOGY.replace("[20, 25, 31, 33, 20]", "[]"))
    result = run("backtest", FILE)
    assert result.exit_code == 1
    assert "no history has any data" in result.output


# --- record -------------------------------------------------------------------------------------------------------


def test_record_keeps_chosen_nodes_and_counts_their_rows():
    output = done("record", FILE, "--node", "siren", "--out", "rec")
    lines = output.splitlines()
    assert lines[0].split() == ["siren", "10", "received", "2", "sent"]
    assert lines[-1] == "  rec/recordings"
    assert not Path("rec/variants").exists()
    assert "siren" not in done("record", FILE, "--node", "diary", "--out", "rec", "--force")


def test_record_names_what_it_does_not_know():
    result = run("record", FILE, "--node", "sirene", "--out", "rec")
    assert result.exit_code == 2
    assert "no node sirene; the topology has" in result.output
    assert not Path("rec").exists()
    assert run("record", FILE).exit_code == 2, "--out is required"


# --- replay -------------------------------------------------------------------------------------------------------


def test_a_replay_repeats_the_run():
    done("backtest", FILE, "--seed", "3")
    output = done("replay", OUT)
    assert output.startswith("the same: ")
    assert "events of 4 nodes" in output
    assert (OUT / "replay" / "diary.txt").read_text() == (OUT / "diary.txt").read_text()
    assert done("replay", OUT).startswith("the same: "), "its own folder is replaced"


def test_a_replay_of_one_node_in_json():
    done("backtest", FILE)
    result = json.loads(done("replay", OUT, "--node", "siren", "--json"))
    assert (result["nodes"], result["inputs"], result["outputs"], result["differing"]) == (1, 10, 2, 0)
    wrong = run("replay", OUT, "--node", "sirene")
    assert wrong.exit_code == 2
    assert "no node sirene in the topology" in wrong.output


def test_a_replay_that_differs_ends_with_1_and_shows_both(monkeypatch: pytest.MonkeyPatch):
    done("backtest", FILE)
    heard = Smoother.on_reading

    def warmer(self: Smoother, reading) -> None:
        heard(self, type(reading)(reading.celsius + 1, reading.event_time_ns))

    monkeypatch.setattr(Smoother, "on_reading", warmer)
    result = run("replay", OUT)
    assert result.exit_code == 1
    assert "node 'smoother':" in result.output
    assert "  recorded smooth: " in result.output
    assert "  replayed smooth: " in result.output
    assert json.loads(run("replay", OUT, "--json").output)["differing"] == 5


def test_a_changed_topology_is_not_replayed():
    done("backtest", FILE)
    Path(FILE).write_text(TOPOLOGY.replace("weight: 1", "weight: 0.5"))
    result = run("replay", OUT)
    assert result.exit_code == 2
    assert "the topology has changed since" in result.output


def test_what_cannot_be_replayed_ends_with_2():
    assert run("replay", "nowhere").exit_code == 2
    Path("other").mkdir()
    result = run("replay", "other")
    assert result.exit_code == 2
    assert "other is not a run folder: it has no run.json" in result.output
    Path("other/run.json").write_text("{")
    assert "is damaged" in run("replay", "other").output
    done("backtest", FILE, "--no-record")
    result = run("replay", OUT)
    assert result.exit_code == 2
    assert "Was the run made with --no-record?" in result.output
