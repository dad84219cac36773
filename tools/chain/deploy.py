"""Put Uniswap V3, WETH and two tokens on a chain, and a pool with liquidity. Works on any node that has funded keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from math import isqrt, log
from typing import Any

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from tools.chain.contracts import Artifact
from tools.chain.transactions import created_address
from tools.chain.world import Address

Call = Callable[..., Any]
"""A JSON-RPC method with its parameters; it raises what the node's error is."""

USDC_DECIMALS, WETH_DECIMALS, OTHER_DECIMALS = 6, 18, 18
TICK_SPACINGS = {100: 1, 500: 10, 3000: 60, 10000: 200}
WIDTH = Decimal("1.5")
"""The first position reaches from price / 1.5 to price × 1.5."""
_NO_DESCRIPTOR = "0x" + "0" * 40
_FOR_EVER = 2**64
_USDC_EACH = 10_000_000 * 10**USDC_DECIMALS
_WETH_EACH = 5_000 * 10**WETH_DECIMALS
_RECEIPT_TIMEOUT_S = 30.0


class DeployFailed(Exception):
    """A transaction of the set-up was refused or has failed."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The pool that is wanted. `price` in USDC per WETH, `depth_usdc` in whole USDC on each side of it."""

    fee: int = 500
    price: Decimal = Decimal(3000)
    usdc_is_token0: bool = True
    depth_usdc: Decimal = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where everything is; token0 and token1 are the pool's."""

    factory: Address
    position_manager: Address
    swap_router: Address
    quoter: Address
    tick_lens: Address
    weth: Address
    usdc: Address
    dai: Address
    pool: Address
    token0: Address
    token1: Address
    fee: int

    def page(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def deploy(call: Call, contracts: Mapping[str, Artifact], accounts: list[Address], plan: PoolPlan) -> Deployment:
    """Deploy from the first of `accounts`, give all of them tokens, make the pool and one wide position in it.

    Raises DeployFailed with the name of what did not work.
    """
    site = _Site(call, contracts, accounts[0])
    usdc, weth = site.create_pair(plan.usdc_is_token0)
    factory = site.create("UniswapV3Factory")
    manager = site.create("NonfungiblePositionManager", factory, weth, _NO_DESCRIPTOR)
    router = site.create("SwapRouter", factory, weth)
    quoter = site.create("QuoterV2", factory, weth)
    tick_lens = site.create("TickLens")
    dai = site.create("ERC20", "Dai Stablecoin", "DAI", 10**12 * 10**OTHER_DECIMALS, OTHER_DECIMALS)
    if plan.fee == 100:
        site.send("UniswapV3Factory", factory, "enableFeeAmount", 100, TICK_SPACINGS[100])

    depth_weth = int(plan.depth_usdc / plan.price * 10**WETH_DECIMALS)
    site.send("WETH9", weth, "deposit", value=depth_weth * 2 + _WETH_EACH * len(accounts))
    for address in accounts[1:]:
        site.send("ERC20", usdc, "transfer", address, _USDC_EACH)
        site.send("WETH9", weth, "transfer", address, _WETH_EACH)
        site.send("ERC20", dai, "transfer", address, 10_000_000 * 10**OTHER_DECIMALS)

    token0, token1 = (usdc, weth) if plan.usdc_is_token0 else (weth, usdc)
    sqrt_price = sqrt_price_x96(plan.price, plan.usdc_is_token0)
    create_pool = (token0, token1, plan.fee, sqrt_price)
    site.send("NonfungiblePositionManager", manager, "createAndInitializePoolIfNecessary", *create_pool)
    pool = site.read("UniswapV3Factory", factory, "getPool", token0, token1, plan.fee)
    for token in (usdc, weth):
        site.send("ERC20", token, "approve", manager, 2**256 - 1)
    spacing = TICK_SPACINGS[plan.fee]
    middle = round(log((sqrt_price / 2**96) ** 2, 1.0001) / spacing) * spacing
    reach = round(log(WIDTH, 1.0001) / spacing) * spacing
    depth = {usdc: int(plan.depth_usdc * 10**USDC_DECIMALS), weth: depth_weth}
    wanted = (token0, token1, plan.fee, middle - reach, middle + reach, depth[token0], depth[token1])
    site.send("NonfungiblePositionManager", manager, "mint", (*wanted, 0, 0, accounts[0], _FOR_EVER))
    return Deployment(factory, manager, router, quoter, tick_lens, weth, usdc, dai, pool, token0, token1, plan.fee)


def sqrt_price_x96(price: Decimal, usdc_is_token0: bool) -> int:
    """Return the pool's square root price of `price` USDC per WETH."""
    raw = price.scaleb(USDC_DECIMALS - WETH_DECIMALS)
    numerator, denominator = (1 / raw if usdc_is_token0 else raw).as_integer_ratio()
    return isqrt((numerator << 192) // denominator)


class _Site:
    # One deployer and the contracts that it knows.
    def __init__(self, call: Call, contracts: Mapping[str, Artifact], deployer: Address) -> None:
        self.call, self.contracts, self.deployer = call, contracts, deployer

    def create(self, name: str, *arguments: Any) -> Address:
        contract = self.contracts[name]
        inputs: list[Any] = next((one["inputs"] for one in contract.abi if one["type"] == "constructor"), [])
        data = contract.creation_code + encode([type_of(one) for one in inputs], arguments)
        return str(self._mined(name, {"data": "0x" + data.hex()})["contractAddress"]).lower()

    def create_pair(self, usdc_is_token0: bool) -> tuple[Address, Address]:
        # The order of a pool's tokens is that of their addresses, and an address follows from its creator's nonce: the
        # next two are known, and the token that has to be token0 is made when the lower one comes.
        nonce = int(self.call("eth_getTransactionCount", self.deployer, "latest"), 16)
        rising = created_address(self.deployer, nonce) < created_address(self.deployer, nonce + 1)
        usdc = ("ERC20", "USD Coin", "USDC", 10**12 * 10**USDC_DECIMALS, USDC_DECIMALS)
        if usdc_is_token0 is rising:
            return self.create(*usdc), self.create("WETH9")
        weth = self.create("WETH9")
        return self.create(*usdc), weth

    def send(self, name: str, to: Address, function: str, *arguments: Any, value: int = 0) -> None:
        data = encode_call(self.contracts[name], function, *arguments)
        self._mined(f"{name}.{function}", {"to": to, "data": "0x" + data.hex(), "value": hex(value)})

    def read(self, name: str, to: Address, function: str, *arguments: Any) -> Any:
        data = encode_call(self.contracts[name], function, *arguments)
        answer = self.call("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
        outputs = next(one["outputs"] for one in self.contracts[name].abi if one.get("name") == function)
        values = decode([type_of(one) for one in outputs], bytes.fromhex(answer[2:]))
        return values[0] if len(values) == 1 else values

    def _mined(self, what: str, transaction: dict[str, Any]) -> dict[str, Any]:
        transaction_hash = self.call("eth_sendTransaction", {"from": self.deployer, **transaction})
        deadline = time.monotonic() + _RECEIPT_TIMEOUT_S
        while (receipt := self.call("eth_getTransactionReceipt", transaction_hash)) is None:
            if time.monotonic() > deadline:
                raise DeployFailed(f"{what}: no receipt after {_RECEIPT_TIMEOUT_S:g} s")
            time.sleep(0.01)
        if receipt["status"] != "0x1":
            raise DeployFailed(f"{what}: the transaction {transaction_hash} has failed")
        return dict(receipt)


def encode_call(contract: Artifact, function: str, *arguments: Any) -> bytes:
    """Return the call data of a contract's function."""
    inputs = next(one["inputs"] for one in contract.abi if one["type"] == "function" and one["name"] == function)
    types = [type_of(one) for one in inputs]
    return keccak(f"{function}({','.join(types)})".encode())[:4] + encode(types, arguments)


def type_of(parameter: Mapping[str, Any]) -> str:
    """Return the ABI type of a parameter, tuples spelled out."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(type_of(one) for one in parameter['components'])}){kind.removeprefix('tuple')}"
