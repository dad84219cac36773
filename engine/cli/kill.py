"""`pipeline kill`: the kill switch."""

from __future__ import annotations

from getpass import getuser

import click

from engine.cli._runs import run_option


@click.command()
@click.argument("reason", required=False)
@run_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(reason: str | None, run: str | None, as_json: bool) -> int:
    """Engage the kill switch: whatever acts on the outside world stops doing so, and starts nothing more.

    The processes go on running, and what they watch stays visible. The switch is latched: a process that is restarted
    is told again, until `pipeline rearm`. Exit code 1 when a process did not answer; the switch is engaged for all
    others, and for that one as soon as it listens.

    \b
    Examples:
      pipeline kill
      pipeline kill "the feed is wrong" --run runs/quickstart
    """
    from engine.cli._runs import tell_all

    return tell_all(run, "halt", "halted", as_json, reason=reason or f"asked for by {getuser()}")
