"""`pipeline keys`: what is made where, what is never overwritten, and what is refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner, Result

import engine.cli
from engine.wire.keys import KeyFolder, KeyUnusable

TOPOLOGY = """
topology: t
run: {keys: keys}
hubs: {air: {publish: [6000], subscribe: 7000, listen: 10.0.0.5, machine: house}}
nodes:
  a: {use: x.y, out: {o: "hub:air/a"}}
  b: {use: x.y, in: {i: a.o}}
  c: {use: x.y, in: {i: b.o}}
  d: {use: x.y, in: {i: c.o}}
processes:
  p: {nodes: [a], machine: house, listen: "tcp://10.0.0.5:7100"}
  q: {nodes: [b], machine: garden, listen: "tcp://10.0.0.6:7100"}
  r: {nodes: [c], machine: garden}
  s: {nodes: [d], machine: garden}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "t.yaml").write_text(TOPOLOGY)
    monkeypatch.chdir(tmp_path)


def keys(*words: str) -> Result:
    return CliRunner().invoke(engine.cli.main, ["keys", *words])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


FOLDER = KeyFolder(Path("keys"))


def test_each_machine_makes_its_own_and_secrets_are_private():
    assert [line.split(":")[0] for line in keys("init", "t.yaml", "--machine", "house").output.splitlines()] == [
        "made p",
        "made hubs@house",
    ]
    assert [line.split(":")[0] for line in keys("init", "t.yaml", "--machine", "garden").output.splitlines()] == [
        "made q"
    ]
    assert mode(FOLDER.secret_file("p")) == 0o600
    assert mode(Path("keys/secret")) == 0o700
    assert Path("keys/secret/.gitignore").read_text() == "*\n"
    assert not FOLDER.secret_file("r").exists(), "r speaks to its own machine only"
    assert zmq.curve_public(FOLDER.secret("q")) == FOLDER.public("q")


def test_nothing_is_overwritten_unless_it_is_forced():
    keys("init", "t.yaml")
    before = {name: FOLDER.secret(name) for name in ("p", "q", "hubs@house", "operator")}
    assert all(line.startswith("kept ") for line in keys("init", "t.yaml").output.splitlines())
    assert {name: FOLDER.secret(name) for name in before} == before
    assert keys("init", "t.yaml", "--machine", "garden", "--force").output.startswith("made q")
    assert FOLDER.secret("q") != before["q"]
    assert FOLDER.secret("p") == before["p"]


def test_a_public_key_that_is_gone_comes_from_its_secret_and_that_of_another_machine_is_left_alone():
    keys("init", "t.yaml")
    public = FOLDER.public("p")
    FOLDER.public_file("p").unlink()
    keys("init", "t.yaml", "--machine", "house")
    assert FOLDER.public("p") == public
    FOLDER.secret_file("p").unlink()
    refused = keys("init", "t.yaml", "--machine", "house")
    assert refused.exit_code == 2
    assert "it is the key of another machine" in refused.output
    assert FOLDER.public("p") == public


def test_show_shows_no_secret():
    keys("init", "t.yaml", "--machine", "house")
    shown = keys("show", "t.yaml").output
    assert FOLDER.public("p").decode() in shown
    assert "no key yet" in shown
    rows = {row["name"]: row for row in json.loads(keys("show", "t.yaml", "--json").output)}
    assert list(rows) == ["p", "q", "hubs@house", "operator"]
    assert (rows["p"]["secret"], rows["q"]["secret"]) == (True, False)
    for output in (shown, keys("show", "t.yaml", "--json").output, keys("check", "t.yaml").output):
        assert FOLDER.secret("p").decode() not in output


def test_check_says_all_that_is_wrong():
    assert "p.secret is not there" in keys("check", "t.yaml", "--machine", "house").output
    keys("init", "t.yaml")
    assert keys("check", "t.yaml").output == "keys of t are in order: 4 secret here, 4 public\n"
    FOLDER.secret_file("p").chmod(0o640)
    FOLDER.public_file("q").write_bytes(FOLDER.public("operator") + b"\n")
    result = keys("check", "t.yaml", "--machine", "house")
    assert result.exit_code == 2
    assert "p.secret is open to others (mode 0640)" in result.output
    assert "'q' and 'operator' have the same public key" in result.output
    assert "are not a pair" in keys("check", "t.yaml", "--machine", "garden").output


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.write_bytes(b"short\n"), "holds no key: it must be 40 characters in one line"),
        (lambda path: path.write_bytes(b"\xff" * 40), "holds no key"),
        (lambda path: path.write_bytes(b"x" * 5_000), "holds no key"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a plain file"),
        (lambda path: (path.rename("elsewhere"), path.symlink_to(Path("elsewhere").resolve())), "cannot be read"),
        (lambda path: (path.unlink(), os.mkfifo(path, 0o600)), "is not a plain file"),
        (lambda path: path.parent.chmod(0o755), r"secret is open to others \(mode 0755\)"),
    ],
)
def test_damaged_secrets_are_refused_and_not_shown(damage, text):
    FOLDER.make("p")
    damage(FOLDER.secret_file("p"))
    with pytest.raises(KeyUnusable, match=text):
        FOLDER.secret("p")


def test_who_asks_in_vain_is_told_why():
    assert "the machines are: garden, house" in keys("init", "t.yaml", "--machine", "attic").output
    Path("t.yaml").write_text(TOPOLOGY.replace("run: {keys: keys}\n", ""))
    assert "add run: {keys: FOLDER} to it" in keys("init", "t.yaml").output
    Path("t.yaml").write_text("topology: t\nrun: {keys: keys}\nnodes: {a: {use: x.y}}\n")
    assert "speaks to another machine" in keys("init", "t.yaml").output
