"""`pipeline diff`: what differs between two topologies once all is resolved."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, read_topology, set_option


@click.command()
@click.argument("before", type=TopologyFile())
@click.argument("after", type=TopologyFile(), required=False)
@overlay_option
@set_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    before: Path,
    after: Path | None,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    exit_code: bool,
    as_json: bool,
) -> int:
    """Compare two topologies as they would run. Overlays and settings apply to the second.

    Without AFTER the first is compared with itself under the overlays and settings. Lines begin with `+` for what
    only the second has, `-` for what only the first has, `~` for what changes.

    \b
    Examples:
      pipeline diff topologies/backtest/a.yaml topologies/backtest/b.yaml
      pipeline diff base.yaml -f paper.yaml --set fee_tier=3000
    """
    import dataclasses
    import json

    from engine.topology.flat import differences, flatten

    found = differences(flatten(read_topology(before)), flatten(read_topology(after or before, overlays, sets)))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(difference) for difference in found], indent=1, ensure_ascii=False))
    else:
        for difference in found:
            click.echo(str(difference))
        if not found:
            click.echo("no difference")
    return 1 if found and exit_code else 0
