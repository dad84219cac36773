"""One mistake per file in bad/: the text beside it is exactly what `pipeline validate` prints.

`REWRITE_GOLDEN=1 pytest tests/golden` writes the texts anew; read the differences before you keep them.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from support.packages import only_packages

import engine.topology
from engine.errors import TopologyError
from engine.topology.check import check
from engine.topology.codes import all_codes
from engine.topology.load import load_topology
from engine.topology.render_problems import render
from nodes.rules import RULES

BAD = Path(__file__).parent / "bad"
GOOD = Path(__file__).parent / "good"
ELSEWHERE = {
    "bad-set",
    "duplicate-node",
    "duplicate-process",
    "expansion-limit",
    "file-missing",
    "file-unreadable",
    "include-depth",
    "nothing-to-remove",
    "reference-depth",
    "reference-text",
    "secret-missing",
    "too-many-problems",
    "yaml-alias-limit",
    "yaml-depth",
    "yaml-encoding",
    "yaml-size",
}
"""Codes that need overlays, options, a start or very large texts; the loader's own tests cover them."""
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"


@pytest.fixture(autouse=True)
def sample_packages(monkeypatch):
    monkeypatch.chdir(BAD)
    with only_packages("support.sample_nodes", "support.sample_desk", rules=RULES):
        yield


def problems_of(path: Path):
    try:
        topology = load_topology([path], [])
    except TopologyError as error:
        return error.problems, {}
    return check(topology), topology.files


@pytest.mark.parametrize("code", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_text(code):
    problems, texts = problems_of(Path(f"{code}.yaml"))
    text = render(problems, texts) + "\n"
    golden = BAD / f"{code}.txt"
    if REWRITE:
        golden.write_text(text, "utf-8")
    assert {problem.code for problem in problems} == {code}
    assert text == golden.read_text("utf-8")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_every_code_has_a_golden_file():
    golden = {path.stem for path in BAD.glob("*.yaml")}
    assert not ELSEWHERE & golden
    assert set(all_codes(RULES)) == golden | ELSEWHERE


def codes_in_source() -> set[str]:
    """Return the texts of the form of a code that functions which report problems are called with."""
    found = set()
    for path in (Path(engine.topology.__path__[0])).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("add", "stop", "_stop", "Problem", "problem_at"):
                    found.add(node.args[0].value)
    return {code for code in found if isinstance(code, str)}


def test_every_code_in_the_source_is_explained():
    assert {"unknown-key", "cycle", "unknown-param"} <= codes_in_source()
    assert codes_in_source() <= set(all_codes(RULES))


@pytest.mark.parametrize("path", sorted(GOOD.glob("*.yaml")), ids=lambda path: path.stem)
def test_good_topologies_have_no_problem(path):
    problems, texts = problems_of(path)
    assert not problems, render(problems, texts)
