"""`pipeline diff`: what differs between two topologies once all is resolved."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, read_topology, set_option
from engine.cli._runs import RunName


@click.command()
@click.argument("before", type=TopologyFile())
@click.argument("after", type=TopologyFile(), required=False)
@overlay_option
@set_option
@click.option(
    "--run",
    "run",
    type=RunName(),
    is_flag=False,
    flag_value="",
    help="Compare with a run instead: what it was begun with, and the file as it is now. [the only one that is alive]",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    before: Path,
    after: Path | None,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    run: str | None,
    exit_code: bool,
    as_json: bool,
) -> int:
    """Compare two topologies as they would run. Overlays and settings apply to the second.

    Without AFTER the first is compared with itself under the overlays and settings. With --run the first is what a run
    was begun with, alive or ended, and the second the file as it is now. Lines begin with `+` for what only the second
    has, `-` for what only the first has, `~` for what changes.

    \b
    Examples:
      pipeline diff topologies/backtest/a.yaml topologies/backtest/b.yaml
      pipeline diff base.yaml -f paper.yaml --set fee_tier=3000
      pipeline diff base.yaml -f paper.yaml --run
      pipeline diff topologies/quickstart.yaml --run runs/quickstart
    """
    import dataclasses
    import json

    from engine.cli._runs import find_run
    from engine.errors import UsageError
    from engine.process.prepare import as_written, flat_of
    from engine.topology.flat import differences, flatten

    if run is None:
        old = flatten(read_topology(before))
    elif after is None:
        old = flat_of(find_run(run or None))
    else:
        raise UsageError("--run takes the place of one of the two files; name only the other")
    found = differences(as_written(old), as_written(flatten(read_topology(after or before, overlays, sets))))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(difference) for difference in found], indent=1, ensure_ascii=False))
    else:
        for difference in found:
            click.echo(str(difference))
        if not found:
            click.echo("no difference")
    return 1 if found and exit_code else 0
