"""A position's whole life through web3.py and the real contracts gives the wei that nodes/_lib/uniswap_v3 predicts."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("web3", reason="the extra `chain` is not installed")

from support.chain import contracts, need_anvil, node
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from web3.logs import DISCARD

from nodes._lib.uniswap_v3.integers import Revert
from nodes._lib.uniswap_v3.pool import Pool
from nodes._lib.uniswap_v3.position_manager import PositionManager, exact_input_single, exact_output_single
from tools.chain.deploy import sqrt_price_x96

FOR_EVER = 2**64
MOST = 2**128 - 1


class Lp:
    """One account's calls to the contracts, each signed here and sent raw."""

    def __init__(self, page: dict, account: int = 1) -> None:
        self.where = page["contracts"]
        self.web3 = Web3(HTTPProvider(page["http"]))
        self.key = list(page["accounts"].values())[account]
        self.address = Web3.to_checksum_address(list(page["accounts"])[account])
        self.manager = self.contract("NonfungiblePositionManager", "position_manager")
        self.router = self.contract("SwapRouter", "swap_router")
        self.pool = self.contract("UniswapV3Pool", "pool")
        self.tokens = [self.contract("ERC20", name) for name in ("token0", "token1")]
        self.ends = [Web3.to_checksum_address(self.where[name]) for name in ("token0", "token1")]

    def contract(self, name: str, place: str):
        address = Web3.to_checksum_address(self.where[place])
        return self.web3.eth.contract(address=address, abi=contracts()[name].abi)

    def send(self, function, kind: int = 2):
        """Sign, send, wait; kind 0 is a legacy transaction."""
        fields = {"from": self.address, "nonce": self.web3.eth.get_transaction_count(self.address)}
        if kind == 0:
            fields["gasPrice"] = self.web3.eth.gas_price
        # A node estimates in the time of the last block, in which a pool may need no oracle write: some 5,000 gas less.
        fields["gas"] = function.estimate_gas({"from": self.address}) * 5 // 4
        transaction = function.build_transaction(fields)
        assert transaction.get("type", 0 if kind == 0 else 2) in (kind, hex(kind))
        signed = self.web3.eth.account.sign_transaction(transaction, self.key)
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(signed.raw_transaction))
        assert receipt["status"] == 1
        return receipt

    def balances(self) -> tuple[int, int]:
        return tuple(token.functions.balanceOf(self.address).call() for token in self.tokens)

    def swap(self, zero_for_one: bool, amount: int, kind: int = 2) -> None:
        """An exact input; for an exact output below 0."""
        ends = self.ends if zero_for_one else self.ends[::-1]
        fields = (*ends, self.where["fee"], self.address, FOR_EVER)
        if amount > 0:
            self.send(self.router.functions.exactInputSingle((*fields, amount, 0, 0)), kind)
        else:
            self.send(self.router.functions.exactOutputSingle((*fields, -amount, MOST, 0)), kind)


def swap_model(pool: Pool, zero_for_one: bool, amount: int) -> tuple[int, int]:
    """What the same swap takes from the trader (above 0) and gives (below 0), as (token0, token1)."""
    if amount > 0:
        paid, got = amount, exact_input_single(pool, zero_for_one, amount, least_out=0, deadline=FOR_EVER)
    else:
        paid, got = exact_output_single(pool, zero_for_one, -amount, most_in=MOST, deadline=FOR_EVER), -amount
    return (paid, -got) if zero_for_one else (-got, paid)


@pytest.fixture(scope="module", params=["usdc", "weth", "weth on anvil"])
def page(request):
    token0, *on_anvil = request.param.split(maxsplit=1)
    if on_anvil:
        need_anvil()
    with node("--token0", token0, "--price", "2345.6", *(["--anvil"] if on_anvil else [])) as page:
        yield page


def test_a_position_earns_and_leaves_to_the_wei(page):
    lp, usdc_first = Lp(page), page["contracts"]["token0"] == page["contracts"]["usdc"]
    pool = Pool(fee=500, tick_spacing=10)
    pool.initialize(sqrt_price_x96(Decimal("2345.6"), usdc_first))
    manager = PositionManager(pool)
    # The position that the node itself has opened.
    wide = lp.manager.functions.positions(1).call()
    depth_usdc, depth_weth = 10**13, int(Decimal(10**7) / Decimal("2345.6") * 10**18)
    desired = (depth_usdc, depth_weth) if usdc_first else (depth_weth, depth_usdc)
    manager.mint(wide[5], wide[6], desired, (0, 0), FOR_EVER)
    assert wide[7] == manager.nfts[1].liquidity
    check_pool(lp, pool)

    for token in lp.tokens:
        for spender in (lp.manager.address, lp.router.address):
            lp.send(token.functions.approve(spender, 2**256 - 1))

    # Open a narrow one around the price.
    middle, held = round(pool.tick / 10) * 10, lp.balances()
    lower, upper = middle - 200, middle + 300
    desired = (200_000 * 10**6, 80 * 10**18) if usdc_first else (80 * 10**18, 200_000 * 10**6)
    fields = (*lp.ends, 500, lower, upper, *desired, 0, 0, lp.address, FOR_EVER)
    minted = lp.send(lp.manager.functions.mint(fields))
    event = lp.manager.events.IncreaseLiquidity().process_receipt(minted, errors=DISCARD)[0]["args"]
    nft, liquidity, paid0, paid1 = manager.mint(lower, upper, desired, (0, 0), FOR_EVER)
    assert (event["tokenId"], event["liquidity"], event["amount0"], event["amount1"]) == (nft, liquidity, paid0, paid1)
    held = expect(lp, held, (-paid0, -paid1))

    # Swaps both ways, out of the range and back, exact input and output, type 2 and legacy.
    big0, big1 = (9 * 10**11, 4 * 10**20) if usdc_first else (4 * 10**20, 9 * 10**11)
    for step, (zero_for_one, amount) in enumerate(
        [(True, big0), (False, big1), (False, big1 // 3), (True, -big1 // 7), (False, -big0 // 9), (True, 12_345)]
    ):
        lp.swap(zero_for_one, amount, kind=0 if step % 2 else 2)
        moved = swap_model(pool, zero_for_one, amount)
        held = expect(lp, held, (-moved[0], -moved[1]))
        check_pool(lp, pool)

    # Fees alone, then half of it, then the rest; and the token is gone.
    fees = lp.manager.functions.collect((nft, lp.address, MOST, MOST)).call({"from": lp.address})
    lp.send(lp.manager.functions.collect((nft, lp.address, MOST, MOST)))
    collected = manager.collect(nft, MOST, MOST)
    assert tuple(fees) == collected and min(collected) > 0
    held = expect(lp, held, collected)
    swap_model(pool, True, big0 // 50)
    lp.swap(True, big0 // 50)
    held = lp.balances()
    for part in (liquidity // 2, liquidity - liquidity // 2):
        lp.send(lp.manager.functions.decreaseLiquidity((nft, part, 0, 0, FOR_EVER)))
        manager.decrease_liquidity(nft, part, (0, 0), FOR_EVER)
    stored = lp.manager.functions.positions(nft).call()
    assert tuple(stored[10:12]) == (manager.nfts[nft].tokens_owed0, manager.nfts[nft].tokens_owed1)
    with pytest.raises(ContractLogicError, match="Not cleared"):
        lp.manager.functions.burn(nft).call({"from": lp.address})
    lp.send(lp.manager.functions.collect((nft, lp.address, MOST, MOST)))
    held = expect(lp, held, manager.collect(nft, MOST, MOST))
    lp.send(lp.manager.functions.burn(nft))
    manager.burn(nft)
    with pytest.raises(ContractLogicError, match="Invalid token ID"):
        lp.manager.functions.positions(nft).call()
    with pytest.raises(Revert, match="Invalid token ID"):
        manager.burn(nft)
    check_pool(lp, pool)


def test_a_slippage_bound_fails_before_it_is_sent(page):
    lp = Lp(page, account=2)
    fields = (*lp.ends, 500, -887270, 887270, 10**6, 10**6, 2 * 10**6, 2 * 10**6, lp.address, FOR_EVER)
    with pytest.raises(ContractLogicError, match="STF"):
        lp.manager.functions.mint(fields).estimate_gas({"from": lp.address})
    for token in lp.tokens:
        lp.send(token.functions.approve(lp.manager.address, 2**256 - 1))
    with pytest.raises(ContractLogicError, match="Price slippage check"):
        lp.manager.functions.mint(fields).estimate_gas({"from": lp.address})
    with pytest.raises(ContractLogicError, match="Transaction too old"):
        lp.manager.functions.mint((*fields[:7], 0, 0, lp.address, 1)).estimate_gas({"from": lp.address})


def expect(lp: Lp, before: tuple[int, int], change: tuple[int, int]) -> tuple[int, int]:
    after = lp.balances()
    assert (after[0] - before[0], after[1] - before[1]) == tuple(change)
    return after


def check_pool(lp: Lp, pool: Pool) -> None:
    call = lp.pool.functions
    assert call.slot0().call()[:2] == [pool.sqrt_price_x96, pool.tick]
    assert call.liquidity().call() == pool.liquidity
    assert call.feeGrowthGlobal0X128().call() == pool.fee_growth_global0_x128
    assert call.feeGrowthGlobal1X128().call() == pool.fee_growth_global1_x128
    balances = [token.functions.balanceOf(lp.pool.address).call() for token in lp.tokens]
    assert balances == [pool.balance0, pool.balance1]
