"""Two machines, played by two runs on 127.0.0.1: the weather station's field and house, each with a supervisor."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zmq
from click.testing import CliRunner
from support.two_machines import free_port

import engine.cli
from engine.wire.keys import KeyFolder

CLI = str(Path(__file__).parents[1] / "support" / "station_cli.py")
TOPOLOGY = """
topology: station
run: {{keys: keys}}
nodes:
  sensor: {{use: sources.thermometer, params: {{values: {values}, step_s: 0.1}}}}
  smoother: {{use: models.smoother, in: {{reading: sensor.reading}}, params: {{weight: 1}}}}
  siren:
    use: models.siren
    params: {{limit: 30}}
    in: {{reading: {{from: smoother.smooth, on_stale: {{after: 10s, action: warn}}}}}}
  diary: {{use: sinks.diary, in: {{alarm: siren.alarm}}, params: {{path: "${{run.dir}}/diary.txt"}}}}
processes:
  outside: {{nodes: [sensor, smoother], machine: field, listen: "tcp://127.0.0.1:{field}"}}
  inside: {{nodes: [siren, diary], machine: house, listen: "tcp://127.0.0.1:{house}"}}
"""


@pytest.fixture(autouse=True)
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    found = {"field": free_port(), "house": free_port()}
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "station.yaml").write_text(TOPOLOGY.format(values=[20 + n % 15 for n in range(3_000)], **found))
    monkeypatch.chdir(tmp_path)
    with TemporaryDirectory(prefix="run-") as private:
        monkeypatch.setenv("XDG_RUNTIME_DIR", private)
        yield found
        for folder in Path("runs").glob("*"):
            CliRunner().invoke(engine.cli.main, ["down", str(folder), "--now"])


def begin(machine: str) -> subprocess.Popen[str]:
    words = [sys.executable, CLI, "up", "station.yaml", "--machine", machine, "--wait"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def keys(*words: str) -> Any:
    return CliRunner().invoke(engine.cli.main, ["keys", *words])


def up_on_both() -> list[str]:
    """Start both machines, and return what each has printed."""
    children = [begin("field"), begin("house")]
    said = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    return said


def status(machine: str) -> dict[str, Any]:
    result = CliRunner().invoke(engine.cli.main, ["top", f"runs/station@{machine}", "--once", "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def until(true: Any, what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} has not come about"
        time.sleep(0.1)


def test_each_machine_runs_its_part_and_a_stranger_is_counted(ports: dict[str, int]) -> None:
    for machine in ports:
        assert keys("init", "station.yaml", "--machine", machine).exit_code == 0
    field, house = up_on_both()
    assert "2 nodes in 1 processes on field" in field
    assert "2 nodes in 1 processes on house" in house
    assert list(status("field")["processes"]) == ["outside"]
    until(lambda: status("house")["nodes"]["siren"]["events"] > 10, "data from the field")

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.curve_publickey, push.curve_secretkey = zmq.curve_keypair()
    push.curve_serverkey = KeyFolder(Path("keys")).public("inside")
    push.connect(f"tcp://127.0.0.1:{ports['house']}")
    until(lambda: status("house")["processes"]["inside"].get("refused_peers"), "a refusal")
    context.destroy(0)
    before = status("house")["nodes"]["siren"]["events"]
    until(lambda: status("house")["nodes"]["siren"]["events"] > before, "more data")


def test_without_its_key_a_machine_does_not_start() -> None:
    assert keys("init", "station.yaml", "--machine", "field").exit_code == 0
    child = begin("field")
    said = child.communicate(timeout=60)[0]
    assert child.returncode == 2
    assert "inside.public is not there; copy it from the machine of 'inside'" in said


def test_a_machine_has_to_be_named_and_known() -> None:
    for words, text in (
        ([], "every process of 'station' names its machine; choose one with --machine: field, house"),
        (["--machine", "attic"], "topology 'station' has no process on machine 'attic'; it has: field, house"),
    ):
        command = [sys.executable, CLI, "up", "station.yaml", *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert text in ended.stderr
