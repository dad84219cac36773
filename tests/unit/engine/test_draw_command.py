"""`pipeline graph`: formats by option and by file name, output to a file, and what is refused."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.graphs import TopologyBuilder
from support.packages import only_packages

from engine.cli import graph


@pytest.fixture(autouse=True)
def greenhouse(monkeypatch):
    build = TopologyBuilder().node("air", "sources.thermometer", period_s=30).node("log", "sinks.log")
    build.wire("air.reading -> log.anything").process("inside", ("air", "log"))
    monkeypatch.setattr(graph, "read_topology", lambda file, overlays, sets: build.build())
    with only_packages("support.sample_nodes"):
        yield


@pytest.fixture
def run(tmp_path):
    file = tmp_path / "greenhouse.yaml"
    file.write_text("topology: greenhouse\n")
    return lambda *options: CliRunner().invoke(graph.command, [str(file), *map(str, options)])


def test_text_is_what_comes_without_options(run):
    result = run()
    assert result.exit_code == 0
    assert "air             sources.thermometer" in result.output
    assert "set period_s = 30 s" in result.output
    assert "set period_s" not in run("--no-params").output


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("g.gv", b"digraph"),
        ("g.dot", b"digraph"),
        ("g.mmd", b"flowchart LR"),
        ("g.SVG", b"<svg"),
        ("g.png", b"\x89PNG"),
        ("g.html", b"<!doctype html>"),
        ("g.txt", b"greenhouse"),
    ],
)
def test_the_format_follows_the_files_name(run, tmp_path, name, start):
    result = run("-o", tmp_path / name)
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes().startswith(start)
    assert name in result.output


def test_a_format_that_is_named_wins(run, tmp_path):
    assert run("-o", tmp_path / "g.svg", "--format", "dot").exit_code == 0
    assert (tmp_path / "g.svg").read_bytes().startswith(b"digraph")


def test_refusals_say_what_to_do(run, tmp_path):
    assert "no format goes by the name of 'g.pdf'" in run("-o", tmp_path / "g.pdf").output
    assert "no process 'outside'; processes: inside" in str(run("--process", "outside").exception)
    missing = run("-o", tmp_path / "none" / "g.svg")
    assert missing.exit_code != 0
    assert "No such file or directory" in missing.output


def test_json_holds_nodes_wires_and_processes(run, tmp_path):
    page = json.loads(run("--json").output)
    assert [(node["id"], node["use"]) for node in page["nodes"]] == [
        ("air", "sources.thermometer"),
        ("log", "sinks.log"),
    ]
    assert [(wire["from"], wire["to"]) for wire in page["wires"]] == [("air.reading", "log.anything")]
    assert [(process["name"], process["nodes"]) for process in page["processes"]] == [("inside", ["air", "log"])]
    assert "params" not in json.loads(run("--json", "--no-params").output)["nodes"][0]
    assert run("-o", tmp_path / "g.json").exit_code == 0
    assert json.loads((tmp_path / "g.json").read_text()) == page
    assert "give one" in run("--json", "--format", "dot").output
