"""Secrets on the way into a run: there before anything starts, and in nothing that the run or its errors leave."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.packages import only_packages

from engine.cli import main

CANARY = "canary-91c4e"
MESSAGES = '''
from engine import Message


class Tick(Message, frozen=True):
    """A tick."""

    event_time_ns: int
'''
FEED = '''
from engine import Node, Out, param
from secret_nodes._messages import Tick


class Feed(Node):
    """Send three ticks."""

    tick = Out(Tick, doc="Ticks.")
    key: str = param("", secret=True, doc="Key.")
    fails: bool = param(False, doc="Break, and tell the key.")

    def history(self):
        for n in range(3):
            if self.fails and n == 1:
                raise RuntimeError(f"refused {self.key}")
            yield n, Tick(event_time_ns=n)
'''
EAT = '''
from engine import In, Node, param
from secret_nodes._messages import Tick


class Eat(Node):
    """Read ticks."""

    tick = In(Tick, doc="Ticks.")
    key: str = param("", secret=True, doc="Key.")
    fails: bool = param(False, doc="Break, and tell the key.")

    def on_tick(self, message: Tick) -> None:
        if self.fails:
            raise RuntimeError(f"refused {self.key}")
'''
TOPOLOGY = """
topology: t
nodes:
  feed: {use: sources.feed, params: {key: "${secret:CANARY}"}}
  eat: {use: sinks.eat, in: {tick: feed.tick}, params: {key: "pre-${secret:CANARY}"}}
variants:
  same: {set: {eat.key: "${secret:CANARY}"}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name, text in {"__init__": "", "_messages": MESSAGES, "sources/feed": FEED, "sinks/eat": EAT}.items():
        path = tmp_path / "secret_nodes" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_SECRET_CANARY", raising=False)
    (tmp_path / "t.yaml").write_text(TOPOLOGY, "utf-8")
    with only_packages("secret_nodes"):
        yield lambda *words: CliRunner().invoke(main, list(words))


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_missing_secret_stops_a_run_before_it_starts(run, tmp_path):
    done = run("backtest", "t.yaml", "--out", "out")
    assert done.exit_code == 2
    assert "secret-missing" in done.output
    assert "PIPELINE_SECRET_CANARY" in done.output
    assert not (tmp_path / "out").exists()


def test_a_run_and_its_replay_leave_no_secret(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_SECRET_CANARY", CANARY)
    for words in (("backtest", "t.yaml", "--out", "out"), ("replay", "out")):
        done = run(*words)
        assert done.exit_code == 0, done.output
        assert CANARY not in done.output
    assert (tmp_path / "out" / "variants" / "same").is_dir()
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("node", ["feed", "eat"])
def test_an_error_that_tells_a_secret_is_cleaned(run, tmp_path, monkeypatch, node):
    monkeypatch.setenv("PIPELINE_SECRET_CANARY", CANARY)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run("backtest", "t.yaml", "--no-variants", "--out", "out", "--set", f"{node}.fails=true")
    assert done.exit_code in (1, 3)
    assert "refused" in done.output
    assert CANARY not in done.output
    assert not left_behind(tmp_path)


def test_a_comment_does_not_spoil_a_recording(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_SECRET_CANARY", CANARY)
    assert run("backtest", "t.yaml", "--out", "out").exit_code == 0
    (tmp_path / "t.yaml").write_text(TOPOLOGY + "# a comment\n", "utf-8")
    assert run("replay", "out").exit_code == 0
    (tmp_path / "t.yaml").write_text(TOPOLOGY.replace("pre-", "post-"), "utf-8")
    done = run("replay", "out")
    assert done.exit_code == 2
    assert "has changed" in done.output


@pytest.mark.parametrize("mark", [b"{}", b"[]", b"null", b'{"files": 3}', b"\xff\xfe", b"{"])
def test_a_damaged_mark_is_no_mistake_of_ours(run, tmp_path, mark):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_bytes(mark)
    done = run("replay", "out")
    assert done.exit_code == 2
    assert "is damaged" in done.output


def test_a_folder_that_cannot_be_made_is_no_mistake_of_ours(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_SECRET_CANARY", CANARY)
    (tmp_path / "file").write_text("", "utf-8")
    done = run("backtest", "t.yaml", "--out", "file/out")
    assert done.exit_code == 2
    assert "cannot be the folder of a run" in done.output


def test_tests_beside_a_topology_need_no_secret(run, tmp_path):
    text = "topology: t.yaml\ntests:\n  reads:\n    nodes: [eat]\n    steps: [{at: 1s, send: {feed.tick: {}}}]\n"
    (tmp_path / "t.test.yaml").write_text(text, "utf-8")
    done = run("test", "t.test.yaml")
    assert done.exit_code == 0, done.output
    assert "1 passed" in done.output
