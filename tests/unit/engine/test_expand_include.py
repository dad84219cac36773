"""Includes: prefixes, scopes, offered ports, changes from outside, and the limits of where files may be."""

# ruff: noqa: E501  a refusal and its exact text stand on one line

import os

import pytest
from support.loading import Project

from engine.errors import Place

VENUE = """
params:
  venue: {type: str, doc: Adapter folder.}
  depth: {type: int, default: 5}
ports:
  in:
    orders.order: Orders that passed the gate.
    news: {to: [quotes.news, orders.news], optional: true}
  out:
    quotes.book: Best bid and ask.
    fills: {to: orders.fill}
nodes:
  quotes: {use: "venues.${venue}.quotes", params: {depth: "${depth}"}, out: {book: "hub:market/book"}}
  orders: {use: "venues.${venue}.orders", in: {book: quotes.book}}
processes:
  main: {nodes: ["*"]}
feedback: [orders.fill -> quotes.fill]
"""
MAIN = """topology: t
include:
  - {file: venues/v.yaml, as: binance, with: {venue: b}, in: {orders.order: gate.out}}
nodes:
  gate: {use: risk.gate, in: {fill: binance.fills}}
"""


@pytest.fixture
def project(tmp_path):
    result = Project(tmp_path)
    result.write("t.yaml", MAIN)
    result.write("venues/v.yaml", VENUE)
    return result


def wires(topology):
    return [f"{wire.source} -> {wire.target}" for wire in topology.wires]


def test_prefixes_wires_and_processes(project):
    topology = project.load()
    assert list(topology.nodes) == ["binance.quotes", "binance.orders", "gate"]
    assert topology.nodes["binance.quotes"].use == "venues.b.quotes"
    assert topology.nodes["binance.quotes"].params["depth"].value == 5
    assert wires(topology) == [
        "binance.quotes.book -> hub:market/book",
        "binance.quotes.book -> binance.orders.book",
        "gate.out -> binance.orders.order",
        "binance.orders.fill -> gate.fill",
    ]
    assert topology.processes["binance.main"].nodes == ("binance.quotes", "binance.orders")
    assert [(str(a), str(b)) for a, b, _ in topology.feedback] == [("binance.orders.fill", "binance.quotes.fill")]


def test_every_record_knows_through_which_include_it_is_used(project):
    folder = project.folder
    topology = project.load()
    include = Place(f"{folder}/t.yaml", 3, 5)
    quotes = topology.nodes["binance.quotes"]
    assert quotes.origin.place == Place(f"{folder}/venues/v.yaml", 13, 3)
    assert quotes.origin.used == (include,)
    assert quotes.params["depth"].origin.place == Place(f"{folder}/venues/v.yaml", 4, 31)
    order = next(wire for wire in topology.wires if wire.target.port == "order")
    assert order.origin.place == Place(f"{folder}/t.yaml", 3, 77)


def test_one_template_many_times(project):
    project.write(
        "t.yaml",
        """topology: t
params: {venues: {type: list, default: [binance, deribit]}}
include:
  - file: venues/v.yaml
    for_each: {v: "${venues}"}
    as: ${v}
    with: {venue: "${v}"}
    in: {orders.order: "gate_${v}.out"}
nodes:
  gate: {use: risk.gate, for_each: {v: "${venues}"}, in: {fill: "${v}.fills"}}
""",
    )
    topology = project.load()
    assert list(topology.nodes) == [
        "binance.quotes", "binance.orders", "deribit.quotes", "deribit.orders", "gate_binance", "gate_deribit"
    ]  # fmt: skip
    assert "gate_deribit.out -> deribit.orders.order" in wires(topology)
    assert "deribit.orders.fill -> gate_deribit.fill" in wires(topology)
    assert list(project.load("venues=[grvt]").nodes) == ["grvt.quotes", "grvt.orders", "gate_grvt"]


def test_without_a_prefix_nodes_join_the_including_file(project):
    project.write("t.yaml", "topology: t\ninclude: [{file: more.yaml}]\nnodes: {a: {use: x.y, in: {i: b.o}}}\n")
    project.write("more.yaml", "nodes: {b: {use: x.y}}\nhubs: {h: {publish: [1], subscribe: 2}}\n")
    topology = project.load()
    assert list(topology.nodes) == ["b", "a"]
    assert wires(topology) == ["b.o -> a.i"]
    assert topology.hubs["h"].publish == (1,)


def test_includes_within_includes(project):
    project.write(
        "t.yaml",
        "topology: t\ninclude: [{file: outer.yaml, as: o, in: {i: src.x}}]\nnodes: {src: {use: a.b, in: {r: o.r}}}\n",
    )
    project.write(
        "outer.yaml",
        "ports: {in: {i: {to: n.i}}, out: {r: {to: n.r}}}\ninclude: [{file: sub/inner.yaml, as: n}]\n".replace(
            "as: n", "as: n, in: {i: pre.x}"
        )
        + "nodes: {pre: {use: a.b}}\n",
    )
    project.write(
        "sub/inner.yaml", "ports: {in: {i: {to: leaf.i}}, out: {r: {to: leaf.r}}}\nnodes: {leaf: {use: a.b}}\n"
    )
    topology = project.load()
    assert wires(topology) == ["o.pre.x -> o.n.leaf.i", "src.x -> o.n.leaf.i", "o.n.leaf.r -> src.r"]
    assert [wire.rank for wire in topology.wires] == [0, 1, 0]
    assert [place.file.rpartition("/")[2] for place in topology.nodes["o.n.leaf"].origin.used] == [
        "t.yaml",
        "outer.yaml",
    ]


def test_an_included_file_sees_only_its_own_params(project):
    project.write("t.yaml", MAIN.replace("include:", "params: {secret_sauce: {type: int, default: 1}}\ninclude:"))
    project.write("venues/v.yaml", VENUE.replace("${depth}", "${secret_sauce}"))
    (problem,) = project.problems()
    assert project.line(problem) == "venues/v.yaml:13:59 unknown-reference: there is no 'secret_sauce' to refer to"
    assert problem.fix == "known here: venue, depth"
    assert problem.notes == (("used here", Place(f"{project.folder}/t.yaml", 4, 5)),)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("venue: b", "venu: b", [
            "t.yaml:3:47 unknown-param: venues/v.yaml has no param 'venu'",
        ]),
        ("venue: b", "venue: 7", ["t.yaml:3:54 bad-param: param 'venue' needs text, got 7"]),
        (", in: {orders.order: gate.out}", "", ["t.yaml:3:5 template-port-open: venues/v.yaml needs a wire into 'orders.order': Orders that passed the gate."]),
        ("orders.order: gate", "orders.ordr: gate", [
            "t.yaml:3:63 template-port-unknown: venues/v.yaml offers no input 'orders.ordr'",
        ]),
        ("in: {fill: binance.fills}", "in: {fill: binance.orders.fill}", []),
        ("in: {fill: binance.fills}", "in: {fill: binance.orders.status}", ["t.yaml:5:37 template-port-unknown: venues/v.yaml does not offer its output 'orders.status'"]),
        ("venues/v.yaml", "venues/w.yaml", ["t.yaml:3:12 include-missing: file 'venues/w.yaml' does not exist"]),
        ("venues/v.yaml", "venues", ["t.yaml:3:12 include-missing: file 'venues' is a folder"]),
        ("as: binance", "as: Binance", ["t.yaml:3:31 bad-id: 'Binance' cannot be a prefix"]),
        ("file: venues/v.yaml", "fil: venues/v.yaml", ["t.yaml:3:6 unknown-key: an include has no key 'fil'"]),
    ],
)  # fmt: skip
def test_refusals(project, old, new, lines):
    project.write("t.yaml", MAIN.replace(old, new))
    assert project.lines() == lines


def test_near_file_names(project):
    project.write("t.yaml", MAIN.replace("v.yaml", "vv.yaml"))
    assert project.problems()[0].fix == "did you mean 'v.yaml'? files there: v.yaml"


def test_a_template_that_offers_what_it_has_not(project):
    project.write("venues/v.yaml", VENUE.replace("quotes.book: Best", "quots.book: Best"))
    (problem,) = [one for one in project.problems() if "leads to" in one.message]
    assert (
        project.line(problem)
        == "venues/v.yaml:10:5 template-port-unknown: port 'quots.book' of the template leads to node 'quots', which is not there"
    )
    assert problem.fix == "did you mean 'quotes'? its nodes: quotes, orders"


def test_cycles_and_depth(project):
    project.write("t.yaml", "topology: t\ninclude: [{file: a.yaml, as: a}]\n")
    project.write("a.yaml", "include: [{file: b.yaml, as: b}]\n")
    project.write("b.yaml", "include: [{file: ./a.yaml, as: a}]\n")
    assert project.lines() == ["b.yaml:1:11 include-cycle: files include each other: a.yaml -> b.yaml -> a.yaml"]
    for i in range(12):
        project.write(f"d{i}.yaml", f"include: [{{file: d{i + 1}.yaml, as: d}}]\n")
    project.write("d12.yaml", "nodes: {x: {use: a.b}}\n")
    project.write("t.yaml", "topology: t\ninclude: [{file: d0.yaml, as: d}]\n")
    assert project.lines() == ["d7.yaml:1:11 include-depth: includes are nested deeper than 8"]


def test_repetition_is_bounded(project):
    names = ", ".join(f"n{i}" for i in range(60))
    loop = f"for_each: {{v: [{names}]}}, as: '${{v}}'"
    project.write("t.yaml", f"topology: t\ninclude: [{{file: a.yaml, {loop}}}]\n")
    project.write("a.yaml", f"include: [{{file: b.yaml, {loop}}}]\n")
    project.write("b.yaml", f"include: [{{file: c.yaml, {loop}}}]\n")
    project.write("c.yaml", "nodes: {x: {use: a.b}}\n")
    assert [line.partition(" ")[2] for line in project.lines()] == [
        "expansion-limit: the topology expands to more than 250,000 values"
    ]


class TestRoots:
    def test_outside(self, tmp_path):
        (tmp_path / "project").mkdir()
        project = Project(tmp_path / "project")
        secret = tmp_path / "other.yaml"
        secret.write_text("nodes: {x: {use: a.b}}\n")
        for name in ("../other.yaml", str(secret), "../../../../../../../etc/passwd"):
            project.write("t.yaml", f"topology: t\ninclude: [{{file: {name}}}]\n")
            (line,) = project.lines()
            assert line.startswith("t.yaml:2:18 include-outside-root: "), line

    def test_links_are_followed_before_the_check(self, tmp_path):
        (tmp_path / "project").mkdir()
        project = Project(tmp_path / "project")
        (tmp_path / "other.yaml").write_text("nodes: {x: {use: a.b}}\n")
        os.symlink(tmp_path / "other.yaml", tmp_path / "project" / "link.yaml")
        os.symlink(tmp_path, tmp_path / "project" / "up")
        for name in ("link.yaml", "up/other.yaml"):
            project.write("t.yaml", f"topology: t\ninclude: [{{file: {name}}}]\n")
            (line,) = project.lines()
            assert line == f"t.yaml:2:18 include-outside-root: '{name}' leads outside the project"

    def test_the_project_is_where_its_mark_is(self, tmp_path):
        (tmp_path / "pyproject.toml").write_text("")
        project = Project(tmp_path / "deep" / "er")
        project.write("t.yaml", "topology: t\ninclude: [{file: ../../shared.yaml}]\n")
        (tmp_path / "shared.yaml").write_text("nodes: {x: {use: a.b}}\n")
        assert list(project.load().nodes) == ["x"]

    def test_pipes_and_devices_are_not_read(self, tmp_path):
        project = Project(tmp_path)
        os.mkfifo(tmp_path / "pipe.yaml")
        project.write("t.yaml", "topology: t\ninclude: [{file: pipe.yaml}]\n")
        assert project.lines() == ["t.yaml:2:18 include-missing: file 'pipe.yaml' does not exist"]

    def test_a_loop_of_links(self, tmp_path):
        project = Project(tmp_path)
        os.symlink(tmp_path / "b.yaml", tmp_path / "a.yaml")
        os.symlink(tmp_path / "a.yaml", tmp_path / "b.yaml")
        project.write("t.yaml", "topology: t\ninclude: [{file: a.yaml}]\n")
        (line,) = project.lines()
        assert line.startswith("t.yaml:2:18 include-missing: ")


class TestChanges:
    """A dotted id under an include's prefix changes a node that the include brings."""

    def test_in_the_including_file(self, project):
        project.write(
            "t.yaml", MAIN + "  binance.orders: {use: venues.sim.orders, params: {fee: 2}, in: {book: gate.book}}\n"
        )
        topology = project.load()
        orders = topology.nodes["binance.orders"]
        assert orders.use == "venues.sim.orders"
        assert orders.params["fee"].value == 2
        assert orders.use_origin.place.file.endswith("t.yaml")
        assert "gate.book -> binance.orders.book" in wires(topology)
        assert "gate.out -> binance.orders.order" in wires(topology)

    def test_in_an_overlay(self, project):
        project.write("paper.yaml", "nodes: {binance.orders: {use: venues.sim.orders}, binance.quotes: null}\n")
        topology = project.load(overlays=("paper.yaml",))
        assert topology.nodes["binance.orders"].use == "venues.sim.orders"
        assert "binance.quotes" not in topology.nodes

    def test_set_wins(self, project):
        project.write("t.yaml", MAIN + "  binance.quotes: {params: {depth: 10}}\n")
        assert project.load().nodes["binance.quotes"].params["depth"].value == 10
        assert project.load("binance.quotes.depth=20").nodes["binance.quotes"].params["depth"].value == 20

    def test_of_nothing(self, project):
        project.write("t.yaml", MAIN + "  binance.ordrs: {params: {depth: 10}}\n")
        (problem,) = project.problems()
        assert project.line(problem) == "t.yaml:6:3 unknown-node: there is no node 'binance.ordrs' to change"
        assert problem.fix.startswith("did you mean 'binance.orders'?")


def test_duplicates(project):
    line = "  - {file: venues/v.yaml, as: binance, with: {venue: b}, in: {orders.order: gate.out}}\n"
    project.write("t.yaml", MAIN.replace(line, line * 2))
    assert project.lines() == ["t.yaml:4:5 duplicate-prefix: two includes have the prefix 'binance'"]


def test_variants_belong_to_the_topology(project):
    project.write("venues/v.yaml", VENUE + "variants: {a: {set: {depth: 1}}}\n")
    assert project.lines() == [
        "venues/v.yaml:18:1 root-only: variants belong to the topology itself, not to a file that it includes"
    ]


def test_files_hold_every_text(project):
    topology = project.load("binance.quotes.depth=1")
    names = {name.replace(f"{project.folder}/", "") for name in topology.files}
    assert names == {"t.yaml", "venues/v.yaml", "--set"}
    assert topology.files["--set"] == "binance.quotes.depth=1"
