"""Random lives of positions: the contracts and nodes/_lib/uniswap_v3 answer alike, or refuse with the same words."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from eth_abi.abi import decode
from support.chain import LocalChain, contracts, uniswap_chain

from nodes._lib.uniswap_v3.integers import Revert
from nodes._lib.uniswap_v3.pool import Pool
from nodes._lib.uniswap_v3.position_manager import PositionManager, exact_input_single, exact_output_single
from tools.chain.chain import KEPT_WORLDS, Chain
from tools.chain.deploy import PoolPlan, encode_call, sqrt_price_x96, type_of
from tools.chain.evm import open_evm
from tools.chain.wire import RpcError

PRICE = Decimal(2000)
FOR_EVER, MOST = 2**64, 2**128 - 1


class Twin:
    """The deployed contracts and the model of them; each call is made on both and its answers compared."""

    def __init__(self, usdc_is_token0: bool, fee_protocol: tuple[int, int], seed: int) -> None:
        self.local: LocalChain = uniswap_chain(PoolPlan(price=PRICE, usdc_is_token0=usdc_is_token0))
        self.where, self.random = self.local.deployment, Random(seed)
        self.pool = Pool(fee=500, tick_spacing=10)
        self.pool.initialize(sqrt_price_x96(PRICE, usdc_is_token0))
        self.manager = PositionManager(self.pool)
        first = self.ask("NonfungiblePositionManager", self.where.position_manager, "positions", 1)
        usdc, weth = 10**13, 5_000 * 10**18
        self.scale = (10**10, 5 * 10**18) if usdc_is_token0 else (5 * 10**18, 10**10)
        self.manager.mint(first[5], first[6], (usdc, weth) if usdc_is_token0 else (weth, usdc), (0, 0), FOR_EVER)
        for token in (self.where.usdc, self.where.weth):
            self.local.transact("ERC20", token, "approve", self.where.swap_router, 2**256 - 1)
        self.local.transact("UniswapV3Pool", self.where.pool, "setFeeProtocol", *fee_protocol)
        self.pool.set_fee_protocol(*fee_protocol)
        self.reverts: list[str] = []

    def ask(self, name: str, to: str, function: str, *arguments: Any) -> tuple[Any, ...]:
        code = "0x" + encode_call(contracts()[name], function, *arguments).hex()
        answer = self.local.call("eth_call", {"from": self.local.accounts[0], "to": to, "data": code}, "latest")
        outputs = next(one["outputs"] for one in contracts()[name].abi if one.get("name") == function)
        return decode([type_of(one) for one in outputs], bytes.fromhex(answer[2:]))

    def both(self, model, name: str, to: str, function: str, *arguments: Any) -> None:
        refused = False
        try:
            answer: Any = self.ask(name, to, function, *arguments)
        except RpcError as error:
            refused, answer = True, error.message.removeprefix("execution reverted").removeprefix(": ")
            self.reverts.append(answer)
        else:
            assert self.local.transact(name, to, function, *arguments)["status"] == "0x1"
        try:
            expected = model()
        except Revert as revert:
            # For a token that is not there each function of the manager has its own words; the model has one.
            assert refused and revert.reason in (answer, "Invalid token ID"), (function, arguments, answer)
        else:
            expected = expected if isinstance(expected, tuple) else () if expected is None else (expected,)
            assert answer == expected, (function, arguments)

    def step(self) -> None:
        random, nft = self.random, self.random.randint(2, max(3, self.manager.next_id))
        choice = random.choice(
            ["mint", "increase", "decrease", "collect", "burn", "swap", "swap", "swap", "swap", "swap"]
        )
        getattr(self, choice)(nft)

    def _manager(self, model, function: str, *arguments: Any) -> None:
        self.both(model, "NonfungiblePositionManager", self.where.position_manager, function, *arguments)

    def _amounts(self) -> tuple[int, int]:
        return tuple(int(one * 10 ** self.random.uniform(-6, 0.5)) for one in self.scale)

    def mint(self, _nft: int) -> None:
        lower = (self.pool.tick + self.random.randint(-600, 600)) // 10 * 10
        upper = lower + self.random.choice([-10, 0, 10, 50, 300, 2_000])
        desired = self._amounts()
        fields = (
            self.where.token0,
            self.where.token1,
            500,
            lower,
            upper,
            *desired,
            0,
            0,
            self.local.accounts[0],
            FOR_EVER,
        )
        self._manager(lambda: self.manager.mint(lower, upper, desired, (0, 0), FOR_EVER), "mint", fields)

    def increase(self, nft: int) -> None:
        desired = self._amounts()
        least = desired if self.random.random() < 0.2 else (0, 0)
        fields = (nft, *desired, *least, FOR_EVER)
        self._manager(
            lambda: self.manager.increase_liquidity(nft, desired, least, FOR_EVER), "increaseLiquidity", fields
        )

    def decrease(self, nft: int) -> None:
        held = self.manager.nfts[nft].liquidity if nft in self.manager.nfts else 1
        part = self.random.choice([held, held // 2, held + 1, 0, 1])
        fields = (nft, part, 0, 0, FOR_EVER)
        self._manager(lambda: self.manager.decrease_liquidity(nft, part, (0, 0), FOR_EVER), "decreaseLiquidity", fields)

    def collect(self, nft: int) -> None:
        most = self.random.choice([(MOST, MOST), (0, MOST), (0, 0), (12_345, 7)])
        self._manager(lambda: self.manager.collect(nft, *most), "collect", (nft, self.local.accounts[0], *most))

    def burn(self, nft: int) -> None:
        self._manager(lambda: self.manager.burn(nft), "burn", nft)

    def swap(self, _nft: int) -> None:
        zero_for_one, exact_in = self.random.random() < 0.5, self.random.random() < 0.6
        ends = (self.where.token0, self.where.token1) if zero_for_one else (self.where.token1, self.where.token0)
        amount = max(1, self._amounts()[zero_for_one is not exact_in] * 40)
        head = (*ends, 500, self.local.accounts[0], FOR_EVER, amount)
        if exact_in:
            least = self.random.choice([0, 0, 10**30])
            model = lambda: exact_input_single(  # noqa: E731
                self.pool, zero_for_one, amount, least_out=least, deadline=FOR_EVER
            )
            self.both(model, "SwapRouter", self.where.swap_router, "exactInputSingle", (*head, least, 0))
        else:
            model = lambda: exact_output_single(  # noqa: E731
                self.pool, zero_for_one, amount, most_in=MOST, deadline=FOR_EVER
            )
            self.both(model, "SwapRouter", self.where.swap_router, "exactOutputSingle", (*head, MOST, 0))

    def check(self) -> None:
        slot0 = self.ask("UniswapV3Pool", self.where.pool, "slot0")
        assert slot0[:2] == (self.pool.sqrt_price_x96, self.pool.tick)
        for function, expected in {
            "liquidity": (self.pool.liquidity,),
            "feeGrowthGlobal0X128": (self.pool.fee_growth_global0_x128,),
            "feeGrowthGlobal1X128": (self.pool.fee_growth_global1_x128,),
            "protocolFees": (self.pool.protocol_fees0, self.pool.protocol_fees1),
        }.items():
            assert self.ask("UniswapV3Pool", self.where.pool, function) == expected
        balances = [
            self.ask("ERC20", token, "balanceOf", self.where.pool)[0]
            for token in (self.where.token0, self.where.token1)
        ]
        assert balances == [self.pool.balance0, self.pool.balance1]


def live(usdc_is_token0: bool, seed: int, steps: int) -> Twin:
    twin = Twin(usdc_is_token0, (0, 0) if seed % 2 else (4, 6), seed)
    for step in range(steps):
        twin.step()
        if step % 10 == 0:
            twin.check()
    twin.check()
    return twin


@pytest.mark.parametrize("usdc_is_token0", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_sequences_are_the_same_to_the_wei(usdc_is_token0, seed):
    assert 3 < len(live(usdc_is_token0, seed, 60).reverts) < 50


@pytest.mark.long
@pytest.mark.parametrize("usdc_is_token0", [True, False])
@pytest.mark.parametrize("seed", range(10, 14))
def test_long_random_sequences_are_the_same_to_the_wei(usdc_is_token0, seed):
    live(usdc_is_token0, seed, 600)


@pytest.mark.long
def test_py_evm_gives_the_same_gas_logs_and_state():
    pytest.importorskip("pyrevm", reason="there is nothing to compare with")
    other = Chain(31337, {}, evm=open_evm("py-evm"))
    chain = live(True, 20, 300).local.chain
    assert chain.evm_name == "pyrevm"
    replayed = 0
    for before, block in pairwise(chain.blocks[-KEPT_WORLDS:]):
        for receipt in block.receipts:
            context = block.header.context(chain.chain_id)
            world, outcome = other._apply(chain.world_at(before), context, receipt.transaction)
            assert (outcome.gas_used, outcome.logs, outcome.created) == (
                receipt.gas_used,
                receipt.logs,
                receipt.created,
            )
            assert world == chain.world_at(block)
            replayed += 1
    assert replayed > 90
