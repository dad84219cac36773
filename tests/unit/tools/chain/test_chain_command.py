"""`pipeline chain`: its words, and what it refuses."""

from __future__ import annotations

import socket
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.chain import contracts, local_chain

from engine.errors import UsageError
from tools.chain.command import command
from tools.chain.deploy import PoolPlan, sqrt_price_x96
from tools.chain.faults import Faults
from tools.chain.up import find_anvil


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--price", "dear", "'dear' is no number"),
        ("--depth", "-1", "is not above 0"),
        ("--price", "NaN", "not above 0"),
    ],
)
def test_numbers_are_checked(option, value, text):
    result = CliRunner().invoke(command, ["up", option, value])
    assert result.exit_code == 2
    assert text in result.output


def test_a_taken_port_is_named():
    contracts()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        error = CliRunner().invoke(command, ["up", "--port", str(port)]).exception
    assert isinstance(error, UsageError)
    assert f"cannot listen on 127.0.0.1:{port}" in str(error)


def test_an_evm_that_is_not_there_is_named():
    contracts()
    error = CliRunner().invoke(command, ["up", "--evm", "geth"]).exception
    assert isinstance(error, UsageError)
    assert "no EVM 'geth'; there are pyrevm and py-evm" in str(error)


def test_anvil_is_looked_for_where_npm_puts_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="npm install @foundry-rs/anvil"):
        find_anvil()
    program = tmp_path / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    program.parent.mkdir(parents=True)
    program.touch()
    assert find_anvil() == str(program)


@pytest.mark.parametrize("usdc_is_token0", [True, False])
def test_the_first_price_is_what_was_asked(usdc_is_token0):
    price = Decimal("1234.56")
    ratio = (sqrt_price_x96(price, usdc_is_token0) / 2**96) ** 2
    found = 10**12 / ratio if usdc_is_token0 else ratio * 10**12
    assert found == pytest.approx(float(price), rel=1e-12)
    assert PoolPlan().usdc_is_token0


def test_the_page_names_every_fault_method_and_option():
    page = (Path(__file__).parents[4] / "docs" / "chain.md").read_text(encoding="utf-8")
    methods = local_chain().rpc.names()
    names = [one.name for one in fields(Faults)] + [name.removeprefix("eth_") for name in methods]
    options = [option for parameter in command.commands["up"].params for option in parameter.opts]
    missing = [name for name in (*names, *options) if name not in page and name not in ("--port", "--chain-id")]
    assert missing == []
