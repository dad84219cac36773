"""JSON Schema of the topology format, by which editors complete and explain keys, types, ports and params."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine import catalogue
from engine.catalogue import Entry
from engine.spec import In, NodeSpec
from engine.topology.model import POLICY_KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
ID = r"^[A-Za-z_][A-Za-z0-9_.$\{\}-]*$"
REFERENCE = r"\$\{[^}]+\}"
PORT = r"^(hub:[A-Za-z_][\w.-]*/\S+|[A-Za-z_$][\w.$\{\}-]*\.[A-Za-z_][\w]*)$"
DURATION = r"^\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d)$"
LINE = r"^\S+\s*->\s*\S+$"

Schema = dict[str, Any]


def topology_schema(entries: Iterable[Entry]) -> Schema:
    """Return the schema of a topology file in a project with these node types."""
    known = [entry for entry in entries if entry.spec is not None]
    definitions: Schema = {
        "reference": _described(
            "A value from elsewhere: ${param}, ${env:NAME} or ${secret:NAME}.", type="string", pattern=REFERENCE
        ),
        "duration": _either(
            "A time: a number of seconds, or text with its unit.",
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": DURATION},
        ),
        "port": _described("NODE.OUTPUT, or hub:NAME/TOPIC.", type="string", pattern=PORT, examples=["mean.value"]),
        "on_stale": _on_stale(),
        "wire": _wire(),
        "writers": _writers(),
        "restart": _restart(),
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
        "properties": _top_level(),
        "$defs": definitions,
    }


def node_schema(entry: Entry) -> Schema:
    """Return the schema of one node type's params and ports, as a file of its own."""
    return {"$schema": DIALECT, "title": entry.name, **_of_type(entry)}


# --- the parts of a file ------------------------------------------------------------------------------------------


def _top_level() -> Schema:
    return {
        "topology": _described("Name of the topology.", type="string", pattern=NAME),
        "about": _described("What it is for, in a sentence.", type="string"),
        "params": _mapping("Parameters of the topology: --set, overlays and includes may change them.", _param(), NAME),
        "include": _described("Other files whose nodes become part of this one.", type="array", items=_include()),
        "for_each": _described("Nodes or includes, once for each item of a list.", type="array", items=_for_each()),
        "hubs": _mapping("Meeting points with fixed ports: many publishers, many subscribers.", _hub(), NAME),
        "nodes": _mapping("The nodes, by id.", {"$ref": "#/$defs/node"}, ID),
        "feedback": _described(
            "Wires that close a loop. Every loop passes one of them.",
            type="array",
            items={"type": "string", "pattern": LINE, "examples": ["window.done -> control.done"]},
        ),
        "processes": _mapping("Operating system processes, and the nodes that each hosts.", _process(), NAME),
        "variants": _mapping("Named changes of parameters that a backtest runs beside the base.", _variant(), NAME),
    }


def _param() -> Schema:
    return _object(
        "A parameter of the topology.",
        {
            "type": _described("Type of the value.", enum=["int", "float", "str", "bool", "decimal", "list", "dict"]),
            "default": _described("Value unless it is set. Without one, it must be set."),
            "enum": _described("The only values allowed.", type="array", minItems=1),
            "unit": _described("Unit of the number, such as s or bps.", type="string"),
            "doc": _described("What it means.", type="string"),
            "minimum": _described("At least this.", type="number"),
            "maximum": _described("At most this.", type="number"),
            "exclusiveMinimum": _described("Above this.", type="number"),
            "exclusiveMaximum": _described("Below this.", type="number"),
        },
    )


def _include() -> Schema:
    return _object(
        "A file whose nodes become part of this topology.",
        {
            "file": _described("Path, relative to this file.", type="string"),
            "as": _described(
                "Prefix of its nodes' ids: `north` makes `feed` into `north.feed`.", type="string"
            ),
            "with": _described("Values of its params.", type="object"),
            "in": _mapping("Wires into its nodes, by NODE.INPUT.", {"$ref": "#/$defs/writers"}),
        },
        required=["file"],
    )


def _for_each() -> Schema:
    return _object(
        "Nodes or includes, once for each item of a list.",
        {
            "var": _described("Name under which ${NAME} is the item.", type="string", pattern=NAME),
            "in": _either("The list.", {"type": "array"}, {"$ref": "#/$defs/reference"}),
            "nodes": _mapping("Nodes; their ids use the item.", {"$ref": "#/$defs/node"}, ID),
            "include": _described("Includes.", type="array", items=_include()),
        },
    )


def _hub() -> Schema:
    number: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
    return _object(
        "A meeting point. A wire ends or begins there as hub:NAME/TOPIC.",
        {
            "publish": _described("Ports to which writers connect.", type="array", items=number, minItems=1),
            "subscribe": _described("Port to which readers connect.", **number),
            "codec": _described("Encoding of its frames.", enum=["msgpack", "json"], default="msgpack"),
        },
        required=["publish", "subscribe"],
    )


def _process() -> Schema:
    return _object(
        "One process.",
        {
            "nodes": _described("Ids, or patterns such as north.*.", type="array", items={"type": "string"}),
            "restart": {"$ref": "#/$defs/restart"},
            "memory": _either(
                "Limit of memory.",
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(B|KiB|MiB|GiB|kB|MB|GB)$", "examples": ["512MiB"]},
            ),
            "cpus": _described("Limit of processors; 0.5 is half of one.", type="number", exclusiveMinimum=0),
        },
        required=["nodes"],
    )


def _restart() -> Schema:
    return _object(
        "What becomes of the process when it ends.",
        {
            "policy": _described("When it is started again.", enum=["never", "on_failure", "always"]),
            "max": _described("At most so many restarts within the window.", type="integer", minimum=0),
            "window": {"$ref": "#/$defs/duration"},
        },
    )


def _variant() -> Schema:
    return _object(
        "A named set of parameter changes.",
        {
            "about": _described("What it shows.", type="string"),
            "set": _described("Values by name of a param, or NODE.PARAM.", type="object"),
        },
    )


def _on_stale() -> Schema:
    return _object(
        "What the reader is told when the input is silent.",
        {
            "after": {"$ref": "#/$defs/duration"},
            "action": _described("One of the actions that the node type offers.", type="string"),
        },
        required=["after", "action"],
    )


def _wire() -> Schema:
    return _object(
        "A writer with a delivery policy.",
        {
            "from": {"$ref": "#/$defs/port"},
            "policy": _described(
                "What happens when the reader is slow: block waits, conflate keeps the newest per key, drop_oldest "
                "keeps the last n, reliable repeats until applied.",
                enum=list(POLICY_KINDS),
            ),
            "by": _described("Field of the message by which conflate tells keys apart.", type="string"),
            "n": _described("Messages that drop_oldest keeps.", type="integer", minimum=1),
            "ttl": {"$ref": "#/$defs/duration", "description": "Messages older than this are dropped."},
            "on_stale": {"$ref": "#/$defs/on_stale"},
        },
        required=["from"],
    )


def _writers() -> Schema:
    one: list[Schema] = [{"$ref": "#/$defs/port"}, {"$ref": "#/$defs/wire"}]
    return _either("Where the messages come from.", *one, {"type": "array", "items": {"anyOf": one}, "minItems": 1})


# --- nodes --------------------------------------------------------------------------------------------------------


def _node(known: list[Entry]) -> Schema:
    schema = _object(
        "A node of the graph.",
        {
            "use": _either(
                "Its type.",
                {"enum": [entry.name for entry in known]},
                {"type": "string", "pattern": REFERENCE},
            ),
            "about": _described("What it is for here.", type="string"),
            "params": _described("Values of its params.", type="object"),
            "in": _described("Where each input's messages come from.", type="object"),
            "out": _described("Copies of outputs to hubs, as hub:NAME/TOPIC.", type="object"),
        },
    )
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
    hub = {"type": "string", "pattern": r"^hub:[^/\s]+/\S+$"}
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
                    name: _either(f"{port.doc} [{catalogue.output_traits(port)}]", hub, {"type": "array", "items": hub})
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
        name: _either(param.pop("description"), param, {"type": "string", "pattern": REFERENCE})
        for name, param in schema["properties"].items()
    }
    return schema


def _input(port: In) -> Schema:
    return _either(
        f"{port.doc} [{catalogue.input_traits(port)}]",
        {"$ref": "#/$defs/port"},
        {"$ref": "#/$defs/wire"},
        {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/port"}, {"$ref": "#/$defs/wire"}]}, "minItems": 1},
    )


def _key(name: str) -> str:
    return f"use {name}"


# --- shorthand ----------------------------------------------------------------------------------------------------


def _described(description: str, **rest: Any) -> Schema:
    return {"description": description, **rest}


def _either(description: str, *schemas: Schema) -> Schema:
    return {"description": description, "anyOf": list(schemas)}


def _object(description: str, properties: Schema, required: list[str] | None = None) -> Schema:
    schema: Schema = {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        schema["required"] = required
    return schema


def _mapping(description: str, item: Schema, names: str | None = None) -> Schema:
    schema: Schema = {"description": description, "type": "object", "additionalProperties": item}
    if names:
        schema["propertyNames"] = {"pattern": names}
    return schema
