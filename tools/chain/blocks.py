"""Blocks, receipts and logs, and the rules that join a block to its parent.

Hashes are those of a real header (keccak-256 over its RLP). The roots in it are digests of what they stand for, not
Merkle roots: proofs cannot be made on this chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import rlp
from eth_hash.auto import keccak

from tools.chain.evm import BlockContext, LogEntry
from tools.chain.transactions import Transaction
from tools.chain.world import Address

ELASTICITY = 2
BASE_FEE_CHANGE = 8
"""The base fee moves by at most one part in this many."""
_BLOOM_BITS = 2048
_EMPTY_UNCLES = keccak(rlp.encode([]))
_EMPTY_ROOT = keccak(rlp.encode(b""))


@dataclass(frozen=True, slots=True)
class Header:
    """What a block's hash covers. Fees in wei a gas, `time_s` is Unix time."""

    parent_hash: bytes
    number: int
    time_s: int
    base_fee: int
    gas_limit: int
    gas_used: int
    coinbase: Address
    random: bytes
    extra: bytes
    bloom: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes

    def context(self, chain_id: int) -> BlockContext:
        """Return what contracts in this block see of it."""
        return BlockContext(
            chain_id, self.number, self.time_s, self.base_fee, self.gas_limit, self.coinbase, self.random
        )

    def hash(self) -> bytes:
        """Return the block hash."""
        return keccak(rlp.encode(self._fields()))

    def _fields(self) -> list[bytes | int]:
        return [
            self.parent_hash,
            _EMPTY_UNCLES,
            bytes.fromhex(self.coinbase[2:]),
            self.state_root,
            self.transactions_root,
            self.receipts_root,
            self.bloom,
            0,  # difficulty
            self.number,
            self.gas_limit,
            self.gas_used,
            self.time_s,
            self.extra,
            self.random,
            bytes(8),  # nonce
            self.base_fee,
            _EMPTY_ROOT,  # withdrawals
            0,  # blob gas used
            0,  # excess blob gas
            bytes(32),  # parent beacon block
        ]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did. `price` is what it paid, wei a gas."""

    transaction: Transaction
    index: int
    succeeded: bool
    gas_used: int
    cumulative_gas: int
    price: int
    logs: tuple[LogEntry, ...]
    first_log_index: int
    created: Address | None


@dataclass(frozen=True, slots=True)
class Block:
    """One block and the receipts of its transactions, in order."""

    header: Header
    receipts: tuple[Receipt, ...] = ()
    hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", self.header.hash())

    @property
    def number(self) -> int:
        return self.header.number


@dataclass(frozen=True, slots=True)
class Log:
    """A log with its place. `removed` when the block has left the chain."""

    block: Block
    receipt: Receipt
    index: int
    entry: LogEntry
    removed: bool = False


def logs_of(block: Block, removed: bool = False) -> list[Log]:
    """Return the block's logs in order."""
    return [
        Log(block, receipt, receipt.first_log_index + offset, entry, removed)
        for receipt in block.receipts
        for offset, entry in enumerate(receipt.logs)
    ]


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs are wanted. No address means all; at each topic's place stands what is accepted, None for anything."""

    addresses: frozenset[Address] = frozenset()
    topics: Sequence[frozenset[bytes] | None] = ()

    def takes(self, entry: LogEntry) -> bool:
        """Return whether a log passes."""
        if self.addresses and entry.address not in self.addresses:
            return False
        if len(self.topics) > len(entry.topics):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, entry.topics, strict=False))


def next_base_fee(parent: Header) -> int:
    """Return the base fee of the block after `parent`, wei a gas. Source: EIP-1559."""
    target = parent.gas_limit // ELASTICITY
    if parent.gas_used == target:
        return parent.base_fee
    if parent.gas_used > target:
        return parent.base_fee + max(parent.base_fee * (parent.gas_used - target) // target // BASE_FEE_CHANGE, 1)
    return parent.base_fee - parent.base_fee * (target - parent.gas_used) // target // BASE_FEE_CHANGE


def bloom_of(entries: Iterable[LogEntry]) -> bytes:
    """Return the logs' bloom filter of 256 bytes. Source: yellow paper, section 4.3.1."""
    bits = 0
    for entry in entries:
        for item in (bytes.fromhex(entry.address[2:]), *entry.topics):
            digest = keccak(item)
            for place in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[place : place + 2], "big") % _BLOOM_BITS)
    return bits.to_bytes(_BLOOM_BITS // 8, "big")


def digest(parts: Iterable[bytes]) -> bytes:
    """Return a digest that stands where a Merkle root would."""
    return keccak(b"".join(parts))
