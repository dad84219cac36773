"""`pipeline chain`: a chain with Uniswap V3 on it, in one process."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import click

CHAIN_ID = 31337
"""What Foundry and Hardhat use for a chain on one's own machine."""


@click.group()
def command() -> None:
    """Run a chain with Uniswap V3 on it, for tests and dry runs."""


@command.command("fetch")
def fetch_command() -> int:
    """Get the published contracts from PyPI (34 MB, once); they are kept in the user's cache folder."""
    from tools.chain.contracts import fetch

    click.echo(f"contracts checked and kept in {fetch()}")
    return 0


@command.command("up")
@click.option("--port", default=8545, show_default=True, help="TCP port on 127.0.0.1; 0 takes any free one.")
@click.option("--chain-id", default=CHAIN_ID, show_default=True, type=click.IntRange(1), help="Chain id.")
@click.option("--fee", default="500", show_default=True, type=click.Choice(["100", "500", "3000", "10000"]))
@click.option("--price", default="3000", show_default=True, help="First price of the pool, USDC per WETH.")
@click.option("--depth", default="10000000", show_default=True, help="USDC on each side of the price, up to ±50 %.")
@click.option(
    "--token0", default="usdc", show_default=True, type=click.Choice(["usdc", "weth"]), help="Which token comes first."
)
@click.option("--block-time", default=0.0, show_default=True, help="Seconds between blocks; 0: one per transaction.")
@click.option("--manual", is_flag=True, help="No blocks but by evm_mine.")
@click.option("--anvil", is_flag=True, help="Run the node anvil instead of the one built in; it has no faults.")
@click.option("--evm", default="", help="pyrevm or py-evm; by default the fastest that is installed.")
@click.option("--json", "as_json", is_flag=True, help="Print endpoint, addresses and keys as one line of JSON.")
def up_command(  # noqa: PLR0917  click passes options by name
    port: int,
    chain_id: int,
    fee: str,
    price: str,
    depth: str,
    token0: str,
    block_time: float,
    manual: bool,
    anvil: bool,
    evm: str,
    as_json: bool,
) -> int:
    """Start a chain with a funded USDC/WETH pool and print where everything is; Ctrl-C ends it and forgets it.

    \b
    Examples:
      pipeline chain up
      pipeline chain up --token0 weth --fee 3000 --block-time 2
      pipeline chain up --anvil --port 0 --json
    """
    from tools.chain.deploy import PoolPlan
    from tools.chain.up import Plan, serve, serve_anvil

    pool = PoolPlan(int(fee), _positive("--price", price), token0 == "usdc", _positive("--depth", depth))
    plan = Plan(port=port, chain_id=chain_id, pool=pool, block_time_s=block_time, manual=manual, evm=evm)

    def tell(page: dict[str, Any]) -> None:
        import json

        click.echo(json.dumps(page) if as_json else _text(page))

    (serve_anvil if anvil else serve)(plan, tell)
    return 0


def _positive(option: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise click.BadParameter(f"{text!r} is no number", param_hint=option) from error
    if not (number.is_finite() and number > 0):
        raise click.BadParameter(f"{text} is not above 0", param_hint=option)
    return number


def _text(page: dict[str, Any]) -> str:
    lines = [f"{page['node']} listens on {page['http']} and {page['ws']}, chain id {page['chain_id']}", ""]
    lines += [f"  {name:<18}{address}" for name, address in page["contracts"].items()]
    lines += ["", "Funded accounts and their keys, known to everybody:", ""]
    lines += [f"  {address}  {key}" for address, key in page["accounts"].items()]
    return "\n".join(lines)
