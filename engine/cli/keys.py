"""`pipeline keys`: the keys with which processes of two machines know each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli._common import TopologyFile, overlay_option, read_topology, set_option

if TYPE_CHECKING:
    from engine.topology.model import Topology
    from engine.wire.keys import KeyFolder

machine_option = click.option("--machine", metavar="NAME", help="Only what belongs on this machine.")


@click.group()
def command() -> None:
    """Make, show and check the keys of a topology whose processes live on several machines.

    The topology names their folder (`run: {keys: FOLDER}`). Public keys go to every machine; a secret key never leaves
    the machine on which its process runs.

    \b
    Examples:
      pipeline keys init my.yaml --machine house
      pipeline keys show my.yaml
      pipeline keys check my.yaml --machine house
    """


@command.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@machine_option
@click.option("--force", is_flag=True, help="Replace keys that are there; who has the old ones is no longer let in.")
def init(file: Path, overlays: tuple[Path, ...], sets: tuple[str, ...], machine: str | None, force: bool) -> None:
    """Make the keys that are missing: a pair for each process that speaks over TCP.

    Run it on each machine with its --machine, and copy the folder `public` to all of them. Nothing that is there is
    replaced without --force.

    \b
    Examples:
      pipeline keys init my.yaml --machine garden
      pipeline keys init my.yaml --machine garden --force
    """
    topology = read_topology(file, overlays, sets)
    keys = _folder(topology)
    for name in _names(topology, machine):
        made = keys.make(name, force=force)
        click.echo(f"{'made' if made else 'kept'} {name}: {keys.public_file(name)}, {keys.secret_file(name)}")


@command.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, overlays: tuple[Path, ...], sets: tuple[str, ...], as_json: bool) -> None:
    """Show who needs a key, the public keys, and whether the secret is on this machine. Secrets are never shown.

    \b
    Examples:
      pipeline keys show my.yaml
      pipeline keys show my.yaml --json
    """
    import json

    from engine.topology.machines import keyed
    from engine.wire.keys import KeyUnusable

    topology = read_topology(file, overlays, sets)
    keys = _folder(topology)
    rows = []
    for name, machine in keyed(topology).items():
        try:
            public = keys.public(name).decode()
        except KeyUnusable:
            public = None
        rows.append({"name": name, "machine": machine, "public": public, "secret": keys.secret_file(name).is_file()})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        secret = "secret is here" if row["secret"] else "secret is not here"
        click.echo(f"{row['name']:<{width}}  {row['public'] or 'no key yet':<40}  {row['machine'] or '-'}  {secret}")


@command.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@machine_option
def check(file: Path, overlays: tuple[Path, ...], sets: tuple[str, ...], machine: str | None) -> None:
    """Check that everything is there which a machine needs, that pairs fit, and that secrets are private.

    Without --machine every secret is looked for.

    \b
    Examples:
      pipeline keys check my.yaml --machine house
    """
    from engine.errors import UsageError
    from engine.topology.machines import keyed
    from engine.wire.keys import KeyUnusable

    topology = read_topology(file, overlays, sets)
    keys = _folder(topology)
    problems: list[str] = []
    here = _names(topology, machine)
    for name in here:
        try:
            keys.secret(name)
        except KeyUnusable as error:
            problems.append(str(error))
    try:
        keys.allowed(list(keyed(topology)))
    except KeyUnusable as error:
        problems.append(str(error))
    if problems:
        raise UsageError("; ".join(dict.fromkeys(problems)))
    click.echo(f"keys of {topology.name} are in order: {len(here)} secret here, {len(keyed(topology))} public")


def _folder(topology: Topology) -> KeyFolder:
    from engine.errors import UsageError
    from engine.wire.keys import KeyFolder

    if topology.run.keys is None:
        raise UsageError(f"topology {topology.name!r} names no folder of keys; add run: {{keys: FOLDER}} to it")
    return KeyFolder(Path(topology.run.keys))


def _names(topology: Topology, machine: str | None) -> list[str]:
    """Return who has a key on a machine, or anywhere; raise UsageError where nobody has."""
    from engine.errors import UsageError
    from engine.topology.machines import keyed, machines

    named = keyed(topology)
    if not named:
        raise UsageError(f"no process of {topology.name!r} speaks to another machine, and no hub names an address")
    if machine is None:
        return list(named)
    found = [name for name, where in named.items() if where == machine]
    if not found:
        known = ", ".join(sorted({where for where in (*named.values(), *machines(topology)) if where is not None}))
        raise UsageError(f"nothing on machine {machine!r} needs a key; the machines are: {known or 'none'}")
    return found
