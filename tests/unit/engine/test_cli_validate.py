"""`pipeline validate`, `config` and `diff` on files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support.packages import only_packages

import engine.cli

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(autouse=True)
def sample_nodes():
    with only_packages("support.sample_nodes"):
        yield


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A project folder with a greenhouse, as the current folder."""
    (tmp_path / "pyproject.toml").write_text("")
    path = tmp_path / "greenhouse.yaml"
    path.write_text((GOLDEN / "good" / "greenhouse.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return path


def run(*arguments: str):
    return CliRunner().invoke(engine.cli.main, list(arguments))


def test_success_is_one_line(file):
    result = run("validate", "greenhouse.yaml")
    assert result.exit_code == 0, result.output
    assert result.output == "greenhouse.yaml: greenhouse is valid: 4 nodes, 4 wires, 2 processes, 0 warnings\n"


def test_errors_are_2_and_all_told(file):
    file.write_text(file.read_text().replace("half_life_s", "half_live_s").replace("control.command", "control.comand"))
    result = run("validate", "greenhouse.yaml")
    assert result.exit_code == 2
    assert "did you mean 'half_life_s'?" in result.output
    assert "did you mean 'command'?" in result.output
    assert result.output.endswith("greenhouse.yaml: 2 errors\n")


def test_warnings_do_not_fail(file):
    file.write_text(file.read_text() + "  roof: {nodes: [south]}\n")
    file.write_text(file.read_text().replace("nodes:\n", "nodes:\n  south: {use: sources.thermometer}\n", 1))
    result = run("validate", "greenhouse.yaml")
    assert result.exit_code == 0
    assert "warning[output-unread]" in result.output
    assert "1 warning\n" in result.output


def test_text_that_is_no_topology(file):
    file.write_text("topology: [\n")
    result = run("validate", "greenhouse.yaml")
    assert result.exit_code == 2
    assert "greenhouse.yaml:" in result.output
    file.write_text("")
    assert run("validate", "greenhouse.yaml").exit_code == 2


def test_several_files(file):
    (file.parent / "other.yaml").write_text(file.read_text().replace("sources.", "sorces."))
    result = run("validate", "greenhouse.yaml", "other.yaml")
    assert result.exit_code == 2
    assert "greenhouse is valid" in result.output
    assert "other.yaml: 1 error" in result.output


def test_json(file):
    page = json.loads(run("validate", "--json", "greenhouse.yaml").output)
    assert (page["errors"], page["warnings"], page["problems"]) == (0, 0, [])
    assert page["topologies"][0]["nodes"] == 4
    file.write_text(file.read_text().replace("half_life_s", "half_live_s"))
    result = run("validate", "--json", "greenhouse.yaml")
    assert result.exit_code == 2
    (problem,) = json.loads(result.output)["problems"]
    assert (problem["code"], problem["file"], problem["line"]) == ("unknown-param", "greenhouse.yaml", 10)


def test_offline_and_online(file):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        text = file.read_text().replace("params: {sensor: north}", f"params: {{sensor: north, port: {number}}}")
        file.write_text(text)
        assert run("validate", "--offline", "greenhouse.yaml").exit_code == 0
        result = run("validate", "greenhouse.yaml")
        assert result.exit_code == 2
        assert f"port {number}" in result.output


def test_overlay_and_set(file):
    (file.parent / "slow.yaml").write_text("nodes: {mean: {params: {half_life_s: 1h}}}\n")
    assert run("validate", "greenhouse.yaml", "-f", "slow.yaml").exit_code == 0
    (file.parent / "slow.yaml").write_text("nodes: {mean: {params: {half_life_s: -1}}}\n")
    result = run("validate", "greenhouse.yaml", "-f", "slow.yaml")
    assert result.exit_code == 2
    assert "slow.yaml:1:" in result.output


def test_watch_checks_again_and_ends_with_130(file):
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests')!r}]\n"
        "from support.packages import only_packages\n"
        "from engine.cli import main\n"
        "with only_packages('support.sample_nodes'):\n"
        "    main(['validate', '--watch', 'greenhouse.yaml'])\n"
    )
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=file.parent,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "is valid" in process.stdout.readline()
        time.sleep(0.05)
        file.write_text(file.read_text().replace("half_life_s", "half_live_s"))
        lines = [process.stdout.readline() for _ in range(3)]
        assert "greenhouse.yaml has changed" in lines[1]
        assert "unknown-param" in lines[2]
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors


# --- config and diff ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((GOLDEN / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_config_prints_loads_to_the_same(path, file):
    flat = run("config", str(path))
    assert flat.exit_code == 0, flat.output
    again = file.parent / "flat.yaml"
    again.write_text(flat.output)
    assert run("config", str(again)).output == flat.output
    assert run("diff", str(path), str(again)).output == "no difference\n"


def test_variants_are_not_what_runs(file):
    file.write_text(file.read_text() + "params: {pace: {type: float, default: 60, unit: s}}\n")
    file.write_text(file.read_text().replace("half_life_s: 5m", 'half_life_s: "${pace}"'))
    file.write_text(file.read_text() + "variants: {slow: {set: {pace: 300}}}\n")
    output = run("config", "greenhouse.yaml").output
    assert "slow" not in output
    (file.parent / "flat.yaml").write_text(output)
    assert run("validate", "flat.yaml").exit_code == 0
    assert "variants.slow" in run("diff", "greenhouse.yaml", "flat.yaml").output


def test_config_json_is_the_same_data(file):
    data = json.loads(run("config", "--json", "greenhouse.yaml").output)
    assert yaml.safe_load(run("config", "greenhouse.yaml").output) == data
    assert data["nodes"]["mean"]["params"] == {"half_life_s": "5m"}


def test_origins(file):
    (file.parent / "slow.yaml").write_text("nodes:\n  mean:\n    params:\n      half_life_s: 1h\n")
    output = run("config", "greenhouse.yaml", "-f", "slow.yaml", "--origins").output
    line = next(line for line in output.splitlines() if "half_life_s" in line)
    assert line.split() == ["half_life_s:", '"1h"', "#", "slow.yaml:4"] or line.split()[-1] == "slow.yaml:4"
    assert yaml.safe_load(output)["nodes"]["mean"]["params"] == {"half_life_s": "1h"}
    origins = json.loads(run("config", "greenhouse.yaml", "-f", "slow.yaml", "--origins", "--json").output)["origins"]
    assert origins["nodes.mean.params.half_life_s"] == "slow.yaml:4"


def test_config_prints_no_secret(file):
    file.write_text(file.read_text().replace("{sensor: north}", '{sensor: north, password: "${secret:SENSOR}"}'))
    assert "${secret:SENSOR}" in run("config", "greenhouse.yaml").output
    file.write_text(file.read_text().replace("${secret:SENSOR}", "hunter2"))
    assert "hunter2" not in run("config", "greenhouse.yaml").output


def test_diff_of_an_overlay(file):
    (file.parent / "slow.yaml").write_text(
        "nodes:\n  mean: {params: {half_life_s: 1h}}\n  south: {use: sources.thermometer}\n"
        "processes: {glass: {nodes: [control, window, south]}}\n"
    )
    result = run("diff", "greenhouse.yaml", "-f", "slow.yaml")
    assert result.exit_code == 0
    assert set(result.output.splitlines()) == {
        '~ nodes.mean.params.half_life_s: "5m" -> "1h"',
        "+ nodes.south.use: sources.thermometer",
        "~ processes.glass.nodes: [control, window] -> [control, window, south]",
    }
    assert run("diff", "greenhouse.yaml", "-f", "slow.yaml", "--exit-code").exit_code == 1
    assert len(json.loads(run("diff", "greenhouse.yaml", "-f", "slow.yaml", "--json").output)) == 3
