"""Both EVMs do the same with the same messages: outputs, logs, gas and state."""

from __future__ import annotations

import pytest
from support.chain import LocalChain, contracts, local_chain, uniswap_chain

from tools.chain.chain import Chain
from tools.chain.deploy import encode_call
from tools.chain.evm import Evm, open_evm
from tools.chain.wire import RpcError

FOR_EVER = 2**64


@pytest.fixture(scope="module", params=["pyrevm", "py-evm"])
def evm(request) -> Evm:
    pytest.importorskip({"pyrevm": "pyrevm", "py-evm": "eth.vm.forks"}[request.param])
    return open_evm(request.param)


@pytest.fixture(scope="module")
def uniswap(evm) -> LocalChain:
    local = uniswap_chain(evm=evm)
    where = local.deployment
    local.transact("ERC20", where.usdc, "approve", where.swap_router, 2**256 - 1)
    return local


def swap(local: LocalChain, amount: int, account: int = 0):
    where = local.deployment
    fields = (where.usdc, where.weth, where.fee, local.accounts[account], FOR_EVER, amount, 0, 0)
    return local.transact("SwapRouter", where.swap_router, "exactInputSingle", fields, account=account)


def test_gas_of_the_contracts_is_that_of_a_real_node(uniswap):
    chain = uniswap.chain
    gas = {receipt.created: receipt.gas_used for block in chain.blocks for receipt in block.receipts}
    where = uniswap.deployment
    assert gas[where.factory] == 5_440_656
    assert gas[where.position_manager] == 5_472_880
    assert gas[where.swap_router] == 2_667_896
    assert gas[where.quoter] == 1_836_901
    mint = chain.blocks[-2].receipts[0]
    assert (mint.transaction.to, mint.gas_used) == (where.position_manager, 612_726)


def test_the_code_of_a_contract_is_the_end_of_its_creation_code(uniswap):
    code = bytes.fromhex(uniswap.call("eth_getCode", uniswap.deployment.tick_lens)[2:])
    assert len(code) > 1_000
    assert contracts()["TickLens"].creation_code.endswith(code)
    assert uniswap.call("eth_getCode", uniswap.accounts[1]) == "0x"


def test_swaps_are_the_same_to_the_last_log_and_slot(uniswap):
    if uniswap.chain.evm_name == "py-evm":
        pytest.skip("it is what the other is compared with")
    other_evm = pytest.importorskip("tools.chain.pyevm", reason="py-evm is not installed").PyEvm()
    chain, other = uniswap.chain, Chain(31337, {}, evm=other_evm)
    for amount in (10**6, 3_000 * 10**6, 900_000 * 10**6):
        world, header = chain.world, chain.head.header
        receipt = swap(uniswap, amount)
        block, found = chain.find(bytes.fromhex(receipt["transactionHash"][2:]))
        assert block.header.number == header.number + 1
        after, outcome = other._apply(world, block.header.context(chain.chain_id), found.transaction)
        assert (outcome.gas_used, outcome.logs) == (found.gas_used, found.logs)
        assert after == chain.world


def test_a_quote_is_what_a_swap_gives(uniswap):
    where, amount = uniswap.deployment, 5_000 * 10**6
    code = encode_call(contracts()["QuoterV2"], "quoteExactInputSingle", (where.usdc, where.weth, amount, where.fee, 0))
    quoted = int(uniswap.call("eth_call", {"to": where.quoter, "data": "0x" + code.hex()}, "latest")[2:66], 16)
    paid = next(log for log in swap(uniswap, amount)["logs"] if log["address"] == where.weth)
    assert int(paid["data"], 16) == quoted > 10**18


def test_a_revert_says_why_and_costs_gas_when_mined(uniswap):
    where, sender = uniswap.deployment, uniswap.accounts[0]
    fields = (where.usdc, where.weth, where.fee, sender, FOR_EVER, 10**6, 10**30, 0)
    code = "0x" + encode_call(contracts()["SwapRouter"], "exactInputSingle", fields).hex()
    call = {"from": sender, "to": where.swap_router, "data": code}
    with pytest.raises(RpcError, match="execution reverted: Too little received") as caught:
        uniswap.call("eth_estimateGas", call)
    assert caught.value.code == 3
    assert caught.value.data.startswith("0x08c379a0")
    sent = uniswap.call("eth_sendTransaction", {**call, "gas": "0x40000"})
    receipt = uniswap.call("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []
    assert 50_000 < int(receipt["gasUsed"], 16) < 0x40000


def test_too_little_gas_takes_all_of_it(uniswap):
    where = uniswap.deployment
    code = "0x" + encode_call(contracts()["ERC20"], "approve", where.swap_router, 1).hex()
    call = {"from": uniswap.accounts[2], "to": where.usdc, "data": code}
    need = int(uniswap.call("eth_estimateGas", call), 16)
    enough = uniswap.call("eth_sendTransaction", {**call, "gas": hex(need)})
    assert uniswap.call("eth_getTransactionReceipt", enough)["status"] == "0x1"
    short = uniswap.call("eth_getTransactionReceipt", uniswap.call("eth_sendTransaction", {**call, "gas": hex(22_500)}))
    assert (short["status"], short["gasUsed"]) == ("0x0", hex(22_500))
    with pytest.raises(RpcError, match="out of gas"):
        uniswap.call("eth_call", {**call, "gas": hex(22_500)})


def test_old_blocks_can_be_asked_until_their_state_is_gone(evm):
    local = local_chain(evm=evm)
    sender = local.accounts[1]
    before = local.call("eth_getBalance", sender, "0x0")
    local.send(value=10**18, to=local.accounts[2])
    assert local.call("eth_getBalance", sender, "0x0") == before != local.call("eth_getBalance", sender)
    local.call("anvil_mine", 255)
    with pytest.raises(RpcError, match="missing trie node"):
        local.call("eth_getBalance", sender, "0x0")
    assert local.call("eth_getBlockByNumber", "0x0")["number"] == "0x0"


def test_overrides_change_a_call_and_nothing_else(uniswap):
    where, holder = uniswap.deployment, "0x" + "ab" * 20
    code = "0x" + encode_call(contracts()["WETH9"], "deposit").hex()
    call = {"from": holder, "to": where.weth, "data": code, "value": hex(10**18)}
    with pytest.raises(RpcError, match="insufficient funds"):
        uniswap.call("eth_call", call, "latest")
    assert uniswap.call("eth_call", call, "latest", {holder: {"balance": hex(10**19)}}) == "0x"
    assert uniswap.call("eth_getBalance", holder) == "0x0"
