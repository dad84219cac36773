"""Base fees, header hashes, bloom filters, fee history."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.chain import GWEI, local_chain

from tools.chain.blocks import bloom_of, next_base_fee
from tools.chain.evm import LogEntry


@pytest.mark.parametrize(
    ("used", "expected"),
    [(15_000_000, 100 * GWEI), (30_000_000, int(112.5 * GWEI)), (0, int(87.5 * GWEI)), (20_000_000, 104_166_666_666)],
)
def test_the_base_fee_follows_the_use_of_gas(used, expected):
    header = replace(local_chain().chain.head.header, base_fee=100 * GWEI, gas_used=used)
    assert next_base_fee(header) == expected


def test_a_base_fee_of_nearly_nothing_still_rises():
    header = replace(local_chain().chain.head.header, base_fee=1, gas_used=30_000_000)
    assert next_base_fee(header) == 2


def test_a_header_hashes_as_it_does_elsewhere():
    headers = pytest.importorskip("eth.vm.forks.cancun.headers", reason="py-evm is not installed")
    blocks = pytest.importorskip("eth.vm.forks.cancun.blocks")
    assert headers
    local = local_chain()
    local.send()
    page = local.call("eth_getBlockByNumber", "latest")
    binary = {
        name: bytes.fromhex(page[key][2:])
        for name, key in {
            "parent_hash": "parentHash",
            "uncles_hash": "sha3Uncles",
            "coinbase": "miner",
            "state_root": "stateRoot",
            "transaction_root": "transactionsRoot",
            "receipt_root": "receiptsRoot",
            "extra_data": "extraData",
            "mix_hash": "mixHash",
            "nonce": "nonce",
            "withdrawals_root": "withdrawalsRoot",
            "parent_beacon_block_root": "parentBeaconBlockRoot",
        }.items()
    }
    numbers = {
        name: int(page[key], 16)
        for name, key in {
            "bloom": "logsBloom",
            "difficulty": "difficulty",
            "block_number": "number",
            "gas_limit": "gasLimit",
            "gas_used": "gasUsed",
            "timestamp": "timestamp",
            "base_fee_per_gas": "baseFeePerGas",
            "blob_gas_used": "blobGasUsed",
            "excess_blob_gas": "excessBlobGas",
        }.items()
    }
    assert "0x" + blocks.CancunBlockHeader(**binary, **numbers).hash.hex() == page["hash"]


def test_a_bloom_filter_is_that_of_py_evm():
    eth_bloom = pytest.importorskip("eth_bloom", reason="py-evm is not installed")
    entries = [LogEntry("0x" + f"{n:040x}", (bytes([n]) * 32, bytes([n + 1]) * 32), b"") for n in range(1, 9)]
    expected = eth_bloom.BloomFilter()
    for entry in entries:
        for item in (bytes.fromhex(entry.address[2:]), *entry.topics):
            expected.add(item)
    assert int.from_bytes(bloom_of(entries), "big") == int(expected)


def test_fee_history_tells_the_past_and_the_next_base_fee():
    local = local_chain(blocks_on_transaction=False)
    for account, tip in ((1, 1), (2, 2), (3, 5)):
        local.send(account, max_priority_fee=tip * GWEI)
    local.call("evm_mine")
    local.call("evm_mine")
    page = local.call("eth_feeHistory", "0x3", "latest", [0, 50, 100])
    blocks = [local.call("eth_getBlockByNumber", hex(number)) for number in range(3)]
    assert page["oldestBlock"] == "0x0"
    assert page["baseFeePerGas"][:3] == [block["baseFeePerGas"] for block in blocks]
    local.call("evm_mine")
    assert page["baseFeePerGas"][3] == local.call("eth_getBlockByNumber", "latest")["baseFeePerGas"]
    assert page["gasUsedRatio"] == [0.0, 63_000 / 30_000_000, 0.0]
    assert page["reward"] == [["0x0"] * 3, [hex(GWEI), hex(2 * GWEI), hex(5 * GWEI)], ["0x0"] * 3]


def test_the_usual_tip_is_what_was_paid_lately():
    local = local_chain()
    assert local.call("eth_maxPriorityFeePerGas") == hex(GWEI)
    for _ in range(3):
        local.send(max_priority_fee=3 * GWEI)
    assert local.call("eth_maxPriorityFeePerGas") == hex(3 * GWEI)
    base_fee = int(local.call("eth_getBlockByNumber", "latest")["baseFeePerGas"], 16)
    assert local.call("eth_gasPrice") == hex(3 * GWEI + base_fee)
