"""`pipeline ps`: the runs and their processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show ended runs too, and those of other folders.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(everything: bool, as_json: bool) -> None:
    """Show the runs below ./runs that are alive, and the state of their processes.

    With --all also runs that have ended, and those that this user has started elsewhere.

    \b
    Examples:
      pipeline ps
      pipeline ps --all
      pipeline ps --json | jq '.[].processes | map_values(.state)'
    """
    import json

    from engine.cli._screen import plain
    from engine.process.view import processes

    found = [_look(folder) for folder in _folders(everything)]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo("no run is alive here" if not everything else "no runs")
    for number, run in enumerate(found):
        state = run["state"] + (f", halted: {run['halted']}" if run["halted"] else "")
        gap = number and (run["processes"] or found[number - 1]["processes"])
        click.echo(("\n" if gap else "") + f"{run['folder']}: {state}")
        if run["processes"]:
            for line in plain(processes(run)):
                click.echo(f"  {line}")


def _folders(everything: bool) -> list[Path]:
    from engine.cli._runs import RUNS, is_run, running_here

    if not everything:
        return running_here()
    from engine.process.places import live_runs

    here = sorted(folder for folder in RUNS.glob("*") if is_run(folder))
    seen = {folder.resolve() for folder in here}
    return here + sorted(folder for run in live_runs() if (folder := Path(run["folder"])) not in seen)


def _look(folder: Path) -> dict[str, Any]:
    """Return what is to be said of one run; a run that ends meanwhile has ended."""
    from engine.errors import PipelineError
    from engine.process.control import Client
    from engine.process.places import NotRunning, is_locked

    shown: dict[str, Any] = {"folder": str(folder), "state": "ended", "halted": None, "processes": {}}
    if not is_locked(folder):
        return shown
    try:
        with Client.of(folder, timeout_s=2.0) as client:
            status = client.ask("status")["status"]
    except NotRunning:
        return {**shown, "state": "starting or ending"}
    except PipelineError as error:
        return {**shown, "state": f"does not answer ({error})"}
    return {**shown, **status["run"], "folder": str(folder), "processes": status["processes"]}
