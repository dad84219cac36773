"""`pipeline restart`: start processes of a run anew."""

from __future__ import annotations

import click

from engine.cli._runs import ProcessName, run_option


@click.command()
@click.argument("processes", metavar="PROCESS...", type=ProcessName(), nargs=-1, required=True)
@run_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(processes: tuple[str, ...], run: str | None, as_json: bool) -> None:
    """Restart processes; all others go on, and are told that these are gone and back.

    A process stops its nodes, keeps their state, and starts again with it. It does not count against the restarts that
    the topology allows. One that has been given up cannot come back before the run is begun again with --resume.

    \b
    Examples:
      pipeline restart trader
      pipeline restart quotes books --run runs/quickstart
    """
    import json

    from engine.cli._runs import checked_names, connect

    with connect(run) as client:
        known = client.ask("status")["status"]["processes"]
        for process in checked_names(processes, known, "process"):
            client.ask("restart", process=process)
            if not as_json:
                click.echo(f"{process}: restarting")
    if as_json:
        click.echo(json.dumps({"restarting": list(processes)}))
