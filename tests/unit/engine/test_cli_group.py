"""The `pipeline` command itself: finding commands, exit codes, what is said when it fails, how fast it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import engine.cli
from engine.errors import PipelineError, Place, Problem, TopologyError, UsageError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes `pipeline fail` raise what it is given."""

    def install(error: BaseException):
        @click.command()
        def fail() -> None:
            raise error

        entry = type("Entry", (), {"load": lambda self: fail})()
        monkeypatch.setattr(engine.cli, "_foreign_commands", lambda: {"fail": entry})
        return CliRunner().invoke(engine.cli.main, ["fail"])

    return install


def run(*arguments: str):
    return CliRunner().invoke(engine.cli.main, list(arguments))


def test_every_file_is_a_command():
    result = run("--help")
    assert result.exit_code == 0
    for name in ("validate", "config", "diff", "nodes", "new", "doctor", "completion"):
        assert re.search(rf"^  {name} ", result.output, re.MULTILINE)
    assert "_common" not in result.output


@pytest.mark.parametrize("name", engine.cli._own_commands())
def test_every_command_teaches_by_example(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^ +(eval .*)?pipeline {name}", result.output, re.MULTILINE), result.output


def test_no_command_is_help():
    result = run()
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_usage_errors_are_2():
    result = run("validat")
    assert result.exit_code == 2
    assert "did you mean 'validate'?" in result.output
    assert run("validate").exit_code == 2
    assert run("validate", "--bogus").exit_code == 2


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "greenhouse.yaml").write_text("topology: x\n")
    result = run("validate", str(tmp_path / "grenhouse.yaml"))
    assert result.exit_code == 2
    assert "did you mean" in result.output


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert re.match(r"pipeline \d+\.\d+", result.output)


def test_errors_made_on_purpose_keep_their_exit_code(failing):
    result = failing(PipelineError("the tank is empty"))
    assert (result.exit_code, result.stderr) == (1, "error: the tank is empty\n")
    assert failing(UsageError("no such tank")).exit_code == 2


def test_problems_are_rendered(failing):
    problem = Problem("cycle", "a loop", Place("gone.yaml", 3, 1), "name it")
    result = failing(TopologyError([problem]))
    assert result.exit_code == 2
    assert result.stderr == "gone.yaml:3:1: error[cycle]: a loop\n    fix: name it\n"


def test_a_mistake_of_ours_is_3_and_leaves_a_traceback(failing):
    result = failing(ZeroDivisionError("oh"))
    assert result.exit_code == 3
    path = Path(re.search(r"The traceback is in (\S+);", result.stderr)[1])
    assert "ZeroDivisionError: oh" in path.read_text()
    assert "Traceback" not in result.stderr
    path.unlink()


def test_interruption_is_130(failing):
    assert failing(KeyboardInterrupt()).exit_code == 130


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -c 'from engine.cli import main; main()' nodes list --json | head -c 1"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_help_imports_little_and_is_quick():
    code = (
        "import sys; from engine.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    took = time.perf_counter() - began
    loaded = set(result.stderr.split())
    assert not loaded & {"msgspec", "networkx", "numpy", "yaml", "jsonschema", "engine.node"}
    # The promise is 0.15 s on an idle machine; a busy one gets more.
    assert took < 1.5


def completions(words: str, cwd: Path = ROOT) -> list[str]:
    env = {
        **os.environ,
        "_PIPELINE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = "from engine.cli import main; main(prog_name='pipeline')"
    result = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in result.stdout.splitlines()]


def test_completion_of_commands_types_and_files(tmp_path):
    assert "validate" in completions("pipeline val")
    assert "models.inventory" in completions("pipeline nodes show models.inv")
    (tmp_path / "topologies").mkdir()
    (tmp_path / "topologies" / "farm.yaml").write_text("")
    (tmp_path / "topologies" / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    env_root = tmp_path
    assert completions("pipeline validate ", env_root) == ["topologies/"]
    assert completions("pipeline validate topologies/", env_root) == ["topologies/farm.yaml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"{shell}_complete" in result.output


def test_the_bash_script_is_bash():
    script = run("completion", "bash").output
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
