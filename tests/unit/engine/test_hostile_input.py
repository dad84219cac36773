"""What a careless or hostile file may hold: it is refused or printed without harm, and one mistake is one problem."""

from __future__ import annotations

import os
import threading
import time

import pytest
from click.testing import CliRunner
from support.loading import Project
from support.packages import only_packages

from engine.cli import main
from engine.errors import Place, Problem
from engine.registry import node_class, type_names
from engine.topology.check import check
from engine.topology.disguise import remember, without_secrets
from engine.topology.flat import as_yaml, flatten, inline
from engine.topology.load import load_topology
from engine.topology.render_problems import WIDTH, render
from engine.units import UnitError, convert

NODE = """
from engine import Node, param


class Feed(Node):
    '''Send nothing.'''

    key: str = param("", secret=True, doc="Key.")
    keys: list[str] = param((), secret=True, doc="Keys.")
    pool_id: str = param("", doc="Public.")
    count: int = param(1, doc="How many.")
    text: str = param("", doc="Any text.")
"""
HASH = "0x" + "ab" * 32


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "hostile_nodes"
    (folder / "sources").mkdir(parents=True)
    (folder / "__init__.py").write_text("", "utf-8")
    (folder / "sources" / "feed.py").write_text(NODE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with only_packages("hostile_nodes"):
        yield Project(tmp_path / "files")


def topology_with(params: str, more: str = "") -> str:
    return f"topology: t\nnodes:\n  feed: {{use: sources.feed, params: {params}}}\n{more}"


def test_a_folder_of_nodes_needs_no_init_file(project):
    assert list(type_names()) == ["sources.feed"]
    assert node_class("sources.feed").__name__ == "Feed"


@pytest.mark.parametrize("name", ["../up", "a/b", "/root", "..", "a b", "x" * 65, "<i>"])
@pytest.mark.parametrize("section", ["variants", "processes"])
def test_a_name_that_becomes_a_folder_holds_no_path(project, name, section):
    body = "{set: {feed.count: 2}}" if section == "variants" else "[feed]"
    project.write("t.yaml", topology_with("{}", f"{section}: {{'{name}': {body}}}\n"))
    assert [problem.code for problem in project.problems()] == ["bad-name"]


def test_items_of_a_secret_list_are_secrets(project):
    project.write("t.yaml", topology_with("{keys: ['${secret:ONE}', hunter2]}"))
    topology = project.load()
    assert [problem.code for problem in check(topology)] == ["secret-in-clear"]
    assert "hunter2" not in as_yaml(flatten(topology))
    assert "${secret:ONE}" in as_yaml(flatten(topology))
    assert "hunter2" not in render(check(topology), topology.files)


def test_a_misspelt_secret_is_shown_nowhere(project):
    project.write("t.yaml", topology_with("{kee: hunter2}"))
    topology = project.load()
    problems = check(topology)
    assert [problem.code for problem in problems] == ["unknown-param", "secret-in-clear"]
    assert "hunter2" not in render(problems, topology.files)
    assert "hunter2" not in as_yaml(flatten(topology))


def test_a_secret_in_a_variant_is_hidden_and_refused(project):
    path = project.write("t.yaml", topology_with("{}", "variants: {v: {set: {feed.key: hunter2}}}\n"))
    assert "hunter2" not in str(flatten(project.load()).data)
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert done.exit_code == 2
    assert "secret-in-clear" in done.output
    assert "hunter2" not in done.output


def test_validate_checks_what_variants_set(project):
    path = project.write("t.yaml", topology_with("{}", "variants: {v: {set: {feed.cuont: 2, feed.text: 3}}}\n"))
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert done.exit_code == 2
    assert "unknown-param" in done.output and "bad-param" in done.output


def test_a_public_hash_is_printed_and_loads_again(project):
    project.write("t.yaml", topology_with(f"{{pool_id: '{HASH}', text: 'x'}}"))
    assert HASH in as_yaml(flatten(project.load()))


@pytest.mark.parametrize(
    "text",
    ["line\n", "\n", "a\x85b", "a\u2028b", "del\x7f", "\U0001f600", "${x}", "true", "5m", "#", "a: b", "é", "\ufeff"],
)
def test_every_text_loads_again(project, text, tmp_path):
    project.write("t.yaml", topology_with("{text: x}"))
    flat = flatten(project.load())
    flat.data["nodes"]["feed"]["params"]["text"] = text.replace("${", "$${")
    path = tmp_path / "again.yaml"
    path.write_text(as_yaml(flat), "utf-8")
    assert load_topology([path]).nodes["feed"].params["text"].value == text
    assert inline(text).isprintable()


@pytest.mark.parametrize(
    ("value", "reason"),
    [("yes", "needs a whole number, got 'yes'"), ("true", "needs a whole number, got true"),
     ("null", "needs a whole number, got null"), ("[1]", "needs a whole number, got [1]")],
)  # fmt: skip
def test_a_misfit_is_told_in_the_words_of_the_format(project, value, reason):
    project.write("t.yaml", topology_with(f"{{count: {value}}}"))
    (problem,) = check(project.load())
    assert problem.message.endswith(reason)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("topology: t\nnodes:\n  a: &a {use: sources.feed}\n  b: {<<: *a}\n", "yaml-merge-key"),
        ("topology: !!python/object/apply:os.system [id]\nnodes: {}\n", "yaml-tag"),
        ("<<: {a: b}\n", "yaml-merge-key"),
        ("topology: t\nnodes:\n  f: {use: sources.feed, for_each: {n: [1, 2]}}\n", "bad-id"),
        ("topology: t\nnodes:\n  f: {use: sources.feed, for_each: {n: ['${n}', y]}}\n", "unknown-reference"),
        ("topology: t\nnodes:\n  f: {use: sources.feed, for_each: {}}\n", "empty-loop"),
    ],
)
def test_one_mistake_one_problem(project, text, code):
    project.write("t.yaml", text)
    assert [problem.code for problem in project.problems()] == [code]


def test_a_folder_is_no_node_type(project):
    project.write("t.yaml", "topology: t\nnodes: {f: {use: sources}}\n")
    assert [problem.code for problem in check(project.load())] == ["unknown-type"]


def test_foreign_digits_are_no_number():
    with pytest.raises(UnitError):
        convert("١٢", "s")


def test_a_report_keeps_its_width_and_its_terminal():
    line = "x: " + "[" * 5_000 + "\x1b[31m\u202e"
    problems = [Problem("c", "y" * 5_000 + "\x1b[2J", Place("f", 1, column)) for column in (1, 500, 5_003)]
    text = render(problems, {"f": line})
    assert all(len(each) <= WIDTH for each in text.splitlines())
    assert "\x1b" not in text and "\u202e" not in text


def test_a_large_file_is_refused_at_once(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a" * 30_000_000)
    began = time.monotonic()
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert done.exit_code == 2
    assert "yaml-size" in done.output
    assert time.monotonic() - began < 2
    assert len(done.output) < 1_000


def test_a_pipe_can_be_validated(project, tmp_path):
    project.write("t.yaml", topology_with("{}"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(as_yaml(flatten(project.load())), "utf-8"))
    writer.start()
    done = CliRunner().invoke(main, ["validate", str(pipe)])
    writer.join(5)
    assert done.exit_code == 0, done.output


def test_a_folder_is_called_a_folder(tmp_path):
    done = CliRunner().invoke(main, ["validate", str(tmp_path)])
    assert done.exit_code == 2
    assert "is a folder" in done.output


def test_a_read_secret_is_cleaned_out_of_text():
    remember("first-line-77\nsecond-line-77")
    assert without_secrets("a first-line-77 b second-line-77") == "a *** b ***"
    remember("ab")
    assert without_secrets("about") == "about"
