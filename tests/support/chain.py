"""The embedded chain for tests: in this process without a socket, or as `pipeline chain up` in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

pytest.importorskip("eth_keys", reason="the extra `chain` is not installed")

from engine.errors import UsageError
from tools.chain.chain import Chain, Event
from tools.chain.contracts import Artifact, ContractsMissing, load_or_fetch
from tools.chain.deploy import Deployment, PoolPlan, deploy, encode_call
from tools.chain.dev_accounts import BALANCE_WEI, DevAccounts
from tools.chain.evm import Evm
from tools.chain.rpc import Rpc
from tools.chain.transactions import sign
from tools.chain.up import find_anvil

CHAIN_ID = 31337
GWEI = 10**9
START_S = 1_704_412_800
_NODE = "from tools.chain.command import command; command()"


@cache
def contracts() -> dict[str, Artifact]:
    """The published contracts, fetched on first use; without them the test is skipped."""
    try:
        return load_or_fetch()
    except ContractsMissing as error:
        pytest.skip(f"the contracts of Uniswap are not here: {error}")


@dataclass
class LocalChain:
    """A chain with its methods, and what its listeners have heard. Its clock stands still; each block adds a second."""

    rpc: Rpc
    events: list[Event] = field(default_factory=list)
    deployment: Deployment | None = None

    @property
    def chain(self) -> Chain:
        return self.rpc.chain

    @property
    def accounts(self) -> list[str]:
        return self.rpc.dev.addresses

    def call(self, method: str, *params: Any) -> Any:
        return self.rpc.handle(method, list(params))

    def raw(self, account: int = 1, **fields: Any) -> str:
        """A signed transfer to oneself, with fields as given."""
        address = self.accounts[account]
        values = {
            "chain_id": CHAIN_ID,
            "nonce": int(self.call("eth_getTransactionCount", address, "pending"), 16),
            "max_priority_fee": GWEI,
            "max_fee": 10 * GWEI,
            "gas": 21_000,
            "to": address,
        }
        return "0x" + sign(self.rpc.dev.key(address), **(values | fields)).hex()

    def send(self, account: int = 1, **fields: Any) -> str:
        return self.call("eth_sendRawTransaction", self.raw(account, **fields))

    def transact(self, name: str, to: str, function: str, *arguments: Any, account: int = 0) -> dict[str, Any]:
        """Send a contract call and return its receipt."""
        data = "0x" + encode_call(contracts()[name], function, *arguments).hex()
        sent = self.call("eth_sendTransaction", {"from": self.accounts[account], "to": to, "data": data})
        return self.call("eth_getTransactionReceipt", sent)


def local_chain(*, evm: Evm | None = None, **options: Any) -> LocalChain:
    """A chain with funded accounts and no contracts."""
    dev = DevAccounts()
    balances = {address: BALANCE_WEI for address in dev.addresses}
    local = LocalChain(Rpc(Chain(CHAIN_ID, balances, evm=evm, clock=lambda: START_S, **options), dev))
    local.chain.listeners.append(local.events.append)
    return local


def uniswap_chain(plan: PoolPlan | None = None, *, evm: Evm | None = None) -> LocalChain:
    """A chain with Uniswap, tokens and a pool on it."""
    local = local_chain(evm=evm)
    local.deployment = deploy(local.call, contracts(), local.accounts, plan or PoolPlan())
    local.events.clear()
    return local


def need_anvil() -> None:
    """Skip the test where anvil is not installed."""
    try:
        find_anvil()
    except UsageError as error:
        pytest.skip(str(error))


@contextmanager
def node(*options: str) -> Iterator[dict[str, Any]]:
    """Run a node in another process; yield its endpoints, addresses and keys."""
    contracts()
    command = [sys.executable, "-c", _NODE, "up", "--port", "0", "--json", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise AssertionError(f"the node did not start: {process.stderr.read() if process.stderr else ''}")
            yield json.loads(line)
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=10)
        assert process.returncode == 0, errors
        assert errors == "", errors
