"""Bring a node up with the contracts on it, and keep it up until interrupted."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import PipelineError, UsageError
from tools.chain.contracts import load_or_fetch
from tools.chain.deploy import Call, Deployment, PoolPlan, deploy
from tools.chain.dev_accounts import BALANCE_WEI, MNEMONIC, DevAccounts

HOST = "127.0.0.1"
_ANVIL_TIMEOUT_S = 30.0
Tell = Callable[[dict[str, Any]], None]


class NodeFailed(PipelineError):
    """The node could not be started, or has ended by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. `block_time_s` 0 makes a block for each transaction, unless `manual`."""

    port: int = 8545
    chain_id: int = 31337
    pool: PoolPlan = field(default_factory=PoolPlan)
    block_time_s: float = 0.0
    manual: bool = False
    evm: str = ""


def serve(plan: Plan, tell: Tell) -> None:
    """Run the built-in node until SIGINT or SIGTERM; `tell` gets endpoints, addresses and keys once it listens."""
    from tools.chain.chain import Chain
    from tools.chain.evm import open_evm
    from tools.chain.rpc import Rpc
    from tools.chain.server import Server

    contracts, accounts = load_or_fetch(), DevAccounts()
    chain = Chain(plan.chain_id, {address: BALANCE_WEI for address in accounts.addresses}, evm=open_evm(plan.evm))
    rpc = Rpc(chain, accounts)
    deployment = deploy(lambda method, *params: rpc.handle(method, params), contracts, accounts.addresses, plan.pool)
    chain.blocks_on_transaction = not (plan.manual or plan.block_time_s)
    server = Server(rpc, 0.0 if plan.manual else plan.block_time_s)
    node = f"chain on {chain.evm_name}"

    async def run() -> None:
        running = asyncio.current_task()
        assert running is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        try:
            await server.run(HOST, plan.port, lambda port: tell(_page(node, port, plan, deployment, accounts)))
        except asyncio.CancelledError:
            return
        except OSError as error:
            raise UsageError(f"cannot listen on {HOST}:{plan.port}: {error.strerror}; take another --port") from error

    asyncio.run(run())


def serve_anvil(plan: Plan, tell: Tell) -> None:
    """Run anvil with the same contracts until SIGINT or SIGTERM.

    Raises UsageError when anvil is not installed, NodeFailed when it does not start or ends.
    """
    program = find_anvil()
    contracts, accounts, port = load_or_fetch(), DevAccounts(), plan.port or _free_port()
    command = [program, "--silent", "--host", HOST, "--port", str(port), "--chain-id", str(plan.chain_id)]
    command += ["--mnemonic", MNEMONIC, "--accounts", str(len(accounts.addresses))]
    command += ["--balance", str(BALANCE_WEI // 10**18), "--hardfork", "cancun"]
    node = subprocess.Popen(command)
    try:
        call = http_caller(f"http://{HOST}:{port}")
        _wait_for(call, node)
        deployment = deploy(call, contracts, accounts.addresses, plan.pool)
        if plan.manual or plan.block_time_s:
            call("evm_setAutomine", False)
        if plan.block_time_s and not plan.manual:
            call("evm_setIntervalMining", max(1, round(plan.block_time_s)))
        tell(_page("anvil", port, plan, deployment, accounts))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        raise NodeFailed(f"anvil has ended with exit code {node.wait()}")
    except KeyboardInterrupt:
        return
    finally:
        node.terminate()
        node.wait()


def find_anvil() -> str:
    """Return the path of anvil: on PATH, or as npm puts it; raise UsageError when it is nowhere."""
    if program := shutil.which("anvil"):
        return program
    for folder in (Path.cwd(), *Path.cwd().parents):
        if programs := sorted(folder.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")):
            return str(programs[0])
    raise UsageError("anvil is not installed; `npm install @foundry-rs/anvil` does it, or leave --anvil out")


def http_caller(url: str) -> Call:
    """Return a function that calls JSON-RPC methods over HTTP and raises NodeFailed with the node's error."""
    ids = itertools.count(1)

    def call(method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_ANVIL_TIMEOUT_S) as response:
            page = json.loads(response.read())
        if "error" in page:
            raise NodeFailed(f"{method}: {page['error'].get('message')}")
        return page["result"]

    return call


def _wait_for(call: Call, node: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _ANVIL_TIMEOUT_S
    while True:
        if node.poll() is not None:
            raise NodeFailed(f"anvil has not started: exit code {node.returncode}; is the port taken?")
        try:
            call("eth_chainId")
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > deadline:
                raise NodeFailed(f"anvil did not answer within {_ANVIL_TIMEOUT_S:g} s") from error
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _page(node: str, port: int, plan: Plan, deployment: Deployment, accounts: DevAccounts) -> dict[str, Any]:
    return {
        "node": node,
        "http": f"http://{HOST}:{port}",
        "ws": f"ws://{HOST}:{port}",
        "chain_id": plan.chain_id,
        "contracts": deployment.page(),
        "accounts": {address: "0x" + accounts.key(address).hex() for address in accounts.addresses},
    }
