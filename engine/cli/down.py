"""`pipeline down`: stop a run in order."""

from __future__ import annotations

import click

from engine.cli._runs import run_argument

LAST_ACT_S = 5.0


@click.command()
@run_argument
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the end; the run goes on ending afterwards.",
)
@click.option("--now", is_flag=True, help="Do not wait until all is handled: end the processes at once (SIGTERM).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str | None, timeout_s: float, now: bool, as_json: bool) -> int:
    """Stop a run: sources first, then along the graph until all is handled and put away, then the processes.

    RUN is a run folder or its name below ./runs; without it, the only run that is alive here. Exit code 1 when the run
    has not ended in time.

    \b
    Examples:
      pipeline down
      pipeline down quickstart --timeout 60
      pipeline down --now
    """
    import json
    import time

    from engine.cli._runs import find_run
    from engine.process.control import Client
    from engine.process.places import is_locked

    folder = find_run(run)
    began = time.monotonic()
    with Client.of(folder) as client:
        client.ask("stop", hurry=now)
        ended = client.wait_for_end(timeout_s)
    while ended and is_locked(folder):  # its last act, after it has hung up
        ended = time.monotonic() - began < max(timeout_s, LAST_ACT_S)
        time.sleep(0.02)
    took_s = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"run": str(folder), "ended": ended, "took_s": round(took_s, 3)}))
    elif ended:
        click.echo(f"{folder} has stopped after {took_s:.1f} s")
    else:
        click.echo(f"{folder} is still stopping after {took_s:.0f} s; `pipeline ps` shows what it waits for")
    return 0 if ended else 1
