"""`pipeline record`: run a topology and keep what chosen nodes receive."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile, overlay_option, set_option


@click.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("--node", "only", multiple=True, help="Record only this node; may be given several times.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Run folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of every node's own stream of chance.")
@click.option("--force", is_flag=True, help="Replace a run that --out already holds.")
def command(
    file: Path,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    only: tuple[str, ...],
    out: Path,
    seed: int,
    force: bool,
) -> int:
    """Run a topology and record what its nodes receive and send, in order.

    `pipeline replay` gives a node the same again, which is how one finds out what it did and tests a change to it.
    The recording is an Arrow stream while it is written and a Parquet file afterwards.

    \b
    Examples:
      pipeline record topologies/backtest/asymmetric_lp.yaml --node vol --node net --out /tmp/two
      pipeline replay /tmp/two --node net
    """
    from engine.cli._progress import ProgressLine
    from engine.run.segment import count_rows
    from engine.run.session import run_backtest

    with ProgressLine() as progress:
        run_backtest(
            [file, *overlays],
            list(sets),
            out=out,
            seed=seed,
            only=frozenset(only),
            with_variants=False,
            force=force,
            progress=progress,
        )
    counts = count_rows(out / "recordings")
    width = max(map(len, counts), default=0)
    for node_id, (received, sent) in sorted(counts.items()):
        click.echo(f"{node_id:{width}}  {received:>10,} received  {sent:>10,} sent")
    click.echo(f"  {out / 'recordings'}")
    return 0
