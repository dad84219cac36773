"""JSON Schema of the topology format, by which editors complete and explain keys, types, ports and params."""

from __future__ import annotations

from collections.abc import Iterable

from engine import catalogue
from engine.catalogue import Entry
from engine.spec import In, NodeSpec
from engine.topology.schema_parts import (
    DURATION,
    PORT,
    REFERENCE,
    Schema,
    described,
    either,
    for_each,
    hub_ends,
    on_stale,
    record,
    restart,
    top_level,
    wire,
    writers,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def topology_schema(entries: Iterable[Entry]) -> Schema:
    """Return the schema of a topology file in a project with these node types."""
    known = [entry for entry in entries if entry.spec is not None]
    definitions: Schema = {
        "reference": described(
            "A value from elsewhere: ${param}, ${env:NAME} or ${secret:NAME}.", type="string", pattern=REFERENCE
        ),
        "duration": either(
            "A time: a number of seconds, or text with its unit.",
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": DURATION},
            {"$ref": "#/$defs/reference"},
        ),
        "port": described("NODE.OUTPUT, or hub:NAME/TOPIC.", type="string", pattern=PORT, examples=["mean.value"]),
        "on_stale": on_stale(),
        "wire": wire(),
        "writers": writers(),
        "restart": restart(),
        "for_each": for_each(),
        "node": _node(known),
    }
    for entry in known:
        definitions[_key(entry.name)] = _of_type(entry)
    return {
        "$schema": DIALECT,
        "title": "Topology",
        "description": "A graph of nodes, the wires that join their ports, and the processes they live in.",
        "type": "object",
        "additionalProperties": False,
        "properties": top_level(),
        "$defs": definitions,
    }


def node_schema(entry: Entry) -> Schema:
    """Return the schema of one node type's params and ports, as a file of its own."""
    return {"$schema": DIALECT, "title": entry.name, **_of_type(entry)}


def _node(known: list[Entry]) -> Schema:
    schema = record(
        "A node of the graph.",
        {
            "use": either(
                "Its type.",
                {"enum": [entry.name for entry in known]},
                {"type": "string", "pattern": REFERENCE},
            ),
            "about": described("What it is for here.", type="string"),
            "params": described("Values of its params.", type="object"),
            "in": described("Where each input's messages come from.", type="object"),
            "out": described("Copies of outputs to hubs, as hub:NAME/TOPIC.", type="object"),
            "for_each": {"$ref": "#/$defs/for_each"},
            "as": described("Id of each repetition, as in quotes_${NAME}.", type="string"),
        },
    )
    schema["type"] = ["object", "null"]
    schema["allOf"] = [
        {
            "if": {"properties": {"use": {"const": entry.name}}, "required": ["use"]},
            "then": {"$ref": f"#/$defs/{_key(entry.name)}"},
        }
        for entry in known
    ]
    return schema


def _of_type(entry: Entry) -> Schema:
    spec = entry.spec
    if spec is None:
        raise ValueError(f"{entry.name} cannot be used here: {entry.reason}")
    schema: Schema = {
        "description": spec.doc,
        "type": "object",
        "properties": {
            "use": {"const": entry.name, "description": spec.doc},
            "params": _params(spec),
            "in": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _input(port) for name, port in spec.inputs.items()},
            },
            "out": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    name: {**hub_ends(), "description": f"{port.doc} [{catalogue.output_traits(port)}]"}
                    for name, port in spec.outputs.items()
                },
            },
        },
    }
    if schema["properties"]["params"]["required"]:
        schema["required"] = ["params"]
    return schema


def _params(spec: NodeSpec) -> Schema:
    schema = spec.params_schema()
    schema["properties"] = {
        name: either(param.pop("description"), _open_to_references(param), {"type": "string", "pattern": REFERENCE})
        for name, param in schema["properties"].items()
    }
    return schema


def _open_to_references(schema: Schema) -> Schema:
    """Return the schema of a value whose parts may be references too."""
    reference = {"type": "string", "pattern": REFERENCE}
    result = dict(schema)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            result[word] = {"anyOf": [_open_to_references(schema[word]), reference]}
    for word in ("prefixItems", "anyOf"):
        if isinstance(schema.get(word), list):
            result[word] = [{"anyOf": [_open_to_references(part), reference]} for part in schema[word]]
    return result


def _input(port: In) -> Schema:
    return either(
        f"{port.doc} [{catalogue.input_traits(port)}]",
        {"$ref": "#/$defs/port"},
        {"$ref": "#/$defs/wire"},
        {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/port"}, {"$ref": "#/$defs/wire"}]}, "minItems": 1},
    )


def _key(name: str) -> str:
    return f"use {name}"
