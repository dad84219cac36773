"""Parameters and references: types, units, scopes, escapes, and what each refusal says."""

# ruff: noqa: E501  a refusal and its exact text stand on one line

import pytest
from support.loading import Project

from engine.errors import Place
from engine.topology.model import SecretRef, SecretText


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def one_node(params="", value="1"):
    return f"topology: t\nparams:\n{params}\nnodes:\n  n: {{use: a.b, params: {{x: {value}}}}}\n"


def value_of(project, *sets, env=None):
    return project.load(*sets, env=env).nodes["n"].params["x"].value


@pytest.mark.parametrize(
    ("declaration", "written", "value"),
    [
        ("{type: int, default: 5}", '"${p}"', 5),
        ("{type: float, default: 5}", '"${p}"', 5.0),
        ("{type: bool, default: false}", '"${p}"', False),
        ("{type: str, default: '5'}", '"${p}"', "5"),
        ("{type: list, default: [1, {a: 2}]}", '"${p}"', [1, {"a": 2}]),
        ("{type: map, default: {a: {b: [7]}}}", '"${p.a.b.0}"', 7),
        ("{type: map, default: {a: {b: [7]}}}", '"${p.a}"', {"b": [7]}),
        ("{type: int, default: 5}", '"n${p}-${p}"', "n5-5"),
        ("{type: float, default: 0.1}", '"${p}bps"', "0.1bps"),
        ("{type: bool, default: true}", '"is ${p}"', "is true"),
        ("{type: int, default: 5}", '"$${p}"', "${p}"),
        ("{type: int, default: 5}", '"$$${p}"', "$${p}"),
        ("{type: int, default: 5}", '"$5 ${p} $"', "$5 5 $"),
        ("{type: float, unit: s, default: 5m}", '"${p}"', 300.0),
        ("{type: int, unit: B, default: 2KiB}", '"${p}"', 2048),
        ("{type: float, unit: bps, default: 0.1%}", '"${p}"', 10.0),
        ("{type: int, default: 5}", '"${run.dir}/${p}/${run.id}"', "${run.dir}/5/${run.id}"),
    ],
)
def test_references(project, declaration, written, value):
    project.write("t.yaml", one_node(f"  p: {declaration}", written))
    result = value_of(project)
    assert result == value
    assert type(result) is type(value)


def test_a_value_is_never_parsed_again(project):
    project.write("t.yaml", one_node('  p: {type: str, default: "ETH\\nrisk: {max: 1e12}"}', '"${p}"'))
    assert value_of(project) == "ETH\nrisk: {max: 1e12}"
    assert value_of(project, 'p="a: 1\\nb: ${x}"'.replace("${x}", "$${x}")) == "a: 1\nb: ${x}"


def test_what_came_through_a_reference_is_not_a_reference(project):
    project.write("t.yaml", one_node("", '"${env:X}"'))
    assert value_of(project, env={"X": "${secret:KEY} ${env:Y}"}) == "${secret:KEY} ${env:Y}"


def test_defaults_may_refer_to_each_other_in_any_order(project):
    project.write("t.yaml", one_node('  a: {type: int, default: "${b}"}\n  b: {type: int, default: 3}', '"${a}"'))
    assert value_of(project) == 3
    assert value_of(project, "b=4") == 4
    assert value_of(project, "a=9") == 9


def test_environment(project):
    project.write("t.yaml", one_node('  p: {type: int, default: "${env:N:-4}"}', '"${p} ${env:HOST:-localhost:80}"'))
    assert value_of(project) == "4 localhost:80"
    assert value_of(project, env={"N": "12", "HOST": "h"}) == "12 h"
    assert project.lines(env={"N": "few"}) == [
        "t.yaml:3:27 bad-param: param 'p' needs a number in 1, such as '5', got 'few'"
    ]


def test_secrets_stay_references(project):
    project.write("t.yaml", one_node("", '["${secret:KEY}", "https://x/${secret:A}/${secret:B}?q=1"]'))
    setting = project.load().nodes["n"].params["x"]
    parts = ("https://x/", SecretRef("A"), "/", SecretRef("B"), "?q=1")
    assert setting.value == [SecretRef("KEY"), SecretText(parts)]
    assert setting.secret
    assert repr(setting.value) == "[***, ***]"


def test_places_tell_where_a_value_was_written_and_used(project):
    path = project.write(
        "t.yaml",
        "topology: t\nparams:\n  p: {type: int, default: 5}\nnodes:\n  n:\n    use: a.b\n    params:\n      x: ${p}\n      y: {k: [1, 22]}\n",
    )
    params = project.load("p=6").nodes["n"].params
    assert params["x"].origin.place == Place("--set", 1, 3)
    assert params["x"].origin.used == (Place(str(path), 8, 10),)
    assert project.load().nodes["n"].params["x"].origin.place == Place(str(path), 3, 27)
    assert params["y"].places == {
        "k": Place(str(path), 9, 14),
        "k.0": Place(str(path), 9, 15),
        "k.1": Place(str(path), 9, 18),
    }


@pytest.mark.parametrize(
    ("params", "value", "lines"),
    [
        ("  p: {type: int, default: 1}", '"${q}"', ["5:29 unknown-reference: there is no 'q' to refer to"]),
        ("  p: {type: int, default: 1}", '"${p.a}"', ["5:29 unknown-reference: 'p' is a number and has no 'a'"]),
        ("  p: {type: map, default: {a: 1}}", '"${p.b}"', ["5:29 unknown-reference: 'p' is a mapping and has no 'b'"]),
        ("  p: {type: list, default: [1]}", '"${p.1}"', ["5:29 unknown-reference: 'p' is a list and has no '1'"]),
        ("  p: {type: list, default: [1]}", '"a${p}"', ["5:29 reference-kind: ${p} is a list, and cannot become part of a text"]),
        ("", '"${p"', ["5:29 reference-syntax: the reference '${p' has no closing brace"]),
        ("", '"${a b}"', ["5:29 reference-syntax: '${a b}' is not a reference"]),
        ("", '"${}"', ["5:29 reference-syntax: '${}' is not a reference"]),
        ("", '"${1+1}"', ["5:29 reference-syntax: '${1+1}' is not a reference"]),
        ("", '"${env:A-B}"', ["5:29 reference-syntax: 'A-B' does not name an environment variable"]),
        ("", '"${secret:A:-x}"', ["5:29 reference-syntax: 'A:-x' does not name a secret"]),
        ("", '"${env:NOPE}"', ["5:29 env-missing: environment variable NOPE is not set"]),
        ("", '"${run.home}"', ["5:29 unknown-reference: there is no 'run' to refer to"]),
        ("", '{"${p}": 1}', ["5:30 reference-in-key: key '${p}' holds a reference"]),
        ("  p: {type: int}", "1", ["3:3 missing-param: param 'p' is not given and has no default"]),
        ("  p: {type: int, doc: Pool fee.}", "1", ["3:3 missing-param: param 'p' is not given and has no default: Pool fee"]),
        ("  p: {type: int, default: 1.5}", "1", ["3:27 bad-param: param 'p' needs a whole number, got 1.5"]),
        ("  p: {type: int, default: true}", "1", ["3:27 bad-param: param 'p' needs a whole number, got true"]),
        ("  p: {type: int, default: '5'}", "1", ["3:27 bad-param: param 'p' needs a whole number, got the text '5'"]),
        ("  p: {type: bool, default: yes}", "1", ["3:28 bad-param: param 'p' needs true or false, got the text 'yes'; write true or false"]),
        ("  p: {type: str, default: 5}", "1", ["3:27 bad-param: param 'p' needs text, got 5"]),
        ("  p: {type: str, default: [5]}", "1", ["3:27 bad-param: param 'p' needs text, got a list"]),
        ("  p: {type: list, default: a}", "1", ["3:28 bad-param: param 'p' needs a list, got the text 'a'"]),
        ("  p: {type: int, default: null}", "1", ["3:27 bad-param: param 'p' needs a whole number, got nothing"]),
        ("  p: {type: int, enum: [1, 2], default: 3}", "1", ["3:41 bad-param: param 'p' must be one of 1, 2, got 3"]),
        ("  p: {type: int, minimum: 1, default: 0}", "1", ["3:39 bad-param: param 'p' must be at least 1, got 0"]),
        ("  p: {type: int, exclusiveMaximum: 9, default: 9}", "1", ["3:48 bad-param: param 'p' must be below 9, got 9"]),
        ("  p: {type: float, unit: s, default: 5 bps}", "1", ["3:38 bad-param: param 'p' needs s (time), got bps (fraction); use one of s, ns, us, µs, ms, m, min, h, d"]),
        ("  p: {type: float, default: 5m}", "1", ["3:29 bad-param: param 'p' needs a number, got the text '5m'"]),
        ('  p: {type: int, default: "${secret:K}"}', "1", ["3:27 bad-param: param 'p' needs a whole number, and a secret is text"]),
        ("  p: {type: integer, default: 1}", "1", ["3:13 bad-value: the type of param 'p' cannot be 'integer'"]),
        ("  p: {default: 1}", "1", ["3:3 param-type: param 'p' declares no type"]),
        ("  p: {type: int, default: 1, minimun: 0}", "1", ["3:30 unknown-key: param 'p' has no key 'minimun'"]),
        ("  p: 5", "1", ["3:6 wrong-kind: the declaration of param 'p' must be a mapping, not a number ('5')"]),
        ("  run: {type: int, default: 1}", "1", ["3:3 bad-name: 'run' cannot be the name of a param"]),
        ('  a: {type: int, default: "${b}"}\n  b: {type: int, default: "${a}"}', "1", ["3:3 param-cycle: the default of param 'a' needs itself: a -> b -> a"]),
    ],
)  # fmt: skip
def test_refusals(project, params, value, lines):
    project.write("t.yaml", one_node(params, value))
    assert project.lines() == [f"t.yaml:{line}" for line in lines]


def test_did_you_mean(project):
    project.write("t.yaml", one_node("  fee_tier: {type: int, default: 1, doc: Pool fee.}", '"${fee_teir}"'))
    (problem,) = project.problems()
    assert problem.fix == "did you mean 'fee_tier'? known here: fee_tier"
    problem, _ = project.problems("feetier=3")
    assert problem.fix == "did you mean 'fee_tier'? the params: fee_tier; a node's is set by NODE.PARAM"


def test_a_value_from_outside_is_blamed_where_it_was_given(project):
    path = project.write(
        "t.yaml", one_node("  p: {type: int, enum: [100, 500], default: 100, unit: bip/100, doc: Pool fee.}")
    )
    (problem,) = project.problems("p=300")
    assert project.line(problem) == "--set:1:3 bad-param: param 'p' must be one of 100, 500, got 300"
    assert problem.notes == (("declared here", Place(str(path), 3, 3)),)
    assert problem.fix == "Pool fee, in bip/100"


class TestSet:
    TEXT = "topology: t\nparams:\n  p: {type: int, default: 1}\n  s: {type: str, default: a}\nnodes:\n  n: {use: a.b, params: {x: 1, y: 2}}\n"

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("n.x=5", 5),
            ("nodes.n.params.x=1e-3", 1e-3),
            ("n.x=[1, {a: b}]", [1, {"a": "b"}]),
            ("n.x=true", True),
            ("n.x=", ""),
            ("n.x=0xabc", "0xabc"),
            ("n.x=a=b", "a=b"),
            ('n.x="${p}"', 1),
            ("n.new=${s}", 1),
        ],
    )
    def test_node_params(self, project, option, value):
        project.write("t.yaml", self.TEXT)
        assert value_of(project, option) == value

    def test_the_last_one_wins(self, project):
        project.write("t.yaml", self.TEXT)
        assert value_of(project, "n.x=5", "n.x=6") == 6

    @pytest.mark.parametrize(
        ("options", "lines"),
        [
            (["q=1"], ["--set:1:1 unknown-param: the topology has no param 'q'"]),
            (["p=1", "m.x=1"], ["--set:2:1 unknown-node: there is no node 'm' to change"]),
            (["p"], ["--set:1:1 bad-set: 'p' sets nothing"]),
            (["=1"], ["--set:1:1 bad-set: '=1' sets nothing"]),
            (["s=[1"], ["--set:1:3 yaml-syntax: a list or mapping in brackets is not closed"]),
            (["s=!!x y"], ["--set:1:3 yaml-tag: tag '!!x' is refused"]),
            (["s=\udcff"], ["--set:1:3 yaml-encoding: the text holds bytes that are not UTF-8"]),
            (["p=x"], ["--set:1:3 bad-param: param 'p' needs a whole number, got the text 'x'"]),
        ],
    )
    def test_refusals(self, project, options, lines):
        project.write("t.yaml", self.TEXT)
        assert project.lines(*options) == lines


def test_values_cannot_grow_without_bound(project):
    doubling = "\n".join(f'  p{i}: {{type: list, default: ["${{p{i - 1}}}", "${{p{i - 1}}}"]}}' for i in range(1, 60))
    project.write("t.yaml", one_node(f"  p0: {{type: list, default: [1]}}\n{doubling}"))
    assert [line.partition(" ")[2] for line in project.lines()] == [
        "expansion-limit: the topology expands to more than 250,000 values"
    ]
    texts = "\n".join(f'  p{i}: {{type: str, default: "${{p{i - 1}}}${{p{i - 1}}}"}}' for i in range(1, 60))
    project.write("t.yaml", one_node(f"  p0: {{type: str, default: abcdefgh}}\n{texts}"))
    assert [line.partition(" ")[2] for line in project.lines()] == [
        "reference-text: the text grows past 65,536 characters"
    ]


def test_long_chains_are_bounded(project):
    down = "\n".join(f'  p{i}: {{type: int, default: "${{p{i + 1}}}"}}' for i in range(500))
    project.write("t.yaml", one_node(f"{down}\n  p500: {{type: int, default: 1}}"))
    assert project.lines()[0].endswith("reference-depth: params refer to each other more than 64 deep")
    nested = "\n".join(f'  p{i}: {{type: list, default: ["${{p{i - 1}}}"]}}' for i in range(1, 200))
    project.write("t.yaml", one_node(f"  p0: {{type: list, default: [1]}}\n{nested}"))
    assert {line.partition(" ")[2] for line in project.lines()} == {"reference-depth: values are nested deeper than 64"}


def test_a_number_keeps_its_unit_and_clashes_with_another(project):
    project.write("t.yaml", one_node("  p: {type: float, default: 500, unit: ms}", '"${p}"'))
    assert project.load().nodes["n"].params["x"].unit == "ms"
    project.write(
        "t.yaml",
        one_node('  p: {type: float, default: 500, unit: ms}\n  q: {type: float, default: "${p}", unit: s}', '"${q}"'),
    )
    assert project.lines() == ["t.yaml:4:29 unit-mismatch: param 'q' is in s, and is given a number in ms"]
    project.write(
        "t.yaml",
        one_node(
            '  p: {type: float, default: 500, unit: ms}\n  q: {type: float, default: "${p}ms", unit: s}', '"${q}"'
        ),
    )
    assert value_of(project) == 0.5


def test_numbers_in_a_list_keep_their_units(project):
    project.write("t.yaml", one_node("  p: {type: list, default: [500, 2 s, 1m], unit: ms}", '"${p}"'))
    assert value_of(project) == [500, 2000, 60000]
    assert project.load().nodes["n"].params["x"].units == {"0": "ms", "1": "ms", "2": "ms"}
    project.write("t.yaml", one_node("  p: {type: float, default: 500, unit: ms}", '[1, "${p}"]'))
    assert project.load().nodes["n"].params["x"].units == {"1": "ms"}
    project.write("t.yaml", one_node("  p: {type: list, default: [5 bps], unit: ms}", '"${p}"'))
    (line,) = project.lines()
    assert "needs ms (time), got bps (fraction)" in line
    both = '  p: {type: float, default: 500, unit: ms}\n  q: {type: list, default: [1, "${p}"], unit: s}'
    project.write("t.yaml", one_node(both, '"${q}"'))
    (line,) = project.lines()
    assert line.endswith("param 'q' is in s, and is given a number in ms")
