"""JSON-RPC methods that no real chain has: blocks, time, balances and snapshots by decree, and faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tools.chain.chain import Chain
from tools.chain.faults import BadFault
from tools.chain.wire import INVALID_PARAMS, RpcError, data, quantity, read_address, read_data, read_quantity
from tools.chain.world import account


class Control:
    """The methods whose names begin with `evm_`, `anvil_` and `fault_`; the first two as anvil has them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def methods(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        named = {name: getattr(self, name) for name in dir(self) if name.startswith(("evm_", "anvil_", "fault_"))}
        return {**named, "txpool_status": self.txpool_status}

    # --- helpers of tests -------------------------------------------------------------------------------------

    def evm_mine(self, time_s: Any = None) -> str:
        if time_s is not None:
            self.evm_setNextBlockTimestamp(time_s)
        self._chain.mine()
        return "0x0"

    def anvil_mine(self, count: Any = 1, _interval_s: Any = None) -> None:
        for _ in range(read_quantity(count, "blocks")):
            self._chain.mine()

    def evm_setAutomine(self, on: bool) -> bool:
        self._chain.blocks_on_transaction = bool(on)
        return True

    def evm_increaseTime(self, seconds: Any) -> str:
        self._chain.offset_s += read_quantity(seconds, "seconds")
        return quantity(int(self._chain.offset_s))

    def evm_setNextBlockTimestamp(self, time_s: Any) -> None:
        wanted, now = read_quantity(time_s, "timestamp"), self._chain.head.header.time_s
        if wanted <= now:
            raise RpcError(INVALID_PARAMS, f"timestamp {wanted} has to be after that of the last block, {now}")
        self._chain.forced_time_s = wanted

    def anvil_setBalance(self, address: Any, wei: Any) -> None:
        self._chain.set_account(read_address(address), balance=read_quantity(wei, "balance"))

    def anvil_setStorageAt(self, address: Any, slot: Any, word: Any) -> bool:
        where = read_address(address)
        storage = dict(account(self._chain.world, where).storage)
        storage[read_quantity(slot, "slot")] = int.from_bytes(read_data(word, "value", 32), "big")
        self._chain.set_account(where, storage=storage)
        return True

    def anvil_setNextBlockBaseFeePerGas(self, wei: Any) -> None:
        self._chain.forced_base_fee = read_quantity(wei, "base fee")

    def evm_snapshot(self) -> str:
        return quantity(self._chain.snapshot())

    def evm_revert(self, snapshot_id: Any) -> bool:
        return self._chain.revert(read_quantity(snapshot_id, "snapshot"))

    def txpool_status(self) -> dict[str, str]:
        pool, world = self._chain.pool, self._chain.world
        pending = sum(pool.is_pending(transaction, world) for transaction in pool.by_hash.values())
        return {"pending": quantity(pending), "queued": quantity(len(pool.by_hash) - pending)}

    def anvil_dropTransaction(self, transaction_hash: Any) -> str | None:
        transaction = self._chain.pool.by_hash.get(read_data(transaction_hash, "transaction hash", 32))
        if transaction is None:
            return None
        self._chain.pool.remove(transaction)
        return data(transaction.hash)

    def anvil_reorg(self, depth: Any, _transactions: Any = ()) -> list[str]:
        return self.fault_reorg({"depth": read_quantity(depth, "depth")})

    # --- faults -----------------------------------------------------------------------------------------------

    def fault_set(self, switches: Any) -> dict[str, Any]:
        if not isinstance(switches, Mapping):
            raise BadFault("fault_set takes one object: the switches and their values")
        self._chain.faults.set(**switches)
        return self._chain.faults.values()

    def fault_clear(self) -> dict[str, Any]:
        self._chain.faults.clear()
        return self._chain.faults.values()

    def fault_get(self) -> dict[str, Any]:
        return self._chain.faults.values()

    def fault_reorg(self, how: Any) -> list[str]:
        unknown = set(how) - {"depth", "length", "transactions"}
        if unknown:
            raise BadFault(f"fault_reorg takes depth, length and transactions, not {', '.join(sorted(unknown))}")
        fate = how.get("transactions", "keep")
        if fate not in ("keep", "wait", "drop"):
            raise BadFault(
                f"transactions of a reorg can be kept, left waiting or dropped: keep, wait, drop; not {fate!r}"
            )
        depth, length = (read_quantity(how.get(name, 0), name) for name in ("depth", "length"))
        return [data(block.hash) for block in self._chain.reorg(depth, length=length, transactions=fate)]
