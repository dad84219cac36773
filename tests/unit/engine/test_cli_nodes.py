"""`pipeline nodes`, `new` and `doctor`; and node types that come in through entry points of an installed package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.packages import only_packages

import engine.cli
from engine import doctor

ROOT = Path(__file__).parents[3]
PYPROJECT = """
[project]
name = "farm"
[project.entry-points."pipeline.nodes"]
farm = "farm"
"""


def run(*arguments: str):
    return CliRunner().invoke(engine.cli.main, list(arguments))


@pytest.fixture
def sample():
    with only_packages("support.sample_nodes"):
        yield


def test_list(sample):
    result = run("nodes", "list")
    assert result.exit_code == 0
    lines = dict(line.split(None, 1) for line in result.output.splitlines())
    assert lines["models.average"] == "reactor   Average readings over time."
    assert "no handler" in lines["sinks.broken"]
    assert "sinks._helper" not in lines


def test_list_of_a_kind(sample):
    assert run("nodes", "list", "models").output.startswith("models.average ")
    result = run("nodes", "list", "modles")
    assert result.exit_code == 2
    assert "controls, models, sinks, sources" in result.stderr


def test_list_json(sample):
    found = {entry["name"]: entry for entry in json.loads(run("nodes", "list", "--json").output)}
    average = found["models.average"]
    assert average["inputs"]["reading"]["policy"] == "conflate"
    assert average["required"] == ["half_life_s"]
    assert average["params"]["half_life_s"]["unit"] == "s"


def test_show(sample):
    output = run("nodes", "show", "models.average").output
    for text in (
        "reading     Reading, conflate by sensor",
        "half_life_s  float in s, above 0; required",
        "offset       float in celsius; default 0",
        "hold  Repeat the last average.",
        "use: models.average",
    ):
        assert text in output


def test_show_hides_secrets_and_suggests(sample):
    assert "${secret:PASSWORD}" in run("nodes", "show", "sources.thermometer").output
    result = run("nodes", "show", "models.avrage")
    assert result.exit_code == 2
    assert "did you mean 'models.average'?" in result.stderr


# --- new ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "deep" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "below")
    return tmp_path


def test_new_node_passes_its_test_ruff_and_mypy(project):
    result = run("new", "node", "models.soil_model")
    assert result.exit_code == 0, result.output
    node, test = project / "farm/models/soil_model.py", project / "tests/unit/farm/test_soil_model.py"
    assert "class SoilModel(Node)" in node.read_text()
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{project}", "MYPYPATH": f"{ROOT}"}
    settings = ["--config", str(ROOT / "pyproject.toml")]
    for command in (
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", *settings, str(project)],
        [str(Path(sys.executable).with_name("ruff")), "format", "--no-cache", "--check", *settings, str(project)],
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={ROOT}/.mypy_cache", str(node)],
    ):
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_new_node_overwrites_nothing(project):
    run("new", "node", "models.soil_model")
    node = project / "farm/models/soil_model.py"
    node.write_text("mine")
    result = run("new", "node", "models.soil_model")
    assert result.exit_code == 2
    assert "already there" in result.stderr
    assert node.read_text() == "mine"


@pytest.mark.parametrize("name", ["soil", "models.Soil", "models.class", "models._soil", "models/soil", "../x.y", ""])
def test_new_node_refuses_bad_names(project, name):
    result = run("new", "node", name)
    assert result.exit_code == 2
    assert not (project / "farm").exists()


def test_new_node_needs_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("new", "node", "models.soil")
    assert result.exit_code == 2
    assert "pipeline.nodes" in result.stderr


# --- doctor -------------------------------------------------------------------------------------------------------


def test_doctor_outside_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(result.stdout)}
    assert findings["python"]["status"] == "ok"
    assert findings["packages"]["status"] == "ok"
    assert findings["schemas"]["text"] == "nothing is generated here"
    assert result.exit_code == 0


def test_doctor_finds_what_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "requirements_met", lambda text: not text.startswith("pyyaml"))
    result = run("doctor")
    assert result.exit_code == 1
    assert re.search(r"BROKEN  packages: lacks pyyaml", result.stdout)
    assert "pip install" in result.stdout


def test_requirements():
    assert doctor.requirements_met("click>=8.1")
    assert not doctor.requirements_met("click>=800")
    assert not doctor.requirements_met("no-such-package-anywhere")


# --- entry points -------------------------------------------------------------------------------------------------


def test_types_rules_and_commands_of_an_installed_package(tmp_path):
    """A package with its own dist-info on the path is found as an installed one is."""
    package = tmp_path / "orchard"
    (package / "sources").mkdir(parents=True)
    for path in (package, package / "sources"):
        (path / "__init__.py").write_text("")
    (package / "sources" / "apples.py").write_text(
        "from engine import Message, Node, Out\n"
        "class Apple(Message, frozen=True):\n    grams: float\n"
        "class Apples(Node):\n    '''Picks apples.'''\n    apple = Out(Apple, doc='One.')\n"
    )
    (package / "house.py").write_text(
        "import click\n"
        "from engine.topology.rules import Rule, problem_at\n"
        "def ripe(graph):\n"
        "    for node in graph.topology.nodes.values():\n"
        "        yield problem_at('not-ripe', f'{node.id} is not ripe', node, 'wait')\n"
        "RULES = [Rule('not-ripe', 'Apples are ripe.', ripe)]\n"
        "@click.command()\n"
        "def press():\n    '''Press apples.'''\n    click.echo('juice')\n"
    )
    info = tmp_path / "orchard-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pipeline.nodes]\norchard = orchard\n"
        "[pipeline.rules]\norchard = orchard.house:RULES\n"
        "[pipeline.commands]\npress = orchard.house:press\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from support.graphs import TopologyBuilder\n"
        "from engine.topology.check import check\n"
        "for p in check(TopologyBuilder().node('tree', 'sources.apples').build()): print(p.code)\n"
        "from engine.cli import main\n"
        "main()"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "press"], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["not-ripe", "output-unread", "juice"], done.stderr


def test_a_new_folder_never_hides_a_node(tmp_path):
    from engine.errors import UsageError
    from engine.scaffold import Project, new_files

    (tmp_path / "pack" / "models").mkdir(parents=True)
    (tmp_path / "pack" / "models" / "mine.py").write_text("", "utf-8")
    with pytest.raises(UsageError, match="would hide it"):
        new_files(Project(tmp_path, "pack"), "models.mine.deeper", "{cls}", "{imports}")
