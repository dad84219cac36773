"""What geth refuses is refused, in its words, and what it takes is taken."""

from __future__ import annotations

import pytest
from support.chain import GWEI, LocalChain, local_chain

from tools.chain.wire import RpcError


@pytest.fixture
def local() -> LocalChain:
    """Blocks are made by hand."""
    return local_chain(blocks_on_transaction=False)


def refused(local: LocalChain, text: str, account: int = 1, **fields: object) -> None:
    with pytest.raises(RpcError, match=text) as caught:
        local.send(account, **fields)
    assert caught.value.code == -32000


def nonce(local: LocalChain, tag: str, account: int = 1) -> int:
    return int(local.call("eth_getTransactionCount", local.accounts[account], tag), 16)


def test_a_used_nonce_is_too_low(local):
    local.send()
    local.call("evm_mine")
    refused(local, "nonce too low: next nonce 1, tx nonce 0", nonce=0, max_fee=20 * GWEI)


def test_the_same_again_is_known(local):
    raw = local.raw()
    local.call("eth_sendRawTransaction", raw)
    with pytest.raises(RpcError, match="already known"):
        local.call("eth_sendRawTransaction", raw)


@pytest.mark.parametrize(
    ("tip", "cap", "taken"),
    [
        (110, 1100, True),
        (109, 1100, False),
        (110, 1099, False),
        (200, 1000, False),
        (100, 2000, False),
        (111, 1101, True),
    ],
)
def test_a_replacement_needs_a_tenth_more_of_both(local, tip, cap, taken):
    first = local.send(max_priority_fee=100 * GWEI // 100, max_fee=1000 * GWEI // 100)
    fields = {"nonce": 0, "max_priority_fee": tip * GWEI // 100, "max_fee": cap * GWEI // 100}
    if not taken:
        refused(local, "replacement transaction underpriced", **fields)
        assert local.call("eth_getTransactionByHash", first) is not None
        return
    second = local.send(**fields)
    assert local.call("eth_getTransactionByHash", first) is None
    local.call("evm_mine")
    assert local.call("eth_getTransactionReceipt", second)["status"] == "0x1"
    assert local.call("eth_getTransactionReceipt", first) is None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"chain_id": 1}, "invalid chain id for signer: have 1 want 31337"),
        ({"max_priority_fee": 11 * GWEI}, "max priority fee per gas higher than max fee per gas"),
        ({"gas": 20_999}, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"max_priority_fee": 0}, "transaction underpriced"),
        ({"value": 10**30}, r"insufficient funds for gas \* price \+ value"),
    ],
)
def test_a_transaction_that_cannot_be_right_is_refused(local, fields, text):
    refused(local, text, **fields)
    assert local.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_a_gap_of_nonces_waits(local):
    late = local.send(nonce=2)
    assert nonce(local, "pending") == 0
    assert local.call("txpool_status") == {"pending": "0x0", "queued": "0x1"}
    local.call("evm_mine")
    assert local.call("eth_getTransactionReceipt", late) is None
    local.send(nonce=0)
    assert nonce(local, "pending") == 1
    local.send(nonce=1)
    assert nonce(local, "pending") == 3
    local.call("evm_mine")
    assert nonce(local, "latest") == 3
    assert local.call("eth_getTransactionReceipt", late)["transactionIndex"] == "0x2"


def test_a_cap_below_the_base_fee_waits_until_it_falls(local):
    low = local.send(max_fee=GWEI // 2, max_priority_fee=1)
    for _ in range(4):
        local.call("evm_mine")
    waiting = local.call("eth_getTransactionByHash", low)
    assert waiting["blockHash"] is None and waiting["blockNumber"] is None
    local.call("anvil_mine", 4)
    receipt = local.call("eth_getTransactionReceipt", low)
    assert GWEI // 3 < int(receipt["effectiveGasPrice"], 16) <= GWEI // 2


def test_the_best_tip_goes_first_and_each_senders_in_order(local):
    low = local.send(1, max_priority_fee=GWEI)
    high = local.send(2, max_priority_fee=3 * GWEI)
    second = local.send(1, max_priority_fee=9 * GWEI)
    local.call("evm_mine")
    block = local.call("eth_getBlockByNumber", "latest")
    assert block["transactions"] == [high, low, second]


def test_a_limit_that_does_not_fit_any_more_waits_for_the_next_block(local):
    first = local.send(1, gas=20_000_000, max_priority_fee=3 * GWEI)
    whole_block = local.send(2, gas=30_000_000, max_priority_fee=2 * GWEI)
    after_it = local.send(2)
    last = local.send(3, gas=29_900_000)
    local.call("evm_mine")
    # A block counts what was used, not what was reserved: 21,000 each.
    assert local.call("eth_getBlockByNumber", "latest")["transactions"] == [first, last]
    local.call("evm_mine")
    assert local.call("eth_getBlockByNumber", "latest")["transactions"] == [whole_block, after_it]


def test_fees_go_to_who_is_due_them(local):
    sender, block = local.accounts[1], local.call("eth_getBlockByNumber", "latest")
    before = int(local.call("eth_getBalance", sender), 16)
    sent = local.send(value=0)
    local.call("evm_mine")
    receipt = local.call("eth_getTransactionReceipt", sent)
    base_fee = int(local.call("eth_getBlockByNumber", "latest")["baseFeePerGas"], 16)
    assert int(receipt["effectiveGasPrice"], 16) == base_fee + GWEI
    assert before - int(local.call("eth_getBalance", sender), 16) == 21_000 * (base_fee + GWEI)
    assert int(local.call("eth_getBalance", block["miner"]), 16) == 21_000 * GWEI
