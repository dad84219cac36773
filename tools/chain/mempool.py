"""Transactions that wait for a block, taken by the rules of geth's pool.

Source: go-ethereum, core/txpool (validation.go, legacypool/list.go): a replacement has to raise both fees by a tenth.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.chain.transactions import Transaction
from tools.chain.world import Address, World, account

PRICE_BUMP_PERCENT = 10


class Refused(Exception):
    """The pool does not take a transaction; the message is geth's."""


@dataclass(slots=True)
class Mempool:
    """Waiting transactions by sender and nonce. `least_tip` in wei a gas."""

    chain_id: int
    gas_limit: int
    least_tip: int = 1
    waiting: dict[Address, dict[int, Transaction]] = field(default_factory=dict)
    by_hash: dict[bytes, Transaction] = field(default_factory=dict)

    def add(self, transaction: Transaction, world: World) -> Transaction | None:
        """Take a transaction and return the one it replaces; raise Refused as geth would.

        One beyond the next nonce, or that bids less than the base fee, is taken and waits.
        """
        self._check(transaction, world)
        mine = self.waiting.setdefault(transaction.sender, {})
        replaced = mine.get(transaction.nonce)
        if replaced is not None and not _outbids(transaction, replaced):
            raise Refused("replacement transaction underpriced")
        if replaced is not None:
            del self.by_hash[replaced.hash]
        mine[transaction.nonce] = transaction
        self.by_hash[transaction.hash] = transaction
        return replaced

    def _check(self, transaction: Transaction, world: World) -> None:
        sender = account(world, transaction.sender)
        if transaction.hash in self.by_hash:
            raise Refused("already known")
        if transaction.chain_id not in (None, self.chain_id):
            raise Refused(
                f"invalid sender: invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}"
            )
        if transaction.gas > self.gas_limit:
            raise Refused("exceeds block gas limit")
        if transaction.max_priority_fee > transaction.max_fee:
            raise Refused("max priority fee per gas higher than max fee per gas")
        if transaction.gas < transaction.intrinsic_gas:
            raise Refused(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}")
        if transaction.max_priority_fee < self.least_tip:
            raise Refused(
                f"transaction underpriced: gas tip cap {transaction.max_priority_fee}, minimum needed {self.least_tip}"
            )
        if transaction.nonce < sender.nonce:
            raise Refused(f"nonce too low: next nonce {sender.nonce}, tx nonce {transaction.nonce}")
        if transaction.cost > sender.balance:
            raise Refused(
                f"insufficient funds for gas * price + value: balance {sender.balance}, tx cost {transaction.cost}, "
                f"overshot {transaction.cost - sender.balance}"
            )

    def put_back(self, transaction: Transaction) -> None:
        """Take back what a fork has thrown out of a block, unless its nonce has been given to another."""
        mine = self.waiting.setdefault(transaction.sender, {})
        if transaction.nonce not in mine:
            mine[transaction.nonce] = transaction
            self.by_hash[transaction.hash] = transaction

    def remove(self, transaction: Transaction) -> None:
        """Forget a transaction; nothing happens when it is not there."""
        if self.by_hash.pop(transaction.hash, None) is not None:
            mine = self.waiting[transaction.sender]
            del mine[transaction.nonce]
            if not mine:
                del self.waiting[transaction.sender]

    def settle(self, world: World) -> None:
        """Forget what can never be mined any more: nonces that the chain has passed."""
        stale = [tx for tx in self.by_hash.values() if tx.nonce < account(world, tx.sender).nonce]
        for transaction in stale:
            self.remove(transaction)

    def next_nonce(self, sender: Address, world: World) -> int:
        """Return the nonce after the last transaction that waits without a gap."""
        nonce = account(world, sender).nonce
        mine = self.waiting.get(sender, {})
        while nonce in mine:
            nonce += 1
        return nonce

    def is_pending(self, transaction: Transaction, world: World) -> bool:
        """Return whether no gap of nonces keeps a transaction waiting."""
        return transaction.nonce < self.next_nonce(transaction.sender, world)

    def ready(self, world: World, base_fee: int, least_tip: int = 0) -> Iterator[Transaction]:
        """Yield what a block can take, best tip first, each sender's in order of nonce.

        A sender whose next transaction bids less than the base fee, or tips less than `least_tip`, has to wait.
        """
        heap: list[tuple[int, int, Transaction]] = []
        # Of equal tips the one that came first goes first.
        arrival = {tx: place for place, tx in enumerate(self.by_hash)}

        def offer(sender: Address, nonce: int) -> None:
            transaction = self.waiting.get(sender, {}).get(nonce)
            if transaction is not None and transaction.tip(base_fee) >= least_tip:
                heapq.heappush(heap, (-transaction.tip(base_fee), arrival[transaction.hash], transaction))

        for sender in list(self.waiting):
            offer(sender, account(world, sender).nonce)
        while heap:
            _, _, transaction = heapq.heappop(heap)
            yield transaction
            offer(transaction.sender, transaction.nonce + 1)

    def copy(self) -> Mempool:
        """Return a pool with the same transactions."""
        waiting = {sender: dict(mine) for sender, mine in self.waiting.items()}
        return Mempool(self.chain_id, self.gas_limit, self.least_tip, waiting, dict(self.by_hash))


def _outbids(new: Transaction, old: Transaction) -> bool:
    pairs = ((new.max_fee, old.max_fee), (new.max_priority_fee, old.max_priority_fee))
    return all(after > before and after >= before * (100 + PRICE_BUMP_PERCENT) // 100 for after, before in pairs)
