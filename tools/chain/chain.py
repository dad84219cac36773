"""The chain itself: blocks made from the mempool, calls, forks and snapshots. Nothing in it waits or does I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from tools.chain.blocks import Block, Header, Log, Receipt, bloom_of, digest, logs_of, next_base_fee
from tools.chain.evm import REVERTED, BlockContext, Evm, InvalidMessage, Message, Outcome, open_evm
from tools.chain.faults import Faults
from tools.chain.mempool import Mempool
from tools.chain.transactions import Transaction
from tools.chain.world import Address, World, account, with_account, with_paid

GENESIS_BASE_FEE = 10**9
GAS_LIMIT = 30_000_000
KEPT_WORLDS = 256
"""So many blocks back the state can be asked for; older ones have their blocks and logs only."""
_COINBASE = "0x" + "c0" * 20
_ZERO_HASH = bytes(32)
_ESTIMATE_ERROR = 0.015
_CALL_STIPEND = 2_300


class NewHead(NamedTuple):
    """A block has become the head."""

    block: Block


class NewLogs(NamedTuple):
    """Logs of a new block, or of one that has left the chain."""

    logs: Sequence[Log]


class NewPending(NamedTuple):
    """A transaction has entered the mempool."""

    transaction: Transaction


Event = NewHead | NewLogs | NewPending


class StateUnknown(Exception):
    """The state of a block is no longer there."""


class NoSuchBlock(Exception):
    """A fork, or a return, to a block that there is not."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    blocks: tuple[Block, ...]
    worlds: dict[bytes, World]
    pool: Mempool
    offset_s: float


class Chain:
    """One chain from its genesis on. `clock` gives Unix seconds; `blocks_on_transaction` makes a block for each."""

    def __init__(
        self,
        chain_id: int,
        balances: dict[Address, int],
        *,
        blocks_on_transaction: bool = True,
        evm: Evm | None = None,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
        gas_limit: int = GAS_LIMIT,
    ) -> None:
        self.chain_id = chain_id
        self.blocks_on_transaction = blocks_on_transaction
        self.faults = faults or Faults()
        self.pool = Mempool(chain_id, gas_limit)
        self.listeners: list[Callable[[Event], None]] = []
        self.forced_time_s: int | None = None
        self.forced_base_fee: int | None = None
        self.offset_s = 0.0
        self._clock = clock
        self._evm = evm or open_evm()
        self._gas_limit = gas_limit
        self._forks = 0
        self._snapshots: list[_Snapshot] = []
        world: World = {address: account({}, address)._replace(balance=wei) for address, wei in balances.items()}
        genesis = Block(
            Header(
                parent_hash=_ZERO_HASH,
                number=0,
                time_s=int(self._clock()),
                base_fee=GENESIS_BASE_FEE,
                gas_limit=gas_limit,
                gas_used=0,
                coinbase=_COINBASE,
                random=keccak(b"genesis"),
                extra=b"",
                bloom=bloom_of(()),
                state_root=digest([]),
                transactions_root=digest([]),
                receipts_root=digest([]),
            )
        )
        self.blocks = [genesis]
        self.by_hash = {genesis.hash: genesis}
        self._worlds = {genesis.hash: world}
        self._places: dict[bytes, tuple[Block, Receipt]] = {}

    # --- reading ----------------------------------------------------------------------------------------------

    @property
    def evm_name(self) -> str:
        """Return which EVM runs the contracts."""
        return self._evm.name

    @property
    def head(self) -> Block:
        """Return the newest block."""
        return self.blocks[-1]

    @property
    def world(self) -> World:
        """Return the state after the newest block."""
        return self._worlds[self.head.hash]

    def world_at(self, block: Block) -> World:
        """Return the state after a block; raise StateUnknown when it is too old."""
        try:
            return self._worlds[block.hash]
        except KeyError:
            raise StateUnknown(
                f"missing trie node: state of block {block.number} is gone, the last {KEPT_WORLDS} blocks have theirs"
            ) from None

    def find(self, transaction_hash: bytes) -> tuple[Block, Receipt] | None:
        """Return where a transaction was mined; None when it waits, is unknown or was forked away."""
        return self._places.get(transaction_hash)

    # --- transactions -----------------------------------------------------------------------------------------

    def submit(self, transaction: Transaction) -> None:
        """Take a transaction into the mempool, and into a block when each makes one; raise mempool.Refused."""
        self.pool.add(transaction, self.world)
        if self.faults.take("transactions_lost_next"):
            self.pool.remove(transaction)
            return
        self._tell(NewPending(transaction))
        if self.blocks_on_transaction and any(self._ready(self._next_context(self._next_time()))):
            self.mine()

    def call(self, message: Message, block: Block, world: World | None = None, *, pending: bool = False) -> Outcome:
        """Run a message over a block's state and forget what it changed; raise evm.InvalidMessage, StateUnknown."""
        context = self._next_context(self._next_time()) if pending else block.header.context(self.chain_id)
        return self._evm.run(self.world_at(block) if world is None else world, context, message)

    def estimate(self, message: Message, block: Block, world: World | None = None, *, pending: bool = False) -> Outcome:
        """Find the gas limit with which a message succeeds, 1.5 % too much at most; it is `gas_used` of the outcome.

        The outcome of the greatest limit is returned as it is when that fails. Source: go-ethereum, eth/gasestimator.
        """
        full = self.call(message, block, world, pending=pending)
        if full.error:
            return full
        low, high = full.gas_used - 1, message.gas
        optimistic = (full.gas_used + full.gas_refunded + _CALL_STIPEND) * 64 // 63
        guess = min(optimistic, high)
        while True:
            if self._succeeds(message._replace(gas=guess), block, world, pending):
                high = guess
            else:
                low = guess
            if low + 1 >= high or (high - low) / high < _ESTIMATE_ERROR:
                return full._replace(gas_used=high)
            # The need is most often near what was used: do not climb faster than twice the lower bound.
            guess = min((low + high) // 2, low * 2)

    def _succeeds(self, message: Message, block: Block, world: World | None, pending: bool) -> bool:
        try:
            return not self.call(message, block, world, pending=pending).error
        except InvalidMessage:
            return False

    # --- making blocks ----------------------------------------------------------------------------------------

    def mine(self, *, empty: bool = False) -> Block:
        """Make one block of what is ready in the mempool, and tell the listeners."""
        block, world = self._build(self._next_time(), empty)
        self.forced_time_s = self.forced_base_fee = None
        self._append(block, world)
        return block

    def _append(self, block: Block, world: World) -> None:
        self.blocks.append(block)
        self.by_hash[block.hash] = block
        self._worlds[block.hash] = world
        if len(self.blocks) > KEPT_WORLDS:
            self._worlds.pop(self.blocks[-KEPT_WORLDS - 1].hash, None)
        for receipt in block.receipts:
            self._places[receipt.transaction.hash] = (block, receipt)
            self.pool.remove(receipt.transaction)
        self.pool.settle(world)
        self._tell(NewHead(block))
        if logs := logs_of(block):
            self._tell(NewLogs(logs))

    def _next_time(self) -> int:
        if self.forced_time_s is not None:
            return self.forced_time_s
        return max(self.head.header.time_s + 1, int(self._clock() + self.offset_s))

    def _next_context(self, time_s: int) -> BlockContext:
        parent = self.head.header
        base_fee = self.forced_base_fee or self.faults.base_fee_wei or next_base_fee(parent)
        random = keccak(self.head.hash + self._forks.to_bytes(4, "big"))
        return BlockContext(self.chain_id, parent.number + 1, time_s, base_fee, self._gas_limit, _COINBASE, random)

    def _ready(self, context: BlockContext) -> Iterator[Transaction]:
        return self.pool.ready(self.world, context.base_fee, self.faults.stuck_below_tip_wei)

    def _build(self, time_s: int, empty: bool) -> tuple[Block, World]:
        context = self._next_context(time_s)
        world, receipts = self.world, list[Receipt]()
        gas_used = log_index = 0
        left_out: set[Address] = set()
        for transaction in () if empty else self._ready(context):
            if transaction.sender in left_out:
                continue
            too_much = gas_used + transaction.gas > context.gas_limit
            if too_much or transaction.cost > account(world, transaction.sender).balance:
                left_out.add(transaction.sender)
                continue
            world, outcome = self._apply(world, context, transaction)
            gas_used += outcome.gas_used
            receipts.append(
                Receipt(
                    transaction=transaction,
                    index=len(receipts),
                    succeeded=not outcome.error,
                    gas_used=outcome.gas_used,
                    cumulative_gas=gas_used,
                    price=context.base_fee + transaction.tip(context.base_fee),
                    logs=outcome.logs,
                    first_log_index=log_index,
                    created=outcome.created,
                )
            )
            log_index += len(outcome.logs)
        header = Header(
            parent_hash=self.head.hash,
            number=context.number,
            time_s=context.time_s,
            base_fee=context.base_fee,
            gas_limit=context.gas_limit,
            gas_used=gas_used,
            coinbase=context.coinbase,
            random=context.random,
            extra=f"fork {self._forks}".encode() if self._forks else b"",
            bloom=bloom_of(entry for receipt in receipts for entry in receipt.logs),
            state_root=digest([self.head.hash, *(receipt.transaction.hash for receipt in receipts)]),
            transactions_root=digest(receipt.transaction.hash for receipt in receipts),
            receipts_root=digest(receipt.gas_used.to_bytes(8, "big") for receipt in receipts),
        )
        return Block(header, tuple(receipts)), world

    def _apply(self, world: World, context: BlockContext, transaction: Transaction) -> tuple[World, Outcome]:
        sender = transaction.sender
        tip = transaction.tip(context.base_fee)
        price = context.base_fee + tip
        before = with_paid(world, sender, -transaction.gas * price)
        raised = with_account(before, sender, nonce=transaction.nonce + 1)
        message = Message(sender, transaction.to, transaction.data, transaction.value, transaction.gas, price)
        # A creation takes its address from the nonce and raises it itself.
        outcome = self._evm.run(before if transaction.to is None else raised, context, message)
        after = raised if outcome.error else outcome.world
        after = with_paid(after, sender, (transaction.gas - outcome.gas_used) * price)
        after = with_paid(after, context.coinbase, tip * outcome.gas_used)
        return after, outcome

    # --- forks and snapshots ----------------------------------------------------------------------------------

    def reorg(
        self, depth: int, *, length: int = 0, transactions: Literal["keep", "wait", "drop"] = "keep"
    ) -> list[Block]:
        """Replace the last `depth` blocks by `length` others (as many, when 0); return the new ones.

        What was in them goes into the first new block (`keep`), back into the mempool (`wait`) or is gone (`drop`).
        Listeners get the logs that left, newest block first, then the new heads and logs.
        """
        if not 0 < depth < len(self.blocks) or self.blocks[-depth - 1].hash not in self._worlds:
            most = min(len(self.blocks), KEPT_WORLDS) - 1
            raise NoSuchBlock(f"a reorg can replace 1 to {most} blocks, not {depth}")
        gone = self.blocks[-depth:]
        del self.blocks[-depth:]
        for block in reversed(gone):
            del self._worlds[block.hash]
            for receipt in block.receipts:
                del self._places[receipt.transaction.hash]
            if logs := logs_of(block, removed=True):
                self._tell(NewLogs(logs[::-1]))
        if transactions != "drop":
            for block in gone:
                for receipt in block.receipts:
                    self.pool.put_back(receipt.transaction)
        self._forks += 1
        new = []
        for place in range(length or depth):
            self.forced_time_s = max(
                self.head.header.time_s + 1, gone[place].header.time_s if place < depth else self._next_time()
            )
            new.append(self.mine(empty=transactions == "wait"))
        return new

    def snapshot(self) -> int:
        """Remember blocks and mempool; return the id to `revert` to."""
        self._snapshots.append(_Snapshot(tuple(self.blocks), dict(self._worlds), self.pool.copy(), self.offset_s))
        return len(self._snapshots)

    def revert(self, snapshot_id: int) -> bool:
        """Go back to a snapshot, which with all later ones is used up; return False when it is unknown.

        Listeners hear nothing of it: this is a tool of tests, not something that a chain does.
        """
        if not 0 < snapshot_id <= len(self._snapshots):
            return False
        kept = self._snapshots[snapshot_id - 1]
        del self._snapshots[snapshot_id - 1 :]
        self.blocks, self._worlds, self.pool, self.offset_s = list(kept.blocks), kept.worlds, kept.pool, kept.offset_s
        self._places = {
            receipt.transaction.hash: (block, receipt) for block in self.blocks for receipt in block.receipts
        }
        return True

    def set_account(self, address: Address, **changes: Any) -> None:
        """Change an account by decree, from the newest block on."""
        self._worlds[self.head.hash] = with_account(self.world, address, **changes)

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)


def reason_of(outcome: Outcome) -> str:
    """Return a failure in geth's words, with the contract's own reason where there is one."""
    if outcome.error != REVERTED:
        return outcome.error
    selector, data = outcome.output[:4], outcome.output[4:]
    try:
        if selector == _ERROR:
            return f"{REVERTED}: {decode(['string'], data)[0]}"
        if selector == _PANIC:
            code = decode(["uint256"], data)[0]
            return f"{REVERTED}: panic: {_PANICS.get(code, 'unknown panic')} (0x{code:02x})"
    except DecodingError:
        return REVERTED
    return REVERTED


_ERROR, _PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")
_PANICS = {0x01: "assert(false)", 0x11: "arithmetic underflow or overflow", 0x12: "division or modulo by zero"}
