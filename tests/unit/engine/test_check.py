"""Checks on topologies made by hand; the texts of all problems are pinned by the golden files."""

from __future__ import annotations

import socket

import pytest
from support.graphs import TopologyBuilder
from support.packages import only_packages

from engine.errors import Place, TopologyError
from engine.topology.check import check, checked
from engine.topology.codes import all_codes
from engine.topology.model import SecretRef, Setting
from engine.topology.rules import Graph, Rule, problem_at


@pytest.fixture(autouse=True)
def sample_nodes():
    with only_packages("support.sample_nodes"):
        yield


def greenhouse() -> TopologyBuilder:
    """Thermometer, average, control, window: a topology without a problem."""
    return (
        TopologyBuilder()
        .node("north", "sources.thermometer")
        .node("mean", "models.average", half_life_s=60.0)
        .node("control", "controls.window")
        .node("window", "sinks.window")
        .wire("north.reading -> mean.reading", "mean.average -> control.average", "control.command -> window.command")
    )


def codes(builder: TopologyBuilder, **options) -> list[str]:
    return [problem.code for problem in check(builder.build(), **options)]


def only(builder: TopologyBuilder, **options):
    problems = check(builder.build(), **options)
    assert len(problems) == 1, [problem.code for problem in problems]
    return problems[0]


def test_a_right_topology_has_no_problem():
    assert codes(greenhouse()) == []
    topology = greenhouse().build()
    assert checked(topology) is topology


def test_all_problems_at_once_in_order_of_place():
    builder = (
        TopologyBuilder()
        .node("a", "sources.thermometr")
        .node("b", "models.average", half_life_s=-1.0)
        .wire("a.reading -> b.reading")
        .node("c", "controls.window", limt=3.0)
        .wire("b.average -> c.average")
    )
    assert codes(builder) == ["unknown-type", "bad-param", "unknown-param", "output-unread"]
    with pytest.raises(TopologyError) as caught:
        checked(builder.build())
    assert len(caught.value.problems) == 4


def test_warnings_do_not_refuse():
    builder = TopologyBuilder().node("north", "sources.thermometer")
    assert only(builder).severity == "warning"
    assert checked(builder.build()).name == "greenhouse"


def test_a_node_of_unknown_type_hides_only_its_own_ports():
    builder = greenhouse().node("extra", "models.avrage").wire("north.reading -> extra.reading")
    assert only(builder).fix == "did you mean 'models.average'?"


@pytest.mark.parametrize(
    ("use", "fix"),
    [
        ("model.average", "did you mean 'models.average'?"),
        ("average", "did you mean 'models.average'?"),
        ("sinks.windows", "did you mean 'sinks.window'?"),
        ("controls.windo", "did you mean 'controls.window'?"),
        ("sinks.report", "`pipeline nodes list` shows all of them"),
    ],
)
def test_slips_in_types(use, fix):
    assert only(TopologyBuilder().node("a", use)).fix == fix


@pytest.mark.parametrize(
    ("wire", "fix"),
    [
        ("nort.reading -> mean.reading", "did you mean 'north'?"),
        ("north.readin -> mean.reading", "did you mean 'reading'?"),
        ("north.reading -> mean.readings", "did you mean 'reading'?"),
        ("north.xyz -> mean.reading", "its outputs are: reading, level"),
        ("qqqqq.reading -> mean.reading", "the nodes are: north, mean, control, window"),
    ],
)
def test_a_slip_in_a_wire_is_one_problem(wire, fix):
    builder = greenhouse()
    builder.wires = builder.wires[1:]
    problems = [problem for problem in check(builder.wire(wire).build()) if problem.severity == "error"]
    assert [problem.fix for problem in problems] == [fix]


def test_an_included_node_without_its_prefix_is_found():
    builder = greenhouse().node("east.outside", "sources.thermometer").wire("outside.reading -> mean.correction")
    assert only(builder).fix == "did you mean 'east.outside'?"


def test_an_input_named_as_output_says_so():
    builder = greenhouse().wire("control.average -> mean.correction")
    assert "'average' is an input" in only(builder).message


def test_message_mismatch_names_outputs_that_fit():
    problem = only(greenhouse().wire("control.command -> mean.correction"))
    assert problem.code == "message-mismatch"
    assert "north.reading" in problem.fix


def test_an_input_of_message_takes_everything():
    builder = greenhouse().node("log", "sinks.log").wire("north.level -> log.anything", "mean.average -> log.anything")
    assert codes(builder) == []


def test_message_mismatch_through_a_hub_shows_both_ends():
    builder = (
        greenhouse().hub("air", (6000,), 7000).wire("control.command -> hub:air/now", "hub:air/now -> mean.correction")
    )
    problem = only(builder)
    assert problem.code == "message-mismatch"
    assert problem.notes[0][0] == "written to the hub here"


def test_several_writers_and_duplicates():
    builder = greenhouse().node("south", "sources.thermometer").wire("south.reading -> mean.reading")
    assert codes(builder) == ["several-writers"]
    assert codes(greenhouse().wire("north.reading -> mean.reading")) == ["duplicate-wire"]
    many = greenhouse().node("south", "sources.thermometer")
    many.wire("south.reading -> mean.correction", "north.reading -> mean.correction")
    assert codes(many) == []


def test_several_writers_through_a_hub():
    builder = greenhouse().node("south", "sources.thermometer").hub("air", (6000,), 7000)
    builder.wires = builder.wires[1:]
    builder.wire("north.reading -> hub:air/now", "south.reading -> hub:air/now", "hub:air/now -> mean.reading")
    assert codes(builder) == ["several-writers"]


def test_hub_topics():
    builder = greenhouse().hub("air", (6000,), 7000)
    builder.wire("north.level -> hub:air/level", "hub:air/levels -> mean.correction")
    problem = only(builder)
    assert (problem.code, problem.fix) == ("hub-unwritten", "did you mean 'level'?")
    assert codes(greenhouse().wire("north.level -> hub:air/level")) == ["unknown-hub"]
    assert codes(greenhouse().hub("air", (6000,), 7000).wire("north.level -> hub:air/")) == ["hub-topic"]
    assert codes(greenhouse().hub("air", (6000,), 7000).wire("north.level -> hub:air/x")) == []


@pytest.mark.parametrize("topic", ["a b", "café", "-x", "/x", "x/", "a//b", "a:b", "a" * 65])
def test_topics_of_a_form_that_is_not_allowed(topic):
    builder = greenhouse().hub("air", (6000,), 7000).wire(f"north.level -> hub:air/{topic}")
    assert "hub-topic" in codes(builder)


@pytest.mark.parametrize("topic", ["x", "ETH", "request/hedger", "a.b-c_d/9", "a" * 64])
def test_topics_of_a_form_that_is_allowed(topic):
    assert codes(greenhouse().hub("air", (6000,), 7000).wire(f"north.level -> hub:air/{topic}")) == []


def test_a_topic_from_outside_needs_no_writer_here():
    builder = greenhouse().hub("air", (6000,), 7000, outside=("hint",)).wire("hub:air/hint -> mean.correction")
    assert codes(builder) == []
    unlisted = greenhouse().hub("air", (6000,), 7000, outside=("hints",)).wire("hub:air/hint -> mean.correction")
    (problem,) = check(unlisted.build())
    assert (problem.code, problem.severity) == ("hub-unwritten", "error")
    assert "outside: [hint] in hub 'air'" in problem.fix


def test_what_must_all_arrive_is_not_read_from_a_hub():
    builder = greenhouse().hub("air", (6000,), 7000, outside=("order",)).node("second", "sinks.window")
    assert "hub-reliable" in codes(builder.wire("hub:air/order -> second.command"))


# --- params -------------------------------------------------------------------------------------------------------


def test_a_slip_in_a_required_param_is_not_also_missing():
    builder = greenhouse().node("mean", "models.average", half_live_s=60.0)
    problem = only(builder)
    assert problem.code == "unknown-param"
    assert problem.fix == "did you mean 'half_life_s'? `pipeline nodes show models.average` lists both"


@pytest.mark.parametrize("value", ["warm", True, None, [1.0], -1, 0, float("inf"), float("nan"), "5 apples"])
def test_bad_params(value):
    assert only(greenhouse().node("mean", "models.average", half_life_s=value)).code == "bad-param"


def test_units_are_converted():
    assert codes(greenhouse().node("mean", "models.average", half_life_s="5m")) == []


def test_choices():
    problem = only(greenhouse().node("north", "sources.thermometer", scale="kelvn"))
    assert problem.code == "bad-param"


def test_secrets():
    secret = Setting(SecretRef("SENSOR"), TopologyBuilder()._origin(), secret=True)
    assert codes(greenhouse().node("north", "sources.thermometer", password=secret)) == []
    problem = only(greenhouse().node("north", "sources.thermometer", password="hunter2"))
    assert problem.code == "secret-in-clear"
    assert "hunter2" not in str(problem)
    assert codes(greenhouse().node("north", "sources.thermometer", sensor=secret)) == ["bad-param"]


@pytest.mark.parametrize(
    "value",
    [
        "0x" + "ab" * 32,
        "AB" * 32,
        "-----BEGIN EC PRIVATE KEY-----",
        "https://me:hunter2@example.org",
        "wss://host/v3/0123456789abcdef0123456789abcdef",
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_printed(value):
    problem = only(greenhouse().node("north", "sources.thermometer", sensor=value))
    assert problem.code == "secret-in-clear"
    assert value not in str(problem)


@pytest.mark.parametrize("value", ["0x" + "ab" * 20, "https://example.org/v3/short", "ab" * 33])
def test_what_is_no_secret_passes(value):
    assert codes(greenhouse().node("north", "sources.thermometer", sensor=value)) == []


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("tcp://127.0.0.1:1", []),
        ("tcp://localhost:1", []),
        ("tcp://[::1]:1", []),
        ("ipc:///tmp/x", []),
        ("tcp://10.0.0.1:1", ["plain-tcp"]),
        ("tcp://0.0.0.0:1", ["plain-tcp"]),
        ("tcp://*:1", ["plain-tcp"]),
        ("tcp://127.0.0.1.evil.org:1", ["plain-tcp"]),
    ],
)
def test_plain_tcp(address, found):
    assert codes(greenhouse().node("north", "sources.thermometer", address=address)) == found


# --- policies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "policy", "found"),
    [
        ("control.command -> window.command", {"kind": "conflate"}, ["policy-lossy"]),
        ("control.command -> window.command", {"kind": "drop_oldest", "n": 3}, ["policy-lossy"]),
        ("control.command -> window.command", {"ttl_s": 3.0}, ["policy-lossy"]),
        ("control.command -> window.command", {"kind": "block"}, []),
        ("mean.average -> control.average", {"kind": "drop_oldest", "n": 3}, ["policy-refused"]),
        ("mean.average -> control.average", {"kind": "conflate", "by": "sensor"}, []),
        ("mean.average -> control.average", {"kind": "conflate", "by": "senser"}, ["policy-fields"]),
        ("mean.average -> control.average", {"by": "sensor"}, ["policy-fields"]),
        ("mean.average -> control.average", {"n": 3}, ["policy-fields"]),
        ("mean.average -> control.average", {"ttl_s": 0.0}, ["policy-fields"]),
        ("north.reading -> mean.reading", {"by": "celsius"}, []),
        ("north.reading -> mean.reading", {"kind": "drop_oldest"}, ["policy-fields"]),
        ("north.reading -> mean.reading", {"kind": "drop_oldest", "n": 0}, ["policy-fields"]),
    ],
)
def test_policies(line, policy, found):
    builder = greenhouse()
    builder.wires = [wire for wire in builder.wires if f"{wire.source} -> {wire.target}" != line]
    assert codes(builder.wire(line, **policy)) == found


def test_an_input_of_any_message_is_judged_by_what_it_is_sent():
    builder = greenhouse().node("log", "sinks.log")
    assert "NODE.OUTPUT" in only(builder).fix
    assert codes(builder.wire("control.command -> log.anything", kind="conflate")) == ["policy-lossy"]
    builder = greenhouse().node("log", "sinks.log").wire("north.reading -> log.anything", kind="conflate", by="sensor")
    assert codes(builder) == []
    assert codes(builder.wire("mean.average -> log.anything", kind="conflate", by="litres")) == ["policy-fields"]


# --- loops --------------------------------------------------------------------------------------------------------


def test_a_loop_is_named_from_its_first_node():
    problem = only(greenhouse().wire("mean.average -> mean.correction"))
    assert problem.code == "cycle"
    assert "mean.average -> mean" in problem.message
    assert problem.fix.endswith("feedback: [mean.average -> mean.correction]")


def test_each_loop_is_one_problem_and_naming_all_of_them_is_enough():
    builder = greenhouse().node("second", "models.average", half_life_s=1.0)
    builder.wire("mean.average -> second.reading", "second.average -> mean.correction")
    builder.wire("window.done -> control.done")
    problems = check(builder.build())
    assert [problem.code for problem in problems] == ["cycle", "cycle"]
    builder.feedback("second.average -> mean.correction", "window.done -> control.done")
    assert codes(builder) == []


def test_a_loop_through_a_hub_is_named_at_any_of_its_wires():
    for line in (
        "second.average -> hub:means/second",
        "hub:means/second -> mean.correction",
        "second.average -> mean.correction",
    ):
        builder = greenhouse().hub("means", (6000,), 7000).node("second", "models.average", half_life_s=60.0)
        builder.wire("mean.average -> second.reading", "second.average -> hub:means/second")
        builder.wire("hub:means/second -> mean.correction")
        assert codes(builder) == ["cycle"]
        assert codes(builder.feedback(line)) == []


def test_a_slip_in_feedback_is_one_problem():
    builder = greenhouse().wire("window.done -> control.done").feedback("window.don -> control.done")
    assert only(builder).fix == "did you mean 'window.done -> control.done'?"


def test_needless_feedback():
    assert codes(greenhouse().feedback("north.reading -> mean.reading")) == ["feedback-needless"]
    twice = greenhouse().wire("window.done -> control.done")
    assert codes(twice.feedback("window.done -> control.done", "window.done -> control.done")) == ["feedback-needless"]


# --- placement ----------------------------------------------------------------------------------------------------


def test_placement():
    assert codes(greenhouse().process("all", ("north", "mean", "control", "window"))) == []
    assert codes(greenhouse().process("all", ("north", "mean", "control"))) == ["node-unplaced"]
    both = greenhouse().process("one", ("north", "mean", "control", "window")).process("two", ("north",))
    assert codes(both) == ["node-placed-twice"]
    slip = greenhouse().process("one", ("nort", "mean", "control", "window"))
    assert only(slip).fix == "did you mean 'north'?"
    glob = greenhouse().process("one", ("north", "mean", "control", "window"), patterns=("*", "south.*"))
    assert codes(glob) == ["pattern-empty"]


def test_port_numbers():
    assert codes(greenhouse().hub("a", (6000, 6001), 7000).hub("b", (6001,), 7001)) == ["endpoint-collision"]
    assert codes(greenhouse().hub("a", (6000,), 6000)) == ["endpoint-collision"]
    page = greenhouse().node("north", "sources.thermometer", port=6000).hub("a", (6000,), 7000)
    assert codes(page) == ["endpoint-collision"]


def test_port_held_by_a_program_is_found_online_only():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        builder = greenhouse().node("north", "sources.thermometer", port=port)
        assert codes(builder) == []
        assert "(pid " in only(builder, offline=False).message


# --- rules and places ---------------------------------------------------------------------------------------------


def test_rules_run_on_a_graph_with_right_names_only():
    def never_warm(graph: Graph):
        for link in graph.into("control", "average"):
            yield problem_at("never-warm", f"{link} is {graph.kind(link.source)}", link.wire)

    rules = [Rule("never-warm", "No control.", never_warm)]
    assert only(greenhouse(), rules=rules).message == "mean.average -> control.average is models"
    assert codes(greenhouse().wire("nort.reading -> mean.correction"), rules=rules) == ["unknown-node"]
    assert "never-warm" in all_codes(rules)


def test_includes_show_both_places():
    used = Place("main.yaml", 7, 3)
    builder = greenhouse().node("extra", "models.nothing_like_it", used=(used,))
    assert only(builder).notes == (("used here", used),)


def test_a_broken_node_file_is_a_problem_of_its_use():
    problem = only(greenhouse().node("bad", "sinks.broken"))
    assert problem.code == "broken-type"
    assert "on_reading" in problem.message
    assert only(greenhouse().node("bad", "sinks._helper")).code == "unknown-type"
