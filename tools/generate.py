"""Rewrite what is derived from node classes and checks: schemas/, docs/nodes.md and docs/errors.md.

`python -m tools.generate` writes, `--check` writes nothing and fails when a file lags behind.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from engine import catalogue
from engine.catalogue import Entry
from engine.message import Message
from engine.spec import In, Out
from engine.topology.codes import all_codes
from engine.topology.rules import installed_rules
from engine.topology.schema import DIALECT, node_schema, topology_schema

ROOT = Path(__file__).parents[1]
NOTE = "<!-- Written by `python -m tools.generate`; change the node classes or checks instead. -->"
KINDS = {
    "reactor": "answers messages and timers",
    "driver": "owns a connection to the outside",
    "history": "reads recorded data",
}


def generated(entries: list[Entry], root: Path = ROOT) -> dict[Path, str]:
    """Return the text of every generated file, by path from the root."""
    usable = [entry for entry in entries if entry.spec is not None]
    files = {Path("schemas/topology.schema.json"): _json(topology_schema(usable))}
    for entry in usable:
        files[Path(f"schemas/nodes/{entry.name}.json")] = _json(standalone(entry, topology_schema(usable)))
    for message in messages_of(usable):
        files[Path(f"schemas/messages/{message.__name__}.json")] = _json(message_schema(message))
    files[Path("docs/nodes.md")] = nodes_page(entries)
    files[Path("docs/errors.md")] = errors_page(root)
    return files


def standalone(entry: Entry, whole: dict[str, Any]) -> dict[str, Any]:
    """Return a node type's schema with the definitions that it refers to."""
    shared = ("reference", "duration", "port", "on_stale", "wire", "for_each")
    return {**node_schema(entry), "$defs": {name: whole["$defs"][name] for name in shared}}


def messages_of(entries: Iterable[Entry]) -> list[type[Message]]:
    """Return the messages that ports of these node types carry, by name."""
    found: dict[str, type[Message]] = {}
    for entry in entries:
        if entry.spec is None:
            continue
        ports: list[In | Out] = [*entry.spec.inputs.values(), *entry.spec.outputs.values()]
        for port in ports:
            other = found.setdefault(port.message.__name__, port.message)
            if other is not port.message:
                raise ValueError(f"{other.__module__} and {port.message.__module__} both have a {other.__name__}")
    found.pop("Message", None)
    return [found[name] for name in sorted(found)]


def message_schema(message: type[Message]) -> dict[str, Any]:
    """Return the schema of a message as it is encoded in JSON: an array, each place titled with its field's name."""
    (reference,), definitions = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    structs = {cls.__name__: cls for cls in _structs(message)}
    for name, definition in definitions.items():
        if "description" in definition:  # older Pythons keep the indentation of a docstring
            definition["description"] = inspect.cleandoc(definition["description"])
        if name in structs and "prefixItems" in definition:
            for field, item in zip(structs[name].__struct_fields__, definition["prefixItems"], strict=True):
                item["title"] = field
    return {
        "$schema": DIALECT,
        "title": message.__name__,
        "delivery": message.delivery,
        **reference,
        "$defs": definitions,
    }


def _structs(message: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()

    def walk(kind: Any) -> None:
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.cls not in found:
                found.add(kind.cls)
                for field in kind.fields:
                    walk(field.type)
            return
        for name in ("item_type", "item_types", "types", "type"):
            inner = getattr(kind, name, None)
            for part in inner if isinstance(inner, tuple) else (inner,):
                if isinstance(part, msgspec.inspect.Type):
                    walk(part)

    walk(msgspec.inspect.type_info(message))
    return found


def nodes_page(entries: list[Entry]) -> str:
    """Return docs/nodes.md: every node type with its ports and params."""
    lines = ["# Node types", "", NOTE, ""]
    lines += [f"A *{role}* {meaning}." for role, meaning in KINDS.items()]
    lines += ["", "| type | | what it does |", "| --- | --- | --- |"]
    lines += [f"| [{entry.name}](#{_anchor(entry.name)}) | {entry.role} | {_cell(entry.title)} |" for entry in entries]
    for entry in entries:
        lines += ["", f"## {entry.name}", ""]
        lines += _node_lines(entry)
    return "\n".join(lines).rstrip() + "\n"


def _node_lines(entry: Entry) -> list[str]:
    spec = entry.spec
    if spec is None:
        return [f"Cannot be used here: {entry.reason}"]
    lines = [spec.doc]
    tables = [
        ("input", [(name, catalogue.input_traits(port), port.doc) for name, port in spec.inputs.items()]),
        ("output", [(name, catalogue.output_traits(port), port.doc) for name, port in spec.outputs.items()]),
        ("param", [(name, catalogue.param_traits(param), param.doc) for name, param in spec.params.items()]),
        ("on_stale action", [(name, "", meaning) for name, meaning in spec.stale_actions.items()]),
        ("state", [(name, catalogue.type_text(item.type), item.doc) for name, item in spec.state.items()]),
    ]
    for title, rows in tables:
        if rows:
            lines += ["", f"| {title} | | |", "| --- | --- | --- |"]
            lines += [f"| `{name}` | {_cell(traits)} | {_cell(doc)} |" for name, traits, doc in rows]
    return lines


def errors_page(root: Path) -> str:
    """Return docs/errors.md: every code with its meaning and, where a golden file shows one, an example."""
    lines = ["# Errors", "", NOTE, ""]
    lines += ["What `pipeline validate` may say. Each code is stable: scripts may rely on it.", ""]
    for code, meaning in sorted(all_codes(installed_rules()).items()):
        lines += [f"## {code}", "", meaning, ""]
        example = root / "tests" / "golden" / "bad" / f"{code}.txt"
        if example.is_file():
            lines += ["```text", example.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _anchor(title: str) -> str:
    return title.lower().replace(".", "")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def differences(files: dict[Path, str], root: Path) -> list[Path]:
    """Return the files that are missing, differ, or are there and no longer generated."""
    stale = [path for path, text in files.items() if not _same(root / path, text)]
    for folder in ("schemas/nodes", "schemas/messages"):
        present = {path.relative_to(root) for path in (root / folder).glob("*.json")}
        stale += sorted(present - files.keys())
    return stale


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file lags behind.")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), default=ROOT, help="Where to write.")
def main(check: bool, root: Path) -> None:
    """Rewrite schemas/, docs/nodes.md and docs/errors.md."""
    files = generated(list(catalogue.entries()), root)
    stale = differences(files, root)
    if check:
        for path in stale:
            click.echo(f"{path} lags behind; run `python -m tools.generate`", err=True)
        sys.exit(1 if stale else 0)
    for path in stale:
        target = root / path
        if path not in files:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], "utf-8")
    click.echo(f"{len(files)} generated files, {len(stale)} changed")


if __name__ == "__main__":
    main()
