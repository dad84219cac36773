"""`pipeline nodes`: which node types there are, and what one of them declares."""

from __future__ import annotations

import json
from typing import Any

import click


class NodeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """The name of a node type; completes."""

    name = "type"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from engine.registry import type_names

        return [CompletionItem(name) for name in type_names() if name.startswith(incomplete)]


@click.group()
def command() -> None:
    """Show the node types that are installed.

    \b
    Examples:
      pipeline nodes list
      pipeline nodes list models
      pipeline nodes show models.ewma_volatility
    """


@command.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all declarations as JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List node types with what each does; KIND is the first part of their names, such as `models`."""
    from engine import catalogue
    from engine.errors import UsageError

    found = [entry for entry in catalogue.entries() if kind is None or entry.name.split(".")[0] == kind]
    if kind and not found:
        kinds = sorted({entry.name.split(".")[0] for entry in catalogue.entries()})
        raise UsageError(f"there are no {kind!r} nodes; kinds are: {', '.join(kinds)}")
    if as_json:
        click.echo(json.dumps([catalogue.as_dict(entry) for entry in found], indent=1))
        return
    width = max((len(entry.name) for entry in found), default=0)
    for entry in found:
        click.echo(f"{entry.name:<{width}}  {entry.role:<8}  {entry.title}")


@command.command("show")
@click.argument("name", type=NodeType())
@click.option("--json", "as_json", is_flag=True, help="Print the declaration as JSON.")
def show_command(name: str, as_json: bool) -> None:
    """Show the ports and parameters of one node type, and how a topology uses it."""
    from engine import catalogue
    from engine.errors import UsageError
    from engine.registry import UnknownType, node_class, type_names
    from engine.topology.rules import did_you_mean_type

    try:
        spec = node_class(name).spec
    except UnknownType as error:
        raise UsageError(f"{error}; {did_you_mean_type(name, type_names())}") from None
    entry = catalogue.Entry(name, spec)
    if as_json:
        click.echo(json.dumps(catalogue.as_dict(entry), indent=1))
        return
    click.echo(f"{name} ({entry.role})\n\n{spec.doc}")
    _section("inputs", [(key, catalogue.input_traits(port), port.doc) for key, port in spec.inputs.items()])
    _section("outputs", [(key, catalogue.output_traits(port), port.doc) for key, port in spec.outputs.items()])
    _section("params", [(key, catalogue.param_traits(param), param.doc) for key, param in spec.params.items()])
    _section("actions for on_stale", [(key, "", meaning) for key, meaning in spec.stale_actions.items()])
    _section("state kept over restarts", [(key, "", field.doc) for key, field in spec.state.items()])
    click.echo("\nexample")
    click.echo("\n".join(f"  {line}" for line in catalogue.example(name, spec).splitlines()))


def _section(title: str, rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    click.echo(f"\n{title}")
    width = max(len(name) for name, _, _ in rows)
    for name, traits, doc in rows:
        click.echo(f"  {name:<{width}}  {traits or doc}")
        if traits and doc:
            click.echo(f"  {'':<{width}}  {doc}")
