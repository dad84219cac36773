"""`pipeline doctor`: find out what may keep this installation from working."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli._common import TopologyFile

MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "broken": ("BROKEN", "red")}


@click.command()
@click.argument("files", type=TopologyFile(), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(files: tuple[Path, ...], as_json: bool) -> int:
    """Look at Python, packages, node types, schemas, ports, disk and limits. Exit code 1 when something is broken.

    With FILES, the ports that these topologies use are tried.

    \b
    Examples:
      pipeline doctor
      pipeline doctor topologies/backtest/asymmetric_lp.yaml
    """
    import dataclasses
    import json

    from engine.doctor import examine
    from engine.errors import ExitCode, UsageError
    from engine.scaffold import find_project

    try:
        root = find_project(Path.cwd()).root
    except UsageError:
        root = Path.cwd()
    findings = list(examine(root, sorted({port for file in files for port in _ports_of(file)})))
    broken = sum(finding.status == "broken" for finding in findings)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        return ExitCode.FAILED if broken else ExitCode.DONE
    for finding in findings:
        mark, colour = MARKS[finding.status]
        click.echo(f"{click.style(f'{mark:<6}', fg=colour)}  {finding.subject}: {finding.text}")
        if finding.fix:
            click.echo(f"        fix: {finding.fix}")
    click.echo(f"{broken} broken" if broken else "everything works")
    return ExitCode.FAILED if broken else ExitCode.DONE


def _ports_of(file: Path) -> list[int]:
    from engine.cli._common import read_topology

    return [port for hub in read_topology(file).hubs.values() for port in (*hub.publish, hub.subscribe)]
