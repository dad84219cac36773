"""Forks: what leaves the chain is told, taken back and, if wanted, mined again; snapshots restore everything."""

from __future__ import annotations

import pytest
from support.chain import GWEI, LocalChain, contracts, local_chain, uniswap_chain

from tools.chain.chain import NewHead, NewLogs
from tools.chain.deploy import encode_call
from tools.chain.wire import RpcError


@pytest.fixture(scope="module")
def deployed() -> LocalChain:
    return uniswap_chain()


@pytest.fixture
def uniswap(deployed):
    kept = deployed.call("evm_snapshot")
    deployed.events.clear()
    yield deployed
    assert deployed.call("evm_revert", kept)


def transfer(local: LocalChain, amount: int):
    return local.transact("ERC20", local.deployment.usdc, "transfer", local.accounts[1], amount)


def balance(local: LocalChain, tag: str = "latest") -> int:
    code = encode_call(contracts()["ERC20"], "balanceOf", local.accounts[1])
    return int(local.call("eth_call", {"to": local.deployment.usdc, "data": "0x" + code.hex()}, tag), 16)


def heads(local: LocalChain) -> list[tuple[int, str]]:
    return [(event.block.number, event.block.hash.hex()) for event in local.events if isinstance(event, NewHead)]


def logs(local: LocalChain) -> list[tuple[int, bool]]:
    events = [event for event in local.events if isinstance(event, NewLogs)]
    return [(int.from_bytes(log.entry.data, "big"), log.removed) for event in events for log in event.logs]


def test_a_reorg_tells_removed_logs_newest_first_and_then_the_new_chain(uniswap):
    start = uniswap.chain.head
    receipts = [transfer(uniswap, amount) for amount in (1, 2, 3)]
    before = balance(uniswap)
    uniswap.events.clear()
    new = uniswap.call("fault_reorg", {"depth": 2})

    assert logs(uniswap) == [(3, True), (2, True), (2, False), (3, False)]
    assert [number for number, _ in heads(uniswap)] == [start.number + 2, start.number + 3]
    assert ["0x" + block_hash for _, block_hash in heads(uniswap)] == new
    assert not {receipt["blockHash"] for receipt in receipts[1:]} & set(new)
    assert balance(uniswap) == before
    # Both are in the first new block now, whose parent is the one that stayed.
    again = [uniswap.call("eth_getTransactionReceipt", receipt["transactionHash"]) for receipt in receipts]
    assert [receipt["blockHash"] for receipt in again] == [receipts[0]["blockHash"], new[0], new[0]]
    assert uniswap.call("eth_getBlockByHash", new[0])["parentHash"] == receipts[0]["blockHash"]
    assert uniswap.call("eth_getBlockByHash", receipts[2]["blockHash"]) is not None  # nodes remember side blocks


def test_dropped_transactions_are_gone_with_nonce_and_state(uniswap):
    sender, before = uniswap.accounts[0], balance(uniswap)
    nonce = uniswap.call("eth_getTransactionCount", sender)
    sent = transfer(uniswap, 5)["transactionHash"]
    uniswap.call("fault_reorg", {"depth": 1, "length": 3, "transactions": "drop"})
    assert balance(uniswap) == before
    assert uniswap.call("eth_getTransactionReceipt", sent) is None
    assert uniswap.call("eth_getTransactionByHash", sent) is None
    assert uniswap.call("eth_getTransactionCount", sender, "pending") == nonce


def test_waiting_transactions_come_back_to_the_mempool(uniswap):
    before = balance(uniswap)
    sent = transfer(uniswap, 5)["transactionHash"]
    uniswap.call("fault_reorg", {"depth": 1, "transactions": "wait"})
    assert uniswap.call("eth_getTransactionByHash", sent)["blockHash"] is None
    assert balance(uniswap) == before
    uniswap.call("evm_mine")
    assert balance(uniswap) == before + 5
    assert uniswap.call("eth_getTransactionReceipt", sent)["status"] == "0x1"


def test_logs_of_a_range_are_those_of_the_chain_that_holds(uniswap):
    first = uniswap.chain.head.number + 1
    gone = transfer(uniswap, 7)
    query = {"fromBlock": hex(first), "toBlock": "latest", "address": uniswap.deployment.usdc}
    assert [log["data"][-1] for log in uniswap.call("eth_getLogs", query)] == ["7"]
    uniswap.call("fault_reorg", {"depth": 1, "transactions": "drop"})
    transfer(uniswap, 9)
    assert [(log["data"][-1], log["removed"]) for log in uniswap.call("eth_getLogs", query)] == [("9", False)]
    assert uniswap.call("eth_getLogs", {"blockHash": gone["blockHash"]})[0]["data"][-1] == "7"


def test_deployment_itself_can_be_forked_away():
    local = local_chain()
    code = "0x" + contracts()["TickLens"].creation_code.hex()
    sent = local.call("eth_sendTransaction", {"from": local.accounts[0], "data": code})
    where = local.call("eth_getTransactionReceipt", sent)["contractAddress"]
    assert len(local.call("eth_getCode", where)) > 1000
    local.call("fault_reorg", {"depth": 1, "transactions": "drop"})
    assert local.call("eth_getCode", where) == "0x"
    again = local.call(
        "eth_sendTransaction", {"from": local.accounts[0], "data": code, "maxPriorityFeePerGas": hex(2 * GWEI)}
    )
    assert local.call("eth_getTransactionReceipt", again)["contractAddress"] == where


@pytest.mark.parametrize("depth", [0, 100_000])
def test_a_reorg_that_cannot_be_is_refused(uniswap, depth):
    with pytest.raises(RpcError, match="a reorg can replace 1 to"):
        uniswap.call("fault_reorg", {"depth": depth})


def test_a_snapshot_restores_state_blocks_time_and_mempool(uniswap):
    before, head = balance(uniswap), uniswap.chain.head
    kept = uniswap.call("evm_snapshot")
    later = uniswap.call("evm_snapshot")
    transfer(uniswap, 4)
    uniswap.call("evm_increaseTime", 3600)
    uniswap.call("fault_reorg", {"depth": 3})
    uniswap.call("evm_setAutomine", False)
    uniswap.send()
    uniswap.call("evm_setAutomine", True)
    assert uniswap.call("evm_revert", kept) is True
    assert (balance(uniswap), uniswap.chain.head) == (before, head)
    assert uniswap.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    assert uniswap.call("evm_revert", later) is False
    transfer(uniswap, 6)
    assert balance(uniswap) == before + 6


def test_time_can_be_set_but_not_backwards(uniswap):
    now = int(uniswap.call("eth_getBlockByNumber", "latest")["timestamp"], 16)
    uniswap.call("evm_setNextBlockTimestamp", now + 500)
    uniswap.call("evm_mine")
    assert int(uniswap.call("eth_getBlockByNumber", "latest")["timestamp"], 16) == now + 500
    with pytest.raises(RpcError, match="has to be after"):
        uniswap.call("evm_setNextBlockTimestamp", now + 500)
