"""Generated files: the topology schema accepts what the loader accepts, and points at slips; `--check` sees a lag."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from click.testing import CliRunner
from support.packages import only_packages

from engine import catalogue
from engine.topology import drafts, expand, params, sections, template, writers
from engine.topology.report import Report
from engine.topology.schema import topology_schema
from engine.topology.tree import plain
from engine.topology.yaml_tree import read_tree
from nodes.messages import Fill, LpPosition, LpState
from nodes.rules import RULES
from tools import generate

ROOT = Path(__file__).parents[3]
GOOD = sorted((ROOT / "tests" / "golden" / "good").glob("*.yaml"))
TOPOLOGIES = sorted((ROOT / "topologies").rglob("*.yaml"))


@cache
def sample_schema():
    with only_packages("support.sample_nodes", "support.sample_desk", rules=RULES):
        schema = topology_schema(catalogue.entries())
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@cache
def own_schema():
    return topology_schema(catalogue.entries())


def errors(data, schema=None) -> list[str]:
    """Return `path: message` of each error, down to the innermost cause."""
    found = []
    for error in jsonschema.Draft202012Validator(schema or sample_schema()).iter_errors(data):
        leaf = error
        while leaf.context:
            leaf = max(leaf.context, key=lambda part: len(part.absolute_path))
        found.append(f"{'.'.join(map(str, leaf.absolute_path))}: {leaf.message}")
    return found


def greenhouse(**changes):
    data = yaml.safe_load((ROOT / "tests" / "golden" / "good" / "greenhouse.yaml").read_text())
    data.update(changes)
    return data


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_topologies_pass(path):
    assert errors(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_topologies_of_this_project_pass(path):
    if path.name.endswith(".test.yaml"):
        pytest.skip("a test of a topology, not a topology")
    # As the loader reads it: to stock YAML, 2e-5 is a text.
    report = Report()
    tree = read_tree(path.read_text(), str(path), report)
    assert report.problems == []
    assert errors(plain(tree), own_schema()) == []


def node(**changes):
    nodes = greenhouse()["nodes"]
    nodes["mean"] = {**nodes["mean"], **changes}
    return greenhouse(nodes=nodes)


@pytest.mark.parametrize(
    ("data", "path", "word"),
    [
        (greenhouse(nodse={}), "", "nodse"),
        (node(use="models.avrage"), "nodes.mean", "models.avrage"),
        (node(parms={}), "nodes.mean", "parms"),
        (node(params={"half_live_s": 3}), "nodes.mean.params", "half_live_s"),
        (node(params={"half_life_s": True}), "nodes.mean.params.half_life_s", "True"),
        (node(params={"half_life_s": 0}), "nodes.mean.params.half_life_s", "0"),
        (node(**{"in": {"readng": "north.reading"}}), "nodes.mean.in", "readng"),
        (node(**{"in": {"reading": "north"}}), "nodes.mean.in.reading", "north"),
        (node(**{"in": {"reading": {"from": "north.reading", "polcy": "block"}}}), "nodes.mean.in.reading", "polcy"),
        (node(**{"in": {"reading": {"from": "north.reading", "policy": "bloc"}}}), "nodes.mean.in.reading", "bloc"),
        (greenhouse(hubs={"air": {"publish": [6000]}}), "hubs.air", "subscribe"),
        (greenhouse(hubs={"air": {"publish": [70000], "subscribe": 7000}}), "hubs.air.publish.0", "70000"),
        (greenhouse(feedback=["a.b > c.d"]), "feedback.0", "a.b > c.d"),
        (
            greenhouse(processes={"air": {"nodes": ["*"], "restart": {"polcy": "never"}}}),
            "processes.air.restart",
            "polcy",
        ),
    ],
)
def test_slips_are_pointed_at(data, path, word):
    found = errors(data)
    assert any(line.startswith(f"{path}: ") or line.startswith(f"{path}.") for line in found), found
    assert any(word in line for line in found), found


def test_a_needed_param_is_asked_for():
    data = node()
    del data["nodes"]["mean"]["params"]
    assert errors(data) == ["nodes.mean: 'params' is a required property"]


def test_units_and_references_are_accepted():
    assert errors(node(params={"half_life_s": "5m"})) == []
    assert errors(node(params={"half_life_s": "${half_life}"})) == []


def test_everything_is_explained():
    """Each key of the format, each port and each param has a description, so that an editor can show it."""
    bare = []

    def walk(schema, path):
        for name, child in schema.get("properties", {}).items():
            below = f"{path}.{name}"
            explained = "description" in child or "$ref" in child or name in ("params", "in", "out", "use")
            if not explained:
                bare.append(below)
            walk(child, below)
        for name, child in schema.get("$defs", {}).items():
            walk(child, name)
        for word in ("items", "additionalProperties"):
            if isinstance(schema.get(word), dict):
                walk(schema[word], path)

    walk(sample_schema(), "")
    assert bare == []


def keys_of(schema) -> set[str]:
    """Return the keys that a mapping may have, also where something else than a mapping is possible."""
    for part in schema.get("anyOf", ()):
        if "properties" in part:
            return set(part["properties"])
    return set(schema["properties"])


def test_the_schema_has_the_keys_that_the_loader_reads():
    schema = sample_schema()
    top, shared = schema["properties"], schema["$defs"]
    process = top["processes"]["additionalProperties"]
    assert set(top) == set(expand.FILE_KEYS)
    assert keys_of(shared["node"]) == set(drafts.NODE_KEYS)
    assert keys_of(top["include"]["items"]) == set(expand.INCLUDE_KEYS)
    assert keys_of(top["hubs"]["additionalProperties"]) == set(sections.HUB_KEYS)
    assert keys_of(process) == set(sections.PROCESS_KEYS)
    assert keys_of(shared["restart"]) == set(sections.RESTART_KEYS)
    assert keys_of(top["variants"]["additionalProperties"]) == set(sections.VARIANT_KEYS)
    assert keys_of(shared["wire"]) == set(writers.WRITER_KEYS)
    assert keys_of(top["params"]["additionalProperties"]) == set(params.KEYS)
    types = top["params"]["additionalProperties"]["anyOf"][0]["properties"]["type"]["enum"]
    assert types == list(params.TYPES)
    offered = top["ports"]["properties"]["in"]["additionalProperties"]
    assert keys_of(offered) == set(template.PORT_KEYS)


def position(**changes):
    facts = {
        "position_id": "1",
        "lower_price": 1.0,
        "upper_price": 2.0,
        "lower_tick": -1,
        "upper_tick": 1,
        "liquidity": 1 << 100,
        "base_amount": 0,
        "quote_amount": 0,
    }
    return LpPosition(**facts | changes)


def test_message_schemas_accept_encoded_messages():
    schema = generate.message_schema(LpPosition)
    data = msgspec.json.decode(msgspec.json.encode(position()))
    jsonschema.validate(data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(["1", "low"], schema)


def test_message_schemas_name_every_field():
    schema = generate.message_schema(LpState)
    titles = [item["title"] for item in schema["$defs"]["LpState"]["prefixItems"]]
    assert titles == list(LpState.__struct_fields__)
    nested = [item["title"] for item in schema["$defs"]["LpPosition"]["prefixItems"]]
    assert nested == list(LpPosition.__struct_fields__)
    assert generate.message_schema(Fill)["delivery"] == "reliable"


def test_check_sees_what_lags_behind(tmp_path):
    runner = CliRunner()
    with only_packages("support.sample_nodes"):
        assert runner.invoke(generate.main, ["--check", "--root", str(tmp_path)]).exit_code == 1
        assert runner.invoke(generate.main, ["--root", str(tmp_path)]).exit_code == 0
        assert runner.invoke(generate.main, ["--check", "--root", str(tmp_path)]).exit_code == 0
        page = (tmp_path / "docs" / "nodes.md").read_text()
        assert "## models.average" in page
        assert "| `half_life_s` | float in s, above 0; required | Weight halves in this time. |" in page
        (tmp_path / "docs" / "nodes.md").write_text(page + "x")
        (tmp_path / "schemas" / "nodes" / "models.gone.json").write_text("{}")
        result = runner.invoke(generate.main, ["--check", "--root", str(tmp_path)])
        assert result.exit_code == 1
        assert "docs/nodes.md lags behind" in result.stderr
        assert "models.gone.json lags behind" in result.stderr
        runner.invoke(generate.main, ["--root", str(tmp_path)])
        assert not (tmp_path / "schemas" / "nodes" / "models.gone.json").exists()


def test_node_schemas_stand_alone():
    with only_packages("support.sample_nodes"):
        (entry,) = [entry for entry in catalogue.entries() if entry.name == "models.average"]
    schema = generate.standalone(entry, sample_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"use": "models.average", "in": {"reading": "a.b"}, "params": {"half_life_s": 3}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"use": "models.average", "params": {}}, schema)
