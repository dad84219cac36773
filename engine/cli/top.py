"""`pipeline top`: what a run is doing now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli._common import needed
from engine.cli._runs import run_argument

if TYPE_CHECKING:
    from rich.console import RenderableType

    from engine.process.view import Rates, Status, Table

ONCE_S = 1.0


@click.command()
@run_argument
@click.option("--once", is_flag=True, help="Look twice, a second apart, print, and end.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each look.")
def command(run: str | None, once: bool, interval_s: float, as_json: bool) -> None:
    """Show rates, latencies, queues, losses, CPU and memory of a run: per process, per node, per wire.

    Processes in trouble and wires that lose something come first, then the busiest. Wires within a process are direct
    calls and have no queue; they are counted with their nodes. End with ctrl-c.

    \b
    Examples:
      pipeline top
      pipeline top quickstart --once
      pipeline top --once --json | jq '.wires | map_values(.latency_s.p99)'
    """
    import sys
    import time

    from engine.cli._runs import connect
    from engine.process.view import Rates

    rates = Rates()
    with connect(run) as client:

        def look() -> Status:
            status: Status = client.ask("status")["status"]
            rates.update(status, time.monotonic())
            return status

        if as_json:
            _print_json(look, rates, once, interval_s)
        elif once:
            look()
            time.sleep(ONCE_S)
            _print_once(look(), rates)
        elif sys.stdout.isatty():
            _show(look, rates, interval_s)
        else:
            look()
            while True:
                time.sleep(interval_s)
                _print_once(look(), rates)


def _tables(status: Status, rates: Rates) -> list[Table]:
    from engine.process import view

    return [view.processes(status), view.nodes(status, rates), view.wires(status, rates)]


def _print_once(status: Status, rates: Rates) -> None:
    from engine.cli._screen import plain
    from engine.process.view import headline

    click.echo(headline(status, rates))
    for table in _tables(status, rates):
        if table.rows:
            click.echo(f"\n{table.title}")
            for line in plain(table):
                click.echo(line)


def _print_json(look: Any, rates: Rates, once: bool, interval_s: float) -> None:
    import json
    import time

    look()
    while True:
        time.sleep(ONCE_S if once else interval_s)
        status = look()
        for id, node in status["nodes"].items():
            node["events_per_s"] = rates.of("nodes", id, "events")
            node["sent_per_s"] = rates.of("nodes", id, "sent")
        for name, wire in status["wires"].items():
            wire["delivered_per_s"] = rates.of("wires", name, "delivered")
        click.echo(json.dumps(status))
        if once:
            return


def _show(look: Any, rates: Rates, interval_s: float) -> None:
    import time

    needed("rich")
    from rich.live import Live

    from engine.cli._screen import console

    screen = console()
    look()
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(page(look(), rates, screen.width, screen.height), refresh=True)


def page(status: Status, rates: Rates, width: int, height: int) -> RenderableType:
    """Return all tables, cut so that together they fit a screen."""
    from rich.console import Group
    from rich.text import Text

    from engine.cli._screen import as_renderable
    from engine.process.view import headline

    tables = [table for table in _tables(status, rates) if table.rows]
    run = status["run"]
    parts: list[RenderableType] = [
        Text(f"{run.get('topology', '')}  {headline(status, rates)}", style="bold", no_wrap=True, overflow="ellipsis")
    ]
    for table, rows in zip(tables, shares([len(table.rows) for table in tables], height - 1), strict=True):
        parts += [Text(f"\n{table.title}", style="dim"), as_renderable(table, width, rows)]
    return Group(*parts)


def shares(wanted: list[int], height: int, around: int = 4) -> list[int]:
    """Share out the lines of a screen among tables of so many rows, each with `around` more lines about it.

    A table that needs less than its part leaves the rest to the others.
    """
    left, result = height - around * len(wanted), [0] * len(wanted)
    open_tables = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for position, index in enumerate(open_tables):
        fair = max(1, left // (len(open_tables) - position))
        result[index] = min(wanted[index], fair)
        left -= result[index]
    return result
