"""Nodes, wires, hubs, processes, loops and variants: what each becomes, and what is refused where."""

# ruff: noqa: E501  a refusal and its exact text stand on one line

import pytest
from support.loading import Project

from engine.errors import Place
from engine.topology.model import HubDecl, OnStale, Origin, Policy, PortRef, Restart

HEAD = "topology: t\n"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def loaded(project, text, *sets):
    project.write("t.yaml", HEAD + text)
    return project.load(*sets)


def test_writers_in_declared_order(project):
    topology = loaded(
        project,
        """nodes:
  a: {use: x.y}
  b:
    use: x.y
    in:
      one: a.o
      many: ["hub:m/ETH", {from: a.o, policy: drop_oldest, n: 5}, {from: a.p, policy: conflate, by: key, ttl: 500ms, on_stale: {after: 1m, action: hold}}]
    out: {o: "hub:m/x", p: ["hub:m/y", "hub:m/z"]}
""",
    )
    assert [(str(w.source), str(w.target), w.rank, w.policy) for w in topology.wires] == [
        ("a.o", "b.one", 0, Policy()),
        ("hub:m/ETH", "b.many", 0, Policy()),
        ("a.o", "b.many", 1, Policy("drop_oldest", n=5)),
        ("a.p", "b.many", 2, Policy("conflate", by="key", ttl_s=0.5, on_stale=OnStale(60.0, "hold"))),
        ("b.o", "hub:m/x", 0, Policy()),
        ("b.p", "hub:m/y", 0, Policy()),
        ("b.p", "hub:m/z", 0, Policy()),
    ]
    assert topology.wires[1].source == PortRef("m", "ETH", hub=True)


def test_feedback_is_marked_on_the_wire(project):
    topology = loaded(
        project,
        """nodes:
  a: {use: x.y, in: {i: b.o}}
  b: {use: x.y, in: {i: a.o, h: "hub:m/t"}, out: {p: "hub:m/t"}}
feedback: [b.o -> a.i, b.p -> b.h]
""",
    )
    assert [str(wire.target) for wire in topology.wires if wire.feedback] == ["a.i", "b.h"]


def test_hubs_and_processes(project):
    topology = loaded(
        project,
        """hubs:
  m: {publish: [6000, 6001], subscribe: 7000, codec: json}
  n: {publish: [6002], subscribe: 7001}
nodes: {a: {use: x.y}, b: {use: x.y}, c.d: {use: x.y}}
processes:
  one: {nodes: [b, a], restart: {policy: always, max: 3, window: 2m}, memory: 512MiB, cpus: 0.5}
  two: ["c.*", nope]
""",
    )
    at = Origin(Place(f"{project.folder}/t.yaml", 3, 3))
    assert topology.hubs["m"] == HubDecl("m", (6000, 6001), 7000, "json", at)
    assert topology.hubs["n"].codec == "msgpack"
    one, two = topology.processes.values()
    assert one.nodes == ("a", "b")
    assert (one.restart, one.memory_bytes, one.cpus) == (Restart("always", 3, 120.0), 512 << 20, 0.5)
    assert two.nodes == ("c.d",)
    assert [pattern for pattern, _ in two.patterns] == ["c.*", "nope"]
    assert two.restart == Restart()


class TestLoops:
    def test_ids(self, project):
        topology = loaded(
            project,
            """params: {venues: {type: list, default: [{name: b, fee: 1}, {name: d, fee: 2}]}}
nodes:
  q: {use: x.y, for_each: {v: [eth, btc]}, params: {pair: "${v}-usd"}}
  f: {use: x.y, for_each: {v: "${venues}"}, as: "${v.name}.fees", params: {fee: "${v.fee}", all: "${v}"}}
  g: {use: x.y, for_each: {v: "${venues}", s: [long, short]}, as: "g_${v.name}_${s}"}
""",
        )
        assert list(topology.nodes) == [
            "q_eth", "q_btc", "b.fees", "d.fees", "g_b_long", "g_b_short", "g_d_long", "g_d_short"
        ]  # fmt: skip
        assert topology.nodes["q_btc"].params["pair"].value == "btc-usd"
        assert topology.nodes["d.fees"].params["fee"].value == 2
        assert topology.nodes["d.fees"].params["all"].value == {"name": "d", "fee": 2}

    def test_the_element_is_part_of_the_origin(self, project):
        topology = loaded(project, "nodes:\n  q: {use: x.y, for_each: {v: [eth, btc]}}\n")
        file = f"{project.folder}/t.yaml"
        assert topology.nodes["q_btc"].origin == Origin(Place(file, 3, 3), (Place(file, 3, 37),))

    def test_defaults_of_params_do_not_see_the_loop(self, project):
        project.write(
            "t.yaml",
            HEAD
            + "params: {p: {type: str, default: '${v}'}}\nnodes: {n: {use: x.y, for_each: {v: [a]}, params: {x: '${p}'}}}\n",
        )
        assert project.lines() == ["t.yaml:2:34 unknown-reference: there is no 'v' to refer to"]

    @pytest.mark.parametrize(
        ("node", "lines"),
        [
            ("{use: x.y, for_each: {v: [a, a]}}", ["2:9 duplicate-node: two nodes have the id 'n_a'"]),
            ("{use: x.y, for_each: {v: [a, b]}, as: m}", ["2:9 duplicate-node: two nodes have the id 'm'"]),
            ("{use: x.y, for_each: {v: [1]}}", ["2:12 bad-id: the nodes of 'n' have no id of their own"]),
            ("{use: x.y, for_each: {v: [A-B]}}", ["2:12 bad-id: 'n_A-B' cannot be the id of a node"]),
            ("{use: x.y, for_each: {v: []}}", ["2:37 empty-loop: the list 'v' of node 'n' is empty"]),
            ("{use: x.y, for_each: {v: abc}}", ["2:37 wrong-kind: the list 'v' of node 'n' must be a list, not text ('abc')"]),
            ("{use: x.y, for_each: [a]}", ["2:33 wrong-kind: 'for_each' of node 'n' must be a mapping, not a list"]),
            ("{use: x.y, for_each: {p: [a]}}", ["2:34 bad-name: loop name 'p' is taken"]),
            ("{use: x.y, as: m}", ["2:23 unknown-key: node 'n' has an 'as' but no 'for_each'"]),
        ],
    )  # fmt: skip
    def test_refusals(self, project, node, lines):
        project.write("t.yaml", f"{HEAD}nodes: {{n: {node}}}\nparams: {{p: {{type: int, default: 1}}}}\n")
        assert project.lines() == [f"t.yaml:{line}" for line in lines]

    def test_turns_are_bounded(self, project):
        names = ", ".join(f"a{i}" for i in range(40))
        project.write(
            "t.yaml",
            f"{HEAD}nodes: {{n: {{use: x.y, for_each: {{v: [{names}], w: [{names}]}}, as: '${{v}}_${{w}}'}}}}\n",
        )
        assert project.lines() == [
            "t.yaml:2:33 expansion-limit: node 'n' is repeated 1,600 times; at most 1,000 are possible"
        ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("nodes: {N: {use: x.y}}", ["2:9 bad-id: 'N' cannot be the id of a node"]),
        ("nodes: {a_: {use: x.y}, _1: {use: x.y}}", ["2:25 bad-id: '_1' cannot be the id of a node"]),
        ("nodes: {a: null}", ["2:12 wrong-kind: node 'a' must be a mapping, not nothing"]),
        ("nodes: {a: {}}", ["2:9 missing-key: node 'a' names no type"]),
        ("nodes: {a: {usse: x.y}}", ["2:13 unknown-key: node 'a' has no key 'usse'"]),
        ("nodes: {a: {use: 5}}", ["2:18 wrong-kind: 'use' of node 'a' must be text, not a number ('5')"]),
        ("nodes: {a: {use: x.y, params: [1]}}", ["2:31 wrong-kind: 'params' of node 'a' must be a mapping, not a list"]),
        ("nodes: [a]", ["2:8 wrong-kind: 'nodes' must be a mapping, not a list"]),
        ("nodes: {a: {use: x.y, in: {i: b}}}", ["2:31 bad-port: input 'i' of node 'a': 'b' names no port"]),
        ("nodes: {a: {use: x.y, in: {i: 'hub:m x'}}}", ["2:31 bad-port: input 'i' of node 'a': 'hub:m x' names no port"]),
        ("nodes: {a: {use: x.y, in: {i: [5]}}}", ["2:32 wrong-kind: input 'i' of node 'a' must be text, not a number ('5')"]),
        ("nodes: {a: {use: x.y, in: {i: {policy: block}}}}", ["2:31 missing-key: input 'i' of node 'a' names no writer"]),
        ("nodes: {a: {use: x.y, in: {i: {from: a.o, policy: latest}}}}", ["2:51 bad-value: policy of input 'i' of node 'a' cannot be 'latest'"]),
        ("nodes: {a: {use: x.y, in: {i: {from: a.o, n: 0}}}}", ["2:46 bad-value: 'n' of input 'i' of node 'a' needs a whole number of at least 1, got '0'"]),
        ("nodes: {a: {use: x.y, in: {i: {from: a.o, ttl: 0s}}}}", ["2:48 bad-value: 'ttl' of input 'i' of node 'a' must be above 0, got 0"]),
        ("nodes: {a: {use: x.y, in: {i: {from: a.o, ttl: 5 bps}}}}", ["2:48 bad-value: 'ttl' of input 'i' of node 'a' needs s (time), got bps (fraction); use one of s, ns, us, µs, ms, m, min, h, d"]),
        ("nodes: {a: {use: x.y, in: {i: {from: a.o, on_stale: {after: 1s}}}}}", ["2:53 missing-key: 'on_stale' of input 'i' of node 'a' has no 'action'"]),
        ("nodes: {a: {use: x.y, in: {i: {frm: a.o}}}}", ["2:32 unknown-key: a writer of input 'i' of node 'a' has no key 'frm'"]),
        ("nodes: {a: {use: x.y, out: {o: b.i}}}", ["2:32 out-not-hub: output 'o' of node 'a' leads to 'b.i', but outputs are written to hubs only"]),
        ("nodes: {a: {use: '${secret:X}'}}", ["2:18 secret-misplaced: 'use' of node 'a' cannot come from a secret"]),
        ("nodes: {'${x}': {use: x.y}}", ["2:9 reference-in-key: key '${x}' holds a reference"]),
        ("hubs: {m: {publish: [6000]}}", ["2:8 missing-key: hub 'm' has no 'subscribe'"]),
        ("hubs: {m: {publish: 6000, subscribe: 7000}}", ["2:21 wrong-kind: 'publish' of hub 'm' must be a list, not a number ('6000')"]),
        ("hubs: {m: {publish: [70000], subscribe: 7000}}", ["2:22 bad-value: a port of hub 'm' needs a whole number from 1 to 65535, got '70000'"]),
        ("hubs: {m: {publish: [1], subscribe: 7000, codec: xml}}", ["2:50 bad-value: 'codec' of hub 'm' cannot be 'xml'"]),
        ("feedback: [a.b]", ["2:12 bad-port: 'a.b' names no wire"]),
        ("feedback: [a.b -> c.d -> e.f]", ["2:12 bad-port: 'a.b -> c.d -> e.f' names no wire"]),
        ("feedback: {a.b: c.d}", ["2:11 wrong-kind: 'feedback' must be a list, not a mapping"]),
        ("processes: {p: {memory: 1GiB}}", ["2:13 missing-key: process 'p' has no 'nodes'"]),
        ("processes: {p: {nodes: [a], memory: lots}}", ["2:37 bad-value: 'memory' of process 'p' needs a number in B, such as '5 B', got 'lots'"]),
        ("processes: {p: {nodes: [a], cpus: -1}}", ["2:35 bad-value: 'cpus' of process 'p' must be above 0, got -1"]),
        ("processes: {p: {nodes: [a], restart: {policy: alwys}}}", ["2:47 bad-value: 'policy' of process 'p' cannot be 'alwys'"]),
        ("variants: {v: {set: {q: 1}}}", ["2:22 unknown-param: variant 'v' sets 'q', which is no param"]),
        ("variants: {v: {set: {q.x: 1}}}", ["2:22 unknown-node: variant 'v' sets a param of node 'q', which is not there"]),
        ("variants: {v: {about: x}}", ["2:12 missing-key: variant 'v' sets nothing"]),
        ("ports: {inn: {}}", ["2:9 unknown-key: 'ports' has no key 'inn'"]),
        ("node: {}", ["2:1 unknown-key: a topology has no key 'node'"]),
    ],
)  # fmt: skip
def test_refusals(project, text, lines):
    project.write("t.yaml", HEAD + text)
    assert project.lines() == [f"t.yaml:{line}" for line in lines]


def test_the_name(project):
    project.write("t.yaml", "nodes: {}\n")
    assert project.lines() == ["t.yaml:1:1 missing-key: the topology has no name"]
    project.write("t.yaml", "topolgy: t\n")
    assert project.lines() == ["t.yaml:1:1 unknown-key: a topology has no key 'topolgy'"]
    project.write("t.yaml", "topology: a b\n")
    assert project.lines() == ["t.yaml:1:11 bad-name: 'a b' cannot be the name of a topology"]


def test_choices_are_told(project):
    project.write("t.yaml", HEAD + "nodes: {a: {use: x.y, in: {i: {from: a.o, policy: conflat}}}, b: {uze: x}}\n")
    policy, key = project.problems()
    assert policy.fix == "did you mean 'conflate'? choose one of: block, conflate, drop_oldest, reliable"
    assert key.fix == "did you mean 'use'? its keys: use, about, params, in, out, for_each, as"


def test_variants(project):
    topology = loaded(
        project,
        """params: {fee: {type: int, default: 1}}
nodes: {a: {use: x.y}}
variants:
  dear: {about: Costs more., set: {fee: 9, a.size: 2, nodes.a.params.depth: [1]}}
""",
    )
    assert topology.variants["dear"].set == {"fee": 9, "a.size": 2, "nodes.a.params.depth": [1]}
    assert topology.variants["dear"].about == "Costs more."
    project.write("t.yaml", HEAD + "params: {fee: {type: int, default: 1}}\nvariants: {v: {set: {fee: x}}}\n")
    assert project.lines() == ["t.yaml:3:27 bad-param: param 'fee' needs a whole number, got the text 'x'"]


def test_many_mistakes_at_once(project):
    project.write(
        "t.yaml", HEAD + "nodes: {a: {use: 5, in: {i: b}}, b: {}}\nhubs: {m: 1}\nfeedback: [x]\nprocesses: {p: 1}\n"
    )
    assert [line.split(" ")[1] for line in project.lines()] == [
        "wrong-kind:", "bad-port:", "missing-key:", "wrong-kind:", "bad-port:", "wrong-kind:"
    ]  # fmt: skip
