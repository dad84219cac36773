"""Values as JSON-RPC writes them, and back. Source: Ethereum execution API specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.chain.blocks import Block, Log, LogFilter, Receipt, bloom_of
from tools.chain.transactions import DYNAMIC_FEE, LEGACY, Transaction
from tools.chain.world import Address

INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL = -32600, -32601, -32602, -32603
SERVER_ERROR, LIMIT_EXCEEDED, EXECUTION_REVERTED = -32000, -32005, 3
_SHA3_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


class RpcError(Exception):
    """An answer that is an error: JSON-RPC code, message and data."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def quantity(number: int) -> str:
    """Write a number without leading zeros."""
    return hex(number)


def data(value: bytes) -> str:
    """Write bytes, two digits each."""
    return "0x" + value.hex()


def read_quantity(value: Any, what: str) -> int:
    """Read a number; raise RpcError naming what it was for."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str):
            return int(value, 16) if value.startswith("0x") else int(value)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"invalid argument: {what}: {value!r} is no number") from error
    raise RpcError(INVALID_PARAMS, f"invalid argument: {what}: expected a hex number, got {value!r}")


def read_data(value: Any, what: str, length: int | None = None) -> bytes:
    """Read bytes, of that length if one is given; raise RpcError naming what they were for."""
    try:
        if isinstance(value, str) and value.startswith("0x"):
            found = bytes.fromhex(value[2:])
            if length is None or len(found) == length:
                return found
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"invalid argument: {what}: {value!r} is not hex") from error
    size = "" if length is None else f" of {length} bytes"
    raise RpcError(INVALID_PARAMS, f"invalid argument: {what}: expected 0x and hex{size}, got {value!r}")


def read_address(value: Any, what: str = "address") -> Address:
    """Read an address; raise RpcError naming what it was for."""
    return "0x" + read_data(value, what, 20).hex()


def read_filter(query: Mapping[str, Any]) -> LogFilter:
    """Read which logs are wanted, `address` and `topics`."""
    given = query.get("address") or []
    addresses = frozenset(read_address(one) for one in ([given] if isinstance(given, str) else given))
    topics: list[frozenset[bytes] | None] = []
    for place in query.get("topics") or []:
        choices = [place] if isinstance(place, str) else place
        topics.append(frozenset(read_data(one, "topics", 32) for one in choices) if choices else None)
    return LogFilter(addresses, topics)


def block_page(block: Block, full: bool) -> dict[str, Any]:
    """Write a block with the hashes of its transactions, or all of them."""
    transactions: list[Any] = [
        transaction_page(receipt.transaction, block, receipt) if full else data(receipt.transaction.hash)
        for receipt in block.receipts
    ]
    size = 600 + sum(len(receipt.transaction.raw) for receipt in block.receipts)
    return {**header_page(block), "size": quantity(size), "uncles": [], "transactions": transactions, "withdrawals": []}


def header_page(block: Block) -> dict[str, Any]:
    """Write a header, as subscribers to newHeads get it."""
    header = block.header
    return {
        "number": quantity(header.number),
        "hash": data(block.hash),
        "parentHash": data(header.parent_hash),
        "nonce": "0x0000000000000000",
        "sha3Uncles": _SHA3_UNCLES,
        "logsBloom": data(header.bloom),
        "transactionsRoot": data(header.transactions_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipts_root),
        "miner": header.coinbase,
        "difficulty": "0x0",
        "extraData": data(header.extra),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.time_s),
        "mixHash": data(header.random),
        "baseFeePerGas": quantity(header.base_fee),
        "withdrawalsRoot": _EMPTY_ROOT,
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": data(bytes(32)),
    }


def transaction_page(transaction: Transaction, block: Block | None, receipt: Receipt | None) -> dict[str, Any]:
    """Write a transaction, with its place when it has one."""
    v, r, s = transaction.signature
    page: dict[str, Any] = {
        "blockHash": data(block.hash) if block else None,
        "blockNumber": quantity(block.number) if block else None,
        "transactionIndex": quantity(receipt.index) if receipt else None,
        "hash": data(transaction.hash),
        "type": quantity(transaction.kind),
        "from": transaction.sender,
        "to": transaction.to,
        "nonce": quantity(transaction.nonce),
        "gas": quantity(transaction.gas),
        "gasPrice": quantity(receipt.price if receipt else transaction.max_fee),
        "value": quantity(transaction.value),
        "input": data(transaction.data),
        "v": quantity(v),
        "r": quantity(r),
        "s": quantity(s),
    }
    if transaction.kind == DYNAMIC_FEE:
        page["maxFeePerGas"] = quantity(transaction.max_fee)
        page["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee)
        page["accessList"] = []
        page["yParity"] = quantity(v)
    if transaction.kind != LEGACY or transaction.chain_id is not None:
        page["chainId"] = quantity(transaction.chain_id or 0)
    return page


def receipt_page(block: Block, receipt: Receipt) -> dict[str, Any]:
    """Write a receipt with its logs."""
    logs = [Log(block, receipt, receipt.first_log_index + offset, entry) for offset, entry in enumerate(receipt.logs)]
    return {
        "transactionHash": data(receipt.transaction.hash),
        "transactionIndex": quantity(receipt.index),
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "from": receipt.transaction.sender,
        "to": receipt.transaction.to,
        "cumulativeGasUsed": quantity(receipt.cumulative_gas),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(receipt.price),
        "contractAddress": receipt.created,
        "logs": [log_page(log) for log in logs],
        "logsBloom": data(bloom_of(receipt.logs)),
        "status": quantity(int(receipt.succeeded)),
        "type": quantity(receipt.transaction.kind),
    }


def log_page(log: Log) -> dict[str, Any]:
    """Write a log with its place."""
    return {
        "address": log.entry.address,
        "topics": [data(topic) for topic in log.entry.topics],
        "data": data(log.entry.data),
        "blockHash": data(log.block.hash),
        "blockNumber": quantity(log.block.number),
        "blockTimestamp": quantity(log.block.header.time_s),
        "transactionHash": data(log.receipt.transaction.hash),
        "transactionIndex": quantity(log.receipt.index),
        "logIndex": quantity(log.index),
        "removed": log.removed,
    }
