"""The `run` section and what a process may say of itself: read, printed, read again, and what each refusal says."""

# ruff: noqa: E501  a refusal and its exact text stand on one line

from __future__ import annotations

import pytest
from support.loading import Project

from engine.topology.flat import as_yaml, differences, flatten
from engine.topology.model import LogOptions, Restart, RunOptions, TcpAddress

HEAD = "topology: t\nnodes: {a: {use: x.y}, b: {use: x.y}}\n"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_what_is_not_written_has_its_default(project):
    project.write("t.yaml", HEAD + "processes: {p: [a], q: [b]}\n")
    topology = project.load()
    assert topology.run == RunOptions(None, True, 500 << 20, None, None, LogOptions("info", 16 << 20, 5), None)
    process = topology.processes["p"]
    assert (process.files, process.start_timeout_s, process.liveness_s, process.listen, process.machine) == (None,) * 5
    assert process.restart == Restart("on_failure", 5, 600.0, "halt")


def test_everything_is_read_and_survives_being_printed(project):
    project.write(
        "desk/t.yaml",
        """topology: t
params: {here: {type: str, default: house}}
nodes: {a: {use: x.y}, b: {use: x.y}}
hubs: {m: {publish: [6000], subscribe: 7000, listen: 10.0.0.5, machine: house}}
run:
  {speed: 60, record: false, free_disk: 1GiB, disk: 20GiB, keep_runs: 50GiB, keys: ../keys,
   log: {level: debug, size: 1MiB, keep: 0}}
processes:
  p: {nodes: [a], restart: {then: go_on}, files: 256, start_timeout: 2m, liveness: 1.5, machine: "${here}",
      listen: "tcp://10.0.0.5:7100"}
  q: {nodes: [b], machine: garden, listen: "tcp://[fd00::1]:7100"}
""",
    )
    topology = project.load()
    keys = str(project.folder / "keys")
    log = LogOptions("debug", 1 << 20, 0)
    assert topology.run == RunOptions(60.0, False, 1 << 30, 20 << 30, 50 << 30, log, keys)
    p, q = topology.processes.values()
    assert (p.files, p.start_timeout_s, p.liveness_s, p.machine, p.restart.then) == (256, 120.0, 1.5, "house", "go_on")
    assert p.listen == TcpAddress("10.0.0.5", 7100)
    assert str(q.listen) == "tcp://[fd00::1]:7100"
    assert (topology.hubs["m"].host, topology.hubs["m"].machine) == ("10.0.0.5", "house")
    again = Project(project.folder / "elsewhere")
    again.write("flat.yaml", as_yaml(flatten(topology)))
    assert again.load().run == topology.run
    assert flatten(again.load()).data == flatten(topology).data
    assert "run:  " in as_yaml(flatten(topology), origins=True)


def test_an_overlay_changes_one_fact_and_diff_shows_it(project):
    project.write("t.yaml", HEAD + "run: {speed: 60, log: {level: debug}}\nprocesses: {p: {nodes: [a, b]}}\n")
    project.write("fast.yaml", "run: {speed: 600}\nprocesses: {p: {files: 128}}\n")
    before, after = project.load(), project.load(overlays=("fast.yaml",))
    assert after.run.log.level == "debug"
    assert [str(one) for one in differences(flatten(before), flatten(after))] == [
        "~ run.speed: 60.0 -> 600.0",
        "+ processes.p.files: 128",
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("run: 5", ["3:6 wrong-kind: 'run' must be a mapping, not a number ('5')"]),
        ("run: {sped: 5}", ["3:7 unknown-key: 'run' has no key 'sped'"]),
        ("run: {speed: 0}", ["3:14 bad-value: 'speed' of 'run' must be above 0, got 0"]),
        ("run: {speed: 1e9}", ["3:14 bad-value: 'speed' of 'run' must be at most 1e+06, got '1000000000.0'"]),
        ("run: {record: 1}", ["3:15 wrong-kind: 'record' of 'run' must be true or false, not a number ('1')"]),
        ("run: {free_disk: 5}", ["3:18 bad-value: 'free_disk' of 'run' is 5 bytes; it must be at least 1MiB"]),
        ("run: {log: {level: loud}}", ["3:20 bad-value: 'level' of 'log' cannot be 'loud'"]),
        ("run: {log: {size: 1KiB}}", ["3:19 bad-value: 'size' of 'log' is 1024 bytes; it must be at least 4KiB"]),
        ("run: {keys: ''}", ["3:13 bad-value: 'keys' of 'run' names no folder"]),
        ("run: {keys: '${secret:K}'}", ["3:13 secret-misplaced: 'keys' of 'run' cannot come from a secret"]),
        ("processes: {p: {nodes: [a], memory: 5}}", ["3:37 bad-value: 'memory' of process 'p' is 5 bytes; it must be at least 32MiB"]),
        ("processes: {p: {nodes: [a], memory: 1MiB}}", ["3:37 bad-value: 'memory' of process 'p' is 1048576 bytes; it must be at least 32MiB"]),
        ("processes: {p: {nodes: [a], memory: true}}", ["3:37 wrong-kind: 'memory' of process 'p' must be a number, or text with its unit, not true or false ('True')"]),
        ("processes: {p: {nodes: [a], cpus: 2000}}", ["3:35 bad-value: 'cpus' of process 'p' must be at most 1024, got '2000'"]),
        ("processes: {p: {nodes: [a], files: 3}}", ["3:36 bad-value: 'files' of process 'p' needs a whole number of at least 64, got '3'"]),
        ("processes: {p: {nodes: [a], liveness: 5 bps}}", ["3:39 bad-value: 'liveness' of process 'p' needs s (time), got bps (fraction); use one of s, ns, us, µs, ms, m, min, h, d"]),
        ("processes: {p: {nodes: [a], restart: {then: explode}}}", ["3:45 bad-value: 'then' of process 'p' cannot be 'explode'"]),
        ("processes: {p: {nodes: [a], machine: ../x}}", ["3:38 bad-name: '../x' cannot be the name of a machine"]),
        ("processes: {p: {nodes: []}}", ["3:24 bad-value: process 'p' hosts no node"]),
        ("processes: {p: []}", ["3:16 bad-value: process 'p' hosts no node"]),
        ("processes: {hubs: [a]}", ["3:13 bad-name: 'hubs' cannot be the name of a process: it means the process of the hubs"]),
        ("processes: {supervisor: [a]}", ["3:13 bad-name: 'supervisor' cannot be the name of a process: it means the process that watches over the others"]),
        ("hubs: {m: {publish: [], subscribe: 7000}}", ["3:21 bad-value: 'publish' of hub 'm' has no port"]),
        ("hubs: {m: {publish: [6000], subscribe: 7000, listen: everywhere}}", ["3:54 bad-value: 'listen' of hub 'm' cannot be 'everywhere'"]),
    ],
)  # fmt: skip
def test_refusals(project, text, lines):
    project.write("t.yaml", HEAD + text)
    assert project.lines() == [f"t.yaml:{line}" for line in lines]


def test_a_number_of_bytes_is_asked_for_its_unit(project):
    project.write("t.yaml", HEAD + "processes: {p: {nodes: [a], memory: 512}}")
    assert project.problems()[0].fix == "write the unit, as in 512MiB"


@pytest.mark.parametrize(
    "address",
    ["10.0.0.5:7100", "tcp://desk:7100", "tcp://10.0.0.5", "tcp://10.0.0.5:0", "tcp://10.0.0.5:70000", "tcp://*:7100",
     "tcp://0.0.0.0:7100", "tcp://[::]:7100", "tcp://10.0.0.555:7100", "tcp://10.0.0.5:7100/x", "ipc:///tmp/x"],
)  # fmt: skip
def test_only_an_address_that_others_can_reach_will_do(project, address):
    project.write("t.yaml", HEAD + f"processes: {{p: {{nodes: [a], listen: '{address}'}}}}")
    (problem,) = project.problems()
    assert (problem.code, problem.message) == ("bad-value", f"'listen' of process 'p' cannot be {address!r}")


def test_included_files_say_nothing_of_the_run(project):
    project.write("t.yaml", "topology: t\ninclude: [{file: part.yaml, as: east}]\n")
    project.write("part.yaml", "nodes: {a: {use: x.y}}\nrun: {speed: 5}\n")
    assert project.lines() == [
        "part.yaml:2:1 root-only: what holds for the run belongs to the topology itself, not to a file that it includes"
    ]
