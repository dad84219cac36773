"""`pipeline graph`: draw a topology."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, read_topology, set_option

FORMATS = ("text", "dot", "mermaid", "svg", "png", "html", "json")
SUFFIXES = {".txt": "text", ".gv": "dot", ".mmd": "mermaid", ".htm": "html"}


@click.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("--format", "format", type=click.Choice(FORMATS), help="Else from the name of --out, else text.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: nodes, wires, hubs, processes.")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of stdout.")
@click.option("--process", metavar="NAME", help="Draw one process and what its wires lead to.")
@click.option("--params/--no-params", default=True, show_default=True, help="Show the parameters that are set.")
@click.option("--overview", is_flag=True, help="In pictures, boxes and arrows only: no ports, parameters or policies.")
def command(
    file: Path,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    format: str | None,
    as_json: bool,
    out: Path | None,
    process: str | None,
    params: bool,
    overview: bool,
) -> None:
    """Draw a topology: its processes, nodes, ports, wires and hubs.

    A topology that fails its checks is drawn all the same. The same topology gives the same bytes.

    \b
    Examples:
      pipeline graph topologies/backtest/asymmetric_lp.yaml
      pipeline graph topologies/backtest/asymmetric_lp.yaml -o graph.html
      pipeline graph topologies/backtest/asymmetric_lp.yaml --overview -o graph.svg
      pipeline graph my.yaml --process trader --format dot --no-params
      pipeline graph my.yaml --json | jq '.nodes[].use'
    """
    from engine.topology.draw import draw, make_scene

    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json and --format {format} are two formats; give one")
    chosen = "json" if as_json else format or _by_name(out)
    if chosen == "png" and out is None and sys.stdout.isatty():
        raise click.UsageError("png is no text for a terminal; write it to a file with -o FILE.png")
    topology = read_topology(file, overlays, sets)
    data = draw(make_scene(topology, process=process, with_params=params, overview=overview), chosen)
    if out is None:
        click.echo(data, nl=False)
    else:
        try:
            out.write_bytes(data)
        except OSError as error:
            raise click.FileError(str(out), error.strerror) from None
        click.echo(f"{out} ({len(data):,} bytes)")


def _by_name(out: Path | None) -> str:
    if out is None:
        return "text"
    suffix = out.suffix.lower()
    named: str = SUFFIXES.get(suffix, suffix.removeprefix("."))
    if named not in FORMATS:
        raise click.UsageError(f"no format goes by the name of {out.name!r}; give --format ({', '.join(FORMATS)})")
    return named
