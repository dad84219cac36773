"""`pipeline replay`: give the nodes of a run what they received, and compare what they send."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for what the nodes write.")
@click.option("--node", "only", multiple=True, help="Replay only this node; may be given several times.")
@click.option("--force", is_flag=True, help="Replace a run that --out already holds.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: Path, out: Path | None, only: tuple[str, ...], force: bool, as_json: bool) -> int:
    """Replay the recording of a run folder and compare every output byte for byte.

    Each node gets what its handlers received, in order, timers and silence included. Exit code 1 when anything
    differs.

    \b
    Examples:
      pipeline replay runs/asymmetric_lp
      pipeline replay runs/asymmetric_lp --node net
    """
    import json
    from dataclasses import asdict

    from engine.run.session import run_replay

    result = run_replay(run, out, only=frozenset(only), force=force)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
    elif result.same:
        click.echo(f"the same: {result.outputs:,} messages from {result.inputs:,} events of {result.nodes} nodes")
    else:
        for difference in result.differences:
            click.echo(f"event {difference.event}, node {difference.node!r}:")
            click.echo(f"  recorded {difference.recorded}\n  replayed {difference.replayed}")
        click.echo(f"{result.differing:,} of {result.outputs:,} messages differ")
    return 0 if result.same else 1
