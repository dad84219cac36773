"""Whatever the text, loading ends soon, with a topology or with a TopologyError; values never become structure."""

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.loading import Project

from engine.errors import TopologyError
from engine.topology.flat import scalar
from engine.topology.load import load_topology
from engine.topology.model import Topology
from engine.topology.report import Report
from engine.topology.tree import plain
from engine.topology.yaml_tree import read_tree

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

WORDS = [
    "topology", "params", "include", "nodes", "hubs", "processes", "feedback", "variants", "ports", "use", "in", "out",
    "from", "policy", "for_each", "as", "with", "file", "t.yaml", "a", "b.c", "hub:m/t", "${a}", "${v}", "${env:A:-b}",
    "${secret:K}", "$${", "${", "type", "default", "int", "list", "5m", "1e400", "0x1", "null", "true", "<<", "*a",
    "a.o -> b.i", "*", "{", "}", "[", "]", ": ", "- ", "\n", "\n  ", "\n    ", ", ", "&a ", "!!x ", "'", '"', "#", "\t",
    "---", "\r\n", "\0", "\ufeff", "é", "\ud83d", "?", "|", ">", "%", "@",
]  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)
plain_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30) | st.sampled_from(
    [
        "ETH\nrisk: {max: 1}",
        "a: b",
        "- x",
        "{x: 1}",
        "true",
        "5",
        "# no",
        "'",
        '"',
        "${a}",
        "$${",
        "*x",
        "!!y z",
        " ",
        "",
    ]
)


def outcome(project, text):
    """Load a text; return the topology or the codes of its problems. Anything else than TopologyError fails a test."""
    (project.folder / "t.yaml").write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    started = time.perf_counter()
    try:
        result = load_topology([project.folder / "t.yaml"], [], {})
    except TopologyError as error:
        assert error.problems
        assert all(problem.code and problem.message for problem in error.problems)
        result = [problem.code for problem in error.problems]
    assert time.perf_counter() - started < 5
    return result


def yaml_of(value):
    """Return a value in flow style with every text quoted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml_of(str(key))}: {yaml_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(yaml_of, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return scalar(value)


@quick
@given(data=st.binary(max_size=200))
def test_bytes(tmp_path, data):
    outcome(Project(tmp_path), data)


@quick
@given(words=st.lists(st.sampled_from(WORDS), max_size=60))
def test_words_of_the_format_in_any_order(tmp_path, words):
    outcome(Project(tmp_path), "topology: t\n" + "".join(words))


@quick
@given(sections=st.dictionaries(st.sampled_from(WORDS[:9]), values, max_size=6))
def test_sections_that_hold_anything(tmp_path, sections):
    text = "topology: t\n" + "".join(
        f"{key}: {yaml_of(value)}\n" for key, value in sections.items() if key != "topology"
    )
    outcome(Project(tmp_path), text)


@quick
@given(node=st.dictionaries(st.sampled_from(["use", "in", "out", "params", "for_each", "as"]), values, max_size=5))
def test_nodes_that_hold_anything(tmp_path, node):
    outcome(Project(tmp_path), f"topology: t\nnodes:\n  a: {yaml_of(node)}\n")


@quick
@given(option=st.text(max_size=30) | st.sampled_from(WORDS).map(lambda word: f"p={word}"))
def test_any_option(tmp_path, option):
    path = tmp_path / "t.yaml"
    path.write_text("topology: t\nparams: {p: {type: str, default: a}}\n")
    try:
        load_topology([path], [option], {})
    except TopologyError as error:
        assert error.problems


@quick
@given(value=plain_text, around=st.sampled_from(["{}", "x{}y", "{} {}"]))
def test_a_value_never_adds_structure(tmp_path, value, around):
    project = Project(tmp_path)
    text = around.replace("{}", "${env:VALUE}")
    project.write("t.yaml", f"topology: t\nnodes: {{n: {{use: a.b, params: {{x: '{text}', z: 1}}}}}}\n")
    topology = project.load(env={"VALUE": value})
    assert list(topology.nodes) == ["n"]
    assert topology.nodes["n"].params["x"].value == around.replace("{}", value)
    assert list(topology.nodes["n"].params) == ["x", "z"]


@quick
@given(value=values)
def test_reading_a_value_back(value):
    report = Report()
    tree = read_tree(f"v: {yaml_of(value)}", "f", report)
    if report.problems:
        assert {p.code for p in report.problems} <= {
            "yaml-key", "yaml-duplicate-key", "yaml-syntax", "yaml-encoding", "yaml-number"
        }  # fmt: skip
        return
    assert tree is not None
    assert plain(tree)["v"] == value


@quick
@given(value=values, name=st.sampled_from(["a", "b"]))
def test_a_value_takes_the_same_form_through_a_param(tmp_path, value, name):
    """`${p}` as the whole value and the value written in place are the same."""
    project = Project(tmp_path)
    direct = outcome(project, f"topology: t\nnodes: {{n: {{use: a.b, params: {{x: [{yaml_of(value)}]}}}}}}\n")
    through = outcome(
        project,
        f"topology: t\nparams: {{{name}q: {{type: list, default: [{yaml_of(value)}]}}}}\n"
        f"nodes: {{n: {{use: a.b, params: {{x: '${{{name}q}}'}}}}}}\n",
    )
    assert isinstance(direct, Topology) == isinstance(through, Topology)
    if isinstance(direct, Topology) and isinstance(through, Topology):
        assert direct.nodes["n"].params["x"].value == through.nodes["n"].params["x"].value
