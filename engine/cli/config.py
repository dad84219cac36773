"""`pipeline config`: the flat topology that would run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, read_topology, set_option


@click.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("--origins", is_flag=True, help="Say of each value in which file and line it was written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: Path, overlays: tuple[Path, ...], sets: tuple[str, ...], origins: bool, as_json: bool) -> None:
    """Print the topology with includes, loops, overlays and parameters resolved: what is printed is what runs.

    The text can be loaded again. Secrets stay references; their values are never read.

    \b
    Examples:
      pipeline config topologies/backtest/asymmetric_lp.yaml
      pipeline config base.yaml -f paper.yaml --set fee_tier=3000 --origins
    """
    import json

    from engine.topology.flat import as_yaml, chain, flatten, runnable

    flat = flatten(read_topology(file, overlays, sets))
    if not as_json:
        click.echo(as_yaml(flat, origins=origins))
        return
    page = runnable(flat)
    if origins:
        page["origins"] = {".".join(path): chain(origin) for path, origin in flat.origins.items()}
    click.echo(json.dumps(page, indent=1, ensure_ascii=False))
