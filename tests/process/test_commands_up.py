"""`pipeline up` and the commands around it, with real processes: the weather station, on two of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result
from support.packages import only_packages

import engine.cli

CLI = str(Path(__file__).parents[1] / "support" / "station_cli.py")
RUN = Path("runs/station")
LONG = [20 + number % 15 for number in range(3_000)]
TOPOLOGY = """
topology: station
params:
  limit: {{type: float, default: 30, doc: Alarm above this.}}
nodes:
  sensor: {{use: sources.thermometer, params: {{values: {values}, step_s: {step_s}}}}}
  smoother: {{use: models.smoother, in: {{reading: sensor.reading}}, params: {{weight: 1}}}}
  siren:
    use: models.siren
    params: {{limit: "${{limit}}"}}
    in: {{reading: {{from: smoother.smooth, on_stale: {{after: 10s, action: warn}}}}}}
  diary: {{use: sinks.diary, in: {{alarm: siren.alarm}}, params: {{path: "${{run.dir}}/diary.txt"}}}}
processes:
  field: {{nodes: [sensor, smoother]}}
  house: {{nodes: [siren, diary]}}
"""


@pytest.fixture(autouse=True)
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "long.yaml").write_text(TOPOLOGY.format(values=LONG, step_s=0.1))
    (tmp_path / "short.yaml").write_text(TOPOLOGY.format(values=[20, 33, 20, 20, 20], step_s=0.5))
    monkeypatch.chdir(tmp_path)
    with TemporaryDirectory(prefix="run-") as private:
        monkeypatch.setenv("XDG_RUNTIME_DIR", private)
        yield
        pipeline("down", "--now")


def pipeline(*words: str) -> Result:
    """Run a command: `up` in a process of its own, the others here."""
    if words[0] != "up":
        with only_packages("support.weather_station"):
            return CliRunner().invoke(engine.cli.main, list(words))
    ended = subprocess.run([sys.executable, CLI, *words], capture_output=True, timeout=60, check=False)
    return Result(CliRunner(), ended.stdout, ended.stderr, ended.stdout + ended.stderr, None, ended.returncode, None)


def done(*words: str) -> str:
    result = pipeline(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def status() -> dict:
    return json.loads(done("ps", "--json"))[0]


def metrics() -> str:
    with urllib.request.urlopen((RUN / "metrics.url").read_text().strip(), timeout=5) as page:
        return page.read().decode()


def until(true: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} has not come about"
        time.sleep(0.05)


def test_a_run_ends_with_its_sources_and_prints_what_it_wrote():
    lines = done("up", "short.yaml", "--no-record").splitlines()
    assert lines[0].startswith("station-")
    assert "4 nodes in 2 processes, 1 s of recorded time in one, seed 0, in runs/station" in lines[0]
    assert lines[1].startswith("simulated: nothing")
    assert any(re.search(r"  house: ok \(pid \d+\)", line) for line in lines)
    assert any(re.match(r"\d+ lines$", line) for line in lines), "the page that a sink wants to be shown"
    assert re.search(r"^\d+ messages in \d+\.\d s, 0 restarts, 0 lost$", "\n".join(lines), re.MULTILINE)
    assert "  runs/station/diary.txt" in lines
    assert not [character for character in "".join(lines) if character == "\x1b"]
    assert " 33.00" in Path("runs/station/diary.txt").read_text()


def test_json_is_all_that_is_printed():
    result = json.loads(done("up", "short.yaml", "--json", "--seed", "7"))
    assert result["exit_code"] == 0
    assert result["sent"] >= 8
    assert str(RUN / "diary.txt") in result["written"]
    assert json.loads((RUN / "run.json").read_text())["seed"] == 7


def test_ctrl_c_ends_in_order_and_the_run_can_go_on():
    child = subprocess.Popen([sys.executable, CLI, "up", "long.yaml"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if "house: ok" in line:
            break
    until(lambda: status()["processes"]["field"]["state"] == "ok", "the field process")
    child.send_signal(signal.SIGINT)
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait(20) == 130
    assert "  runs/station/diary.txt" in rest, "sinks have put their work away"

    (RUN / "keepsake").touch()
    halt = {"reason": "a test", "at_ns": 1}
    kept = json.loads((RUN / "state.json").read_text())
    (RUN / "state.json").write_text(json.dumps({**kept, "halted": halt}))
    begun = done("up", "long.yaml", "--resume", "--wait")
    assert "goes on" in begun
    assert "halted: a test" in begun
    assert "pipeline rearm" in begun
    assert (RUN / "keepsake").exists()
    assert status()["processes"]["house"]["epoch"] == 2


def test_in_the_background_it_is_ready_when_it_says_so_and_answers_every_command():
    begun = json.loads(done("up", "long.yaml", "--wait", "--json"))
    shown = status()
    assert shown["pid"] == begun["pid"]
    assert {each["state"] for each in shown["processes"].values()} == {"ok"}

    top = json.loads(done("top", "--once", "--json"))
    assert top["nodes"]["sensor"]["sent_per_s"] > 0
    assert top["nodes"]["siren"]["events_per_s"] > 0
    message = json.loads(done("tap", "siren.reading", "--once", "--json", "--timeout", "10"))
    assert (message["port"], message["type"]) == ("smoother.smooth", "Reading")
    assert message["cause"].startswith("sensor.reading#")

    assert done("kill", "a test") == "halted: field, house\n"
    assert "runs/station: running, halted: a test" in done("ps")
    assert done("rearm") == "rearmed: field, house\n"

    pid = shown["processes"]["house"]["pid"]
    assert done("restart", "house") == "house: restarting\n"
    until(lambda: status()["processes"]["house"]["pid"] not in (None, pid), "another process")

    until((RUN / "metrics.url").exists, "the address of the metrics")
    until(lambda: 'pipeline_process_restarts_total{process="house"} 1.0' in metrics(), "the restart in the metrics")

    assert "no difference" in done("diff", "long.yaml", "--run")
    assert "nodes.siren.params.limit: 30.0 -> 25.0" in done("diff", "long.yaml", "--set", "limit=25", "--run")
    assert "the run is halted: a test" in done("logs", "supervisor", "--level", "critical")
    assert "has stopped after" in done("down")
    assert not Path(begun["folder"], "metrics.url").exists()
    assert "the run is over: in order" in done("logs"), "the logs of the last run"


def test_a_supervisor_that_is_killed_leaves_nobody_behind_and_its_folder_alone():
    done("up", "long.yaml", "-d")
    assert "is being run now" in pipeline("up", "long.yaml").stderr
    os.kill(status()["pid"], signal.SIGKILL)
    until(lambda: "no run is alive" in done("ps"), "the end of all processes")
    result = pipeline("up", "long.yaml")
    assert result.exit_code == 2
    assert "has not ended in order" in result.stderr
    done("up", "long.yaml", "--resume", "-d")


def test_a_run_that_cannot_start_says_why_also_from_the_background():
    Path("bad.yaml").write_text(TOPOLOGY.format(values=[20], step_s=1).replace("models.siren", "models.sirens"))
    result = pipeline("up", "bad.yaml", "-d")
    assert result.exit_code == 2
    assert "error[unknown-type]" in result.stderr
    assert not RUN.exists()

    Path("short.yaml").write_text(Path("short.yaml").read_text().replace("/diary.txt", "/no/folder/diary.txt"))
    result = pipeline("up", "short.yaml", "--no-record")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "process 'house'" in result.stderr
    assert f"pipeline logs --run {RUN}" in result.stderr
    assert json.loads((RUN / "run.json").read_text()).get("in_order") is None, "it had begun: what it did is kept"


def test_whoever_reads_the_lines_may_leave():
    child = subprocess.Popen([sys.executable, CLI, "up", "long.yaml"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for line in child.stdout:
        if b"house: ok" in line:
            break
    child.stdout.close()
    done("restart", "house")  # there is something to be told, and nobody to tell it to
    until(lambda: status()["processes"]["house"]["epoch"] == 2, "the second start")
    until(lambda: status()["processes"]["house"]["state"] == "ok", "the house process")
    done("down", "--now")
    assert child.wait(20) == 0
    assert json.loads((RUN / "run.json").read_text())["in_order"] is False, "not all was put away"
