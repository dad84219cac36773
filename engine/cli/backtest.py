"""`pipeline backtest`: run a topology on recorded data under a virtual clock."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, set_option


@click.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Run folder; else runs/<topology>.")
@click.option("--seed", default=0, show_default=True, help="Seed of every node's own stream of chance.")
@click.option("--record/--no-record", default=True, show_default=True, help="Record what every node receives.")
@click.option("--variants/--no-variants", default=True, show_default=True, help="Run the declared variants too.")
@click.option("--force", is_flag=True, help="Replace a run that --out already holds.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    file: Path,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    out: Path | None,
    seed: int,
    record: bool,
    variants: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Run a topology on recorded data, in one process, under a virtual clock.

    Two runs with the same inputs and seed write the same ledger, report and recordings. The declared variants run
    first, each in its own folder below the run's, so that the report can compare them.

    \b
    Examples:
      pipeline backtest topologies/backtest/asymmetric_lp.yaml
      pipeline backtest topologies/backtest/asymmetric_lp.yaml --set gamma=1e-6 --out /tmp/averse
      pipeline replay runs/asymmetric_lp
    """
    import json

    from engine.cli._progress import ProgressLine
    from engine.run.session import run_backtest

    with ProgressLine(quiet=as_json) as progress:
        result = run_backtest(
            [file, *overlays],
            list(sets),
            out=out,
            seed=seed,
            record=record,
            with_variants=variants,
            force=force,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=1))
        return 0
    if result.page:
        click.echo(result.page)
    summary = result.summary
    click.echo(
        f"{summary.rows:,} rows and {summary.events:,} events in {summary.wall_s:.1f} s "
        f"({summary.rows / summary.wall_s:,.0f} rows/s)"
    )
    for path in result.written:
        click.echo(f"  {path}")
    return 0
