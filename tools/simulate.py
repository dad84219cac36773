"""Play seeded worlds in which books, deltas, wires and venue go wrong, and name the seeds in which the loop breaks.

`python -m tools.simulate --seeds 1..500` plays both worlds (tools/simulation/world.py) for each seed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from tools.simulation.world import WORLDS, Failed, simulate


def seeds_of(text: str) -> range:
    """Return the seeds that `7` or `1..500` means; raises ValueError for anything else."""
    first, dots, last = text.partition("..")
    return range(int(first), int(last if dots else first) + 1)


def jobs(seeds: range, worlds: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (seed, world) in order."""
    return ((seed, world) for seed in seeds for world in worlds)


@click.command()
@click.option("--seeds", default="1..50", show_default=True, help="One seed, or the first and last of a range: 1..500.")
@click.option("--world", "worlds", multiple=True, type=click.Choice(WORLDS), help="Which world; by default all.")
@click.option("--show", is_flag=True, help="Print every message that is sent, with its time.")
def main(seeds: str, worlds: tuple[str, ...], show: bool) -> None:
    """Play seeded worlds with faults; exit code 1 when something broke in one of them."""
    try:
        wanted = seeds_of(seeds)
    except ValueError:
        raise click.BadParameter(f"{seeds!r} is neither a seed nor a range like 1..500", param_hint="--seeds") from None
    todo = list(jobs(wanted, worlds or WORLDS))
    failed = fills = messages = halted = latched = off_market = 0
    for number, (seed, world) in enumerate(todo, 1):
        try:
            outcome = simulate(seed, world, click.echo if show else None)
        except Failed as failure:
            failed += 1
            click.echo(f"\r{failure}")
            continue
        fills, messages = fills + outcome.fills, messages + outcome.messages
        halted, latched = halted + outcome.halted, latched + outcome.latched
        off_market += outcome.off_market
        if len(todo) == 1 or show:
            click.echo(outcome)
        elif sys.stderr.isatty() or number == len(todo):
            click.echo(f"\r{number} of {len(todo)} worlds, {failed} failed", err=True, nl=number == len(todo))
    click.echo(
        f"{len(todo)} worlds, {messages:,} messages, {fills:,} fills ({off_market} on a false price), "
        f"{halted} halted, {latched} latched, {failed} failed"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
