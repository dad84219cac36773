"""`pipeline ledger`: check the record of a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def command() -> None:
    """Check the record of a run."""


@command.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--head", default="", help="Digest that the chain has to end in, kept from when the ledger was closed.")
def verify_command(file: Path, head: str) -> int:
    """Walk a ledger's hash chain; exit code 1 where it breaks.

    \b
    Examples:
      pipeline ledger verify runs/asymmetric_lp/ledger.sqlite
    """
    from nodes._lib.ledger_file import verify

    found = verify(file, head)
    click.echo(
        f"{file}: {found.rows:,} rows in {found.commits:,} commits are as written; the chain ends in {found.head}"
    )
    return 0
