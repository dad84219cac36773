"""JSON Schema of the keys of the topology format that do not depend on node types."""

from __future__ import annotations

from typing import Any

from engine.topology.model import POLICY_KINDS

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
ID = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"
PROCESS_NAME = r"^(?!(hubs|supervisor|operator)$)[A-Za-z_][A-Za-z0-9_]{0,63}$"
REFERENCE = r"\$\{[^}]+\}"
PORT = (
    r"^(hub:[A-Za-z_][A-Za-z0-9_-]*/\S+"
    r"|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.[A-Za-z_][A-Za-z0-9_]*"
    r"|.*\$\{[^}]+\}.*)$"
)
DURATION = r"^\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d)$"
SIZE = r"^\d+(\.\d+)?\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)$"
TCP = r"^tcp://(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"
LINE = r"^\S+\s*->\s*\S+$"

Schema = dict[str, Any]
REFERRED: Schema = {"$ref": "#/$defs/reference"}


def top_level() -> Schema:
    """Return the keys of a topology file."""
    return {
        "topology": described("Name of the topology.", type="string", pattern=NAME),
        "about": described("What it is for, in a sentence.", type="string"),
        "params": mapping("Parameters of the topology: --set, overlays and includes may change them.", _param(), NAME),
        "include": described("Other files whose nodes become part of this one.", type="array", items=_include()),
        "ports": _ports(),
        "hubs": mapping("Meeting points with fixed ports: many publishers, many subscribers.", _hub(), NAME),
        "nodes": mapping("The nodes, by id; null takes one away.", {"$ref": "#/$defs/node"}, ID),
        "feedback": described(
            "Wires that close a loop. Every loop passes one of them.",
            type="array",
            items={"type": "string", "pattern": LINE, "examples": ["window.done -> control.done"]},
        ),
        "processes": mapping("Operating system processes, and the nodes that each hosts.", _process(), PROCESS_NAME),
        "run": _run(),
        "variants": mapping("Named changes of parameters that a backtest runs beside the base.", _variant(), NAME),
    }


def _param() -> Schema:
    declaration = record(
        "A parameter of the topology.",
        {
            "type": described("Type of the value.", enum=["int", "float", "str", "bool", "list", "map"]),
            "default": described("Value unless it is set. Without one, it must be set."),
            "enum": described("The only values allowed.", type="array", minItems=1),
            "unit": described("Unit of the number, such as s or bps.", type="string"),
            "doc": described("What it means.", type="string"),
            "minimum": described("At least this.", type="number"),
            "maximum": described("At most this.", type="number"),
            "exclusiveMinimum": described("Above this.", type="number"),
            "exclusiveMaximum": described("Below this.", type="number"),
        },
    )
    value: Schema = {"type": ["number", "string", "boolean", "array", "null"]}
    return either("A declaration; in an overlay, a new value.", declaration, value)


def _include() -> Schema:
    return record(
        "A file whose nodes become part of this topology.",
        {
            "file": described("Path, relative to this file.", type="string"),
            "as": described("Prefix of its nodes' ids: `north` makes `feed` into `north.feed`.", type="string"),
            "with": described("Values of its params.", type="object"),
            "in": mapping("Wires into the ports that it offers, by NODE.INPUT.", {"$ref": "#/$defs/writers"}),
            "out": mapping("Copies of the outputs that it offers to hubs, by NODE.OUTPUT.", hub_ends()),
            "for_each": {"$ref": "#/$defs/for_each"},
        },
        required=["file"],
    )


def _ports() -> Schema:
    port = either(
        "What the port is for, or more about it.",
        {"type": ["string", "null"]},
        record(
            "A port that this file offers.",
            {
                "doc": described("What it is for.", type="string"),
                "to": either(
                    "The ports inside, where the name is another.",
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ),
                "optional": described("Whether it may stay open.", type="boolean"),
            },
        ),
    )
    return record(
        "What this file offers to a file that includes it.",
        {"in": mapping("Inputs, by NODE.PORT or name.", port), "out": mapping("Outputs; others are private.", port)},
    )


def for_each() -> Schema:
    """Return the schema of a loop."""
    loop = mapping(
        "Repeat for each element of a list, or each combination of several: {NAME: [first, second]}.",
        either("The list.", {"type": "array", "minItems": 1}, {"$ref": "#/$defs/reference"}),
        NAME,
    )
    return {**loop, "minProperties": 1}


def hub_ends() -> Schema:
    """Return the schema of what an output is copied to."""
    end = {"type": "string", "pattern": r"^hub:[^/\s]+/\S+$"}
    return either("One hub topic or several.", end, {"type": "array", "items": end, "minItems": 1})


def _hub() -> Schema:
    number: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
    return record(
        "A meeting point. A wire ends or begins there as hub:NAME/TOPIC.",
        {
            "publish": described("Ports to which writers connect.", type="array", items=number, minItems=1),
            "subscribe": described("Port to which readers connect.", **number),
            "codec": described("Encoding of its frames.", enum=["msgpack", "json"], default="msgpack"),
            "outside": described(
                "Topics that programs outside the topology may publish.",
                type="array",
                items={"type": "string", "pattern": r"^[A-Za-z0-9_$][A-Za-z0-9_./{}:$-]*$"},
            ),
            "listen": described(
                "Address on which its ports are open; beyond this machine it needs keys.",
                type="string",
                default="127.0.0.1",
                examples=["10.0.0.5"],
            ),
            "machine": _machine(),
        },
        required=["publish", "subscribe"],
    )


def _process() -> Schema:
    nodes = described("Ids, or patterns such as north.*.", type="array", items={"type": "string"}, minItems=1)
    duration = {"$ref": "#/$defs/duration"}
    process = record(
        "One process.",
        {
            "nodes": nodes,
            "restart": {"$ref": "#/$defs/restart"},
            "memory": _size("Limit of memory.", 32 << 20, "512MiB"),
            "cpus": described(
                "Limit of processors; 0.5 is half of one.", type="number", exclusiveMinimum=0, maximum=1024
            ),
            "files": described("Limit of open files.", type="integer", minimum=64),
            "start_timeout": {**duration, "description": "It must be up within this time."},
            "liveness": {**duration, "description": "It has failed when it gives no sign of life for so long."},
            "listen": either(
                "Where processes of other machines reach it; beyond this machine it needs keys.",
                {"type": "string", "pattern": TCP, "examples": ["tcp://10.0.0.5:7100"]},
                REFERRED,
            ),
            "machine": _machine(),
        },
        required=["nodes"],
    )
    return either("A process, or only its nodes.", process, nodes)


def _machine() -> Schema:
    return either(
        "Machine on which it runs: `pipeline up --machine NAME`.", {"type": "string", "pattern": NAME}, REFERRED
    )


def _size(description: str, minimum: int, example: str) -> Schema:
    return either(
        description,
        {"type": "integer", "minimum": minimum},
        {"type": "string", "pattern": SIZE, "examples": [example]},
        REFERRED,
    )


def restart() -> Schema:
    """Return the schema of a restart policy."""
    return record(
        "What becomes of the process when it ends, and of the run when it is given up.",
        {
            "policy": described("When it is started again.", enum=["never", "on_failure", "always"]),
            "max": described("At most so many restarts within the window.", type="integer", minimum=0),
            "window": {"$ref": "#/$defs/duration"},
            "then": described(
                "When it is given up: halt every node, stop the run, or go on without it.",
                enum=["halt", "stop", "go_on"],
                default="halt",
            ),
        },
    )


def _run() -> Schema:
    log = record(
        "What processes write into their logs.",
        {
            "level": described("From this level up.", enum=["debug", "info", "warning", "error"], default="info"),
            "size": _size("Size at which a file is full.", 4 << 10, "16MiB"),
            "keep": described("Full files that are kept.", type="integer", minimum=0, default=5),
        },
    )
    return record(
        "How a run in processes goes.",
        {
            "speed": either(
                "Seconds of a history that pass in one second; 1 where it is not written.",
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6},
                REFERRED,
            ),
            "record": described("Whether every node's inputs are recorded.", type="boolean", default=True),
            "free_disk": _size("Recording and logs stop while less than this is free.", 1 << 20, "500MiB"),
            "disk": _size("Limit of the run's folder.", 1 << 20, "20GiB"),
            "keep_runs": _size("Above this size of all runs, the oldest lose logs and recordings.", 1 << 20, "50GiB"),
            "log": log,
            "keys": described(
                "Folder of the keys with which processes of two machines know each other.", type="string"
            ),
        },
    )


def _variant() -> Schema:
    return record(
        "A named set of parameter changes.",
        {
            "about": described("What it shows.", type="string"),
            "set": described("Values by name of a param, or NODE.PARAM.", type="object"),
        },
    )


def on_stale() -> Schema:
    """Return the schema of what holds when an input is silent."""
    return record(
        "What the reader is told when the input is silent.",
        {
            "after": {"$ref": "#/$defs/duration"},
            "action": described("One of the actions that the node type offers.", type="string"),
        },
        required=["after", "action"],
    )


def wire() -> Schema:
    """Return the schema of a writer with its policy."""
    return record(
        "A writer with a delivery policy.",
        {
            "from": {"$ref": "#/$defs/port"},
            "policy": described(
                "What happens when the reader is slow: block waits, conflate keeps the newest per key, drop_oldest "
                "keeps the last n, reliable repeats until applied.",
                enum=list(POLICY_KINDS),
            ),
            "by": described("Field of the message by which conflate tells keys apart.", type="string"),
            "n": described("Messages that drop_oldest keeps.", type="integer", minimum=1),
            "ttl": {"$ref": "#/$defs/duration", "description": "Messages older than this are dropped."},
            "on_stale": {"$ref": "#/$defs/on_stale"},
        },
        required=["from"],
    )


def writers() -> Schema:
    """Return the schema of all writers of an input."""
    one: list[Schema] = [{"$ref": "#/$defs/port"}, {"$ref": "#/$defs/wire"}]
    return either("Where the messages come from.", *one, {"type": "array", "items": {"anyOf": one}, "minItems": 1})


def described(description: str, **rest: Any) -> Schema:
    """Return a schema with a description."""
    return {"description": description, **rest}


def either(description: str, *schemas: Schema) -> Schema:
    """Return a schema that accepts what one of `schemas` accepts."""
    return {"description": description, "anyOf": list(schemas)}


def record(description: str, properties: Schema, required: list[str] | None = None) -> Schema:
    """Return the schema of a mapping with these keys and no others."""
    schema: Schema = {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        schema["required"] = required
    return schema


def mapping(description: str, item: Schema, names: str | None = None) -> Schema:
    """Return the schema of a mapping from names to items."""
    schema: Schema = {"description": description, "type": "object", "additionalProperties": item}
    if names:
        schema["propertyNames"] = {"pattern": names}
    return schema
