"""`pipeline rearm`: release the kill switch."""

from __future__ import annotations

import click

from engine.cli._runs import run_option


@click.command()
@run_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str | None, as_json: bool) -> int:
    """Release the kill switch that `pipeline kill`, or the run itself, has engaged.

    Every node is told that it may act again. Exit code 1 when a process did not answer.

    \b
    Examples:
      pipeline rearm
      pipeline rearm --run runs/quickstart
    """
    from engine.cli._runs import tell_all

    return tell_all(run, "rearm", "rearmed", as_json)
