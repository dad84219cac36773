"""One mistake per file in bad/: the text beside it is exactly what `pipeline validate` prints.

`REWRITE_GOLDEN=1 pytest tests/golden` writes the texts anew; read the differences before you keep them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from engine.topology.load import load_topology
from support.packages import only_packages

from engine.errors import TopologyError
from engine.topology.check import all_codes, check
from engine.topology.render_problems import render
from nodes.rules import RULES

BAD = Path(__file__).parent / "bad"
GOOD = Path(__file__).parent / "good"
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
    assert set(all_codes(RULES)) <= {path.stem for path in BAD.glob("*.yaml")}


@pytest.mark.parametrize("path", sorted(GOOD.glob("*.yaml")), ids=lambda path: path.stem)
def test_good_topologies_have_no_problem(path):
    problems, texts = problems_of(path)
    assert not problems, render(problems, texts)
