"""Overlays: mappings merge, lists and scalars replace, null removes; places follow the file that won."""

import pytest
from support.loading import Project

from engine.errors import Place, TopologyError
from engine.topology.load import load_topology

BASE = """topology: t
about: Base.
params:
  fee: {type: int, enum: [100, 500], default: 100}
  pairs: {type: list, default: [a]}
hubs:
  market: {publish: [6001], subscribe: 7001}
nodes:
  a: {use: x.y, params: {fee: "${fee}", limits: {max: 1, min: 0}, pairs: "${pairs}"}}
  b: {use: x.z, in: {i: [a.o, a.p]}}
  c: {use: x.z}
feedback: [b.o -> a.i]
processes:
  p: {nodes: [a], memory: 1GiB}
  q: {nodes: [b, c]}
"""


@pytest.fixture
def project(tmp_path):
    result = Project(tmp_path)
    result.write("t.yaml", BASE)
    return result


def load(project, *overlays, sets=()):
    for index, text in enumerate(overlays):
        project.write(f"o{index}.yaml", text)
    return project.load(*sets, overlays=tuple(f"o{index}.yaml" for index in range(len(overlays))))


def test_merging(project):
    topology = load(
        project,
        "about: Paper.\nnodes:\n  a: {use: x.sim, params: {limits: {max: 9}}}\n  b: {in: {i: a.q}}\n  c: null\n"
        "processes: {p: {memory: 2GiB}, q: {nodes: [b]}}\nfeedback: null\n",
    )
    a = topology.nodes["a"]
    assert topology.about == "Paper."
    assert a.use == "x.sim"
    assert a.use_origin.place == Place(f"{project.folder}/o0.yaml", 3, 12)
    assert a.params["limits"].value == {"max": 9, "min": 0}
    assert a.params["limits"].places["max"].file.endswith("o0.yaml")
    assert a.params["limits"].places["min"].file.endswith("t.yaml")
    assert [str(wire.source) for wire in topology.wires] == ["a.q"]
    assert list(topology.nodes) == ["a", "b"]
    assert topology.feedback == ()
    assert topology.processes["p"].memory_bytes == 2 << 30
    assert topology.processes["p"].nodes == ("a",)


def test_params(project):
    topology = load(project, "params: {fee: 500, pairs: [b, c]}\n")
    assert topology.nodes["a"].params["fee"].value == 500
    assert topology.nodes["a"].params["fee"].origin.place == Place(f"{project.folder}/o0.yaml", 1, 15)
    assert topology.nodes["a"].params["pairs"].value == ["b", "c"]
    assert load(project, "params: {fee: {default: 500}}\n").params["fee"].value == 500


def test_the_last_file_wins_and_set_wins_over_all(project):
    assert load(project, "params: {fee: 500}\n", "params: {fee: 100}\n").params["fee"].value == 100
    assert load(project, "params: {fee: 100}\n", sets=("fee=500",)).params["fee"].value == 500


def test_a_wrong_value_is_blamed_in_the_overlay(project):
    project.write("o.yaml", "params:\n  fee: 300\n")
    (problem,) = project.problems(overlays=("o.yaml",))
    assert project.line(problem) == "o.yaml:2:8 bad-param: param 'fee' must be one of 100, 500, got 300"
    assert problem.notes == (("declared here", Place(f"{project.folder}/t.yaml", 4, 3)),)


def test_includes_of_an_overlay_are_relative_to_it(project):
    project.write("sub/o.yaml", "include: [{file: more.yaml}]\n")
    project.write("sub/more.yaml", "nodes: {d: {use: x.y}}\n")
    assert list(project.load(overlays=("sub/o.yaml",)).nodes) == ["d", "a", "b", "c"]


@pytest.mark.parametrize(
    ("overlay", "lines"),
    [
        ("nodes: {d: null}", ["o.yaml:1:9 nothing-to-remove: 'nodes.d' is to be removed, but is not there"]),
        ("hub: {}", ["o.yaml:1:1 unknown-key: a topology has no key 'hub'"]),
        ("nodes: {a: 5}", ["o.yaml:1:12 wrong-kind: node 'a' must be a mapping, not a number ('5')"]),
        ("nodes: {d: {params: {x: 1}}}", ["o.yaml:1:9 missing-key: node 'd' names no type"]),
        ("topology: null", ["t.yaml:1:1 missing-key: the topology has no name"]),
        ("- a", ["o.yaml:1:1 wrong-kind: a topology is a mapping, and this is a list"]),
    ],
)
def test_refusals(project, overlay, lines):
    project.write("o.yaml", overlay)
    assert project.lines(overlays=("o.yaml",)) == lines


def test_a_removed_node_is_spelt_right(project):
    project.write("o.yaml", "processes: {pp: null}")
    assert project.problems(overlays=("o.yaml",))[0].fix == "did you mean 'p'? it has: p, q"


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(TopologyError) as caught:
        load_topology([tmp_path / "a.yaml", tmp_path])
    assert [problem.code for problem in caught.value.problems] == ["file-missing", "file-missing"]
    with pytest.raises(TopologyError, match="no topology file is given"):
        load_topology([])
