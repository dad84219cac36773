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
@click.option("--json", "as_json", is_flag=True, help="Print rows, commits, head and whether all is well as JSON.")
def verify_command(file: Path, head: str, as_json: bool) -> int:
    """Walk a ledger's hash chain; exit code 1 where it breaks.

    \b
    Examples:
      pipeline ledger verify runs/asymmetric_lp/ledger.sqlite
    """
    import json

    from nodes._lib.ledger_file import LedgerDamaged, verify

    try:
        found = verify(file, head)
    except LedgerDamaged as error:
        if not as_json:
            raise
        click.echo(json.dumps({"file": str(file), "ok": False, "rows": None, "head": None, "error": str(error)}))
        return 1
    if as_json:
        page = {"file": str(file), "ok": True, "rows": found.rows, "commits": found.commits, "head": found.head}
        click.echo(json.dumps(page))
        return 0
    click.echo(
        f"{file}: {found.rows:,} rows in {found.commits:,} commits are as written; the chain ends in {found.head}"
    )
    return 0
