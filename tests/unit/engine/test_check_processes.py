"""Checks of wires between processes and machines, of addresses in the open, and of units within lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loading import Project
from support.packages import only_packages

from engine import Node, param
from engine.topology import check_params
from engine.topology.check import check
from engine.topology.plan import typed_value
from engine.topology.rules import Graph

NODES = """
  north: {use: sources.thermometer}
  mean: {use: models.average, in: {reading: north.reading}, params: {half_life_s: 5m}}
  control:
    use: controls.window
    in: {average: {from: mean.average, on_stale: {after: 5m, action: close}}}
  window: {use: sinks.window, in: {command: %s}}
"""


@pytest.fixture(autouse=True)
def sample_nodes():
    with only_packages("support.sample_nodes"):
        yield


def found(folder: Path, rest: str, command: str = "control.command") -> list[str]:
    project = Project(folder)
    project.write("t.yaml", f"topology: t\nnodes:{NODES % command}{rest}\n")
    return [project.line(problem).partition(" ")[2] for problem in check(project.load())]


def test_block_may_hold_within_a_process_and_not_between_two(tmp_path):
    command = "{from: control.command, policy: block}"
    assert found(tmp_path, "processes: {p: [north, mean, control, window]}", command) == []
    (line,) = found(tmp_path, "processes: {p: [north, mean, control], q: [window]}", command)
    assert line.startswith("policy-unacknowledged: Command on control.command -> window.command must arrive")
    assert found(tmp_path, "processes: {p: [north, mean, control], q: [window]}") == []


KEYS = "run: {keys: keys}"
P = "p: {nodes: [north, mean, control], machine: house%s}"
Q = "q: {nodes: [window], machine: garden%s}"


@pytest.mark.parametrize(
    ("listen_p", "listen_q", "without"),
    [
        ("", "", ["q", "p"]),
        (", listen: 'tcp://127.0.0.1:7100'", "", ["q"]),
        ("", ", listen: 'tcp://127.0.0.1:7101'", ["p"]),
    ],
)
def test_both_ends_of_a_wire_between_machines_need_an_address(tmp_path, listen_p, listen_q, without):
    lines = found(tmp_path, f"processes: {{{P % listen_p}, {Q % listen_q}}}\n{KEYS}")
    assert all(line.startswith("machine-unreachable: control.command -> window.command leads") for line in lines)
    assert sorted(line.partition("and process ")[2][:3] for line in lines) == sorted(map(repr, without))


def test_machines_with_addresses_are_right_and_may_use_the_same_port(tmp_path):
    listen = ", listen: 'tcp://127.0.0.1:7100'"
    assert found(tmp_path, f"processes: {{{P % listen}, {Q % listen}}}\n{KEYS}") == []


def test_the_same_port_twice_on_one_machine_is_refused(tmp_path):
    listen = "listen: 'tcp://127.0.0.1:7100'"
    rest = f"processes: {{p: {{nodes: [north, mean, control], {listen}}}, q: {{nodes: [window], {listen}}}}}\n{KEYS}"
    assert found(tmp_path, rest) == ["endpoint-collision: port 7100 is used by process 'p' and by process 'q'"]


def test_an_address_needs_keys(tmp_path):
    rest = "processes: {p: {nodes: [north, mean, control, window], listen: 'tcp://10.0.0.5:7100'}}\n"
    rest += "hubs: {air: {publish: [6000], subscribe: 7000, listen: 127.0.0.1}}\n"
    assert sorted(line.partition(",")[0] for line in found(tmp_path, rest)) == [
        "plain-tcp: hub 'air' listens on 127.0.0.1",
        "plain-tcp: process 'p' listens on tcp://10.0.0.5:7100",
    ]
    assert found(tmp_path, rest + KEYS) == []


def test_a_hub_of_another_machine_needs_an_address(tmp_path):
    rest = f"""
  log: {{use: sinks.log, in: {{anything: "hub:air/level"}}}}
  south: {{use: sources.thermometer, out: {{level: "hub:air/level"}}}}
hubs: {{air: {{publish: [6000], subscribe: 7000, machine: house%s}}}}
processes: {{{P % ", listen: 'tcp://127.0.0.1:7100'"}, {Q % ", listen: 'tcp://127.0.0.1:7101'"},
  r: {{nodes: [log], machine: garden%s}}, s: {{nodes: [south], machine: house%s}}}}
{KEYS}"""
    addresses = ", listen: 'tcp://127.0.0.1:7102'", ", listen: 'tcp://127.0.0.1:7103'"
    lines = [line for line in found(tmp_path, rest % ("", *addresses)) if not line.startswith("output-unread")]
    assert len(lines) == 1
    assert "hub 'air' on machine 'house' has no address there" in lines[0]
    lines = found(tmp_path, rest % (", listen: 127.0.0.1", *addresses))
    assert [line for line in lines if not line.startswith("output-unread")] == []
    lines = found(tmp_path, rest % (", listen: 127.0.0.1", "", ""))
    assert sorted(line.partition("and process ")[2][:3] for line in lines if "and process" in line) == ["'r'", "'s'"]


def test_reliable_does_not_hold_through_a_hub(tmp_path):
    rest = """
  log: {use: sinks.log, in: {anything: {from: "hub:air/level", policy: reliable}}}
  south: {use: sources.thermometer, out: {level: "hub:air/level"}}
hubs: {air: {publish: [6000], subscribe: 7000}}"""
    lines = [line for line in found(tmp_path, rest) if not line.startswith("output-unread")]
    assert lines == ["hub-reliable: log.anything reads hub:air/level, but its policy is reliable: hubs carry copies"]


def test_a_topology_without_nodes_is_none(tmp_path):
    project = Project(tmp_path)
    project.write("t.yaml", "topology: t\n")
    assert [problem.code for problem in check(project.load())] == ["no-nodes"]


class Waits(Node):
    """A type with a list in seconds."""

    waits: list[float] = param(unit="s", minimum=0, doc="How long to wait, one after the other.")


@pytest.mark.parametrize(
    ("value", "codes", "typed"),
    [
        ("[1, 2m, 500 ms]", [], [1.0, 120.0, 0.5]),
        ('[1, "${ms}"]', ["unit-mismatch"], None),
        ('"${list_ms}"', ["unit-mismatch"], None),
        ('[1, "${s}"]', [], [1.0, 3.0]),
        ('["${list_ms}", 1]', ["bad-param"], None),
        ("[1, 5 bps]", ["bad-param"], None),
        ("[-1s]", ["bad-param"], None),
    ],
)
def test_numbers_within_lists_have_units_too(tmp_path, value, codes, typed):
    project = Project(tmp_path)
    project.write(
        "t.yaml",
        f"""topology: t
params:
  ms: {{type: float, default: 500, unit: ms}}
  s: {{type: float, default: 3, unit: s}}
  list_ms: {{type: list, default: [500, 600], unit: ms}}
nodes: {{n: {{use: x.y, params: {{waits: {value}}}}}}}
""",
    )
    topology = project.load()
    found = check_params.problems(Graph(topology, {"n": Waits.spec}))
    assert sorted({problem.code for problem in found}) == codes
    if typed is not None:
        assert typed_value(Waits.spec.params["waits"], topology.nodes["n"].params["waits"], tmp_path) == typed
