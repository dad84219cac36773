"""`pipeline replay`: give the nodes of a run what they received, and compare what they send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.run.replay import Replayed


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for what the nodes write.")
@click.option("--node", "only", multiple=True, help="Replay only this node; may be given several times.")
@click.option("--force", is_flag=True, help="Replace a run that --out already holds.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: Path, out: Path | None, only: tuple[str, ...], force: bool, as_json: bool) -> int:
    """Replay the recording of a run folder and compare every output byte for byte.

    Each node gets what its handlers received, in order, timers and silence included. Of a run in processes every start
    of every process is replayed, each from the state it began with; nodes that own a connection to the world are taken
    as they were. Exit code 1 when anything differs.

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
    else:
        for line in _lines(result):
            click.echo(line)
    return 0 if result.same else 1


def _lines(result: Replayed) -> list[str]:
    lines = []
    for difference in result.differences:
        lines += [
            f"event {difference.event}, node {difference.node!r}:",
            f"  recorded {difference.recorded}",
            f"  replayed {difference.replayed}",
        ]
    if result.same:
        lines.append(f"the same: {result.outputs:,} messages from {result.inputs:,} events of {result.nodes} nodes")
    else:
        lines.append(f"{result.differing:,} of {result.outputs:,} messages differ")
        width = max(map(len, result.by_node))
        lines += [
            f"  {node_id:{width}}  {compared.differing:,} of {compared.messages:,}"
            for node_id, compared in sorted(result.by_node.items())
            if compared.differing
        ]
    for segment in result.segments:
        notes = [
            note for note in (segment.end, *(f"{id!r} failed: {why}" for id, why in segment.failed.items())) if note
        ]
        if notes:
            name = f"{segment.process}, start {segment.start}" if segment.process else "the recording"
            lines.append(f"  {name}: {'; '.join(notes)}")
    if result.changed:
        lines.append(f"  messages of other fields than in the run: {', '.join(result.changed)}")
    if result.drivers:
        lines.append(f"  not replayed, since they talk to the world: {', '.join(result.drivers)}")
    return lines
