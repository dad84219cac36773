"""The EVM of py-evm, in plain Python: some fifty times slower than pyrevm, for where that has no wheel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.exceptions import OutOfGas, Revert
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.message import Message as EvmMessage
from eth_hash.auto import keccak
from eth_typing import Address as Bytes20
from eth_typing import BlockNumber, Hash32

from tools.chain.evm import REVERTED, BlockContext, LogEntry, Message, Outcome, check
from tools.chain.transactions import created_address, init_code_gas, intrinsic_gas
from tools.chain.world import Account, Address, World, account

_REFUND_QUOTIENT = 5
_NO_ROOT = bytes(32)
_CHECKPOINTS = itertools.count(1)
"""Unique over all messages, since py-evm's transient storage remembers the names of them all."""


class PyEvm:
    """Runs each message over a state of its own, made from the world that it is given."""

    name = "py-evm"

    def run(self, world: World, block: BlockContext, message: Message) -> Outcome:
        check(message, world)
        creates = message.to is None
        intrinsic = intrinsic_gas(message.data, creates=creates)
        if creates:
            intrinsic -= init_code_gas(message.data)  # py-evm takes this part itself
        accounts = _Accounts(world)
        state = _State(accounts, block)
        sender = _bytes20(message.sender)
        created = created_address(message.sender, accounts.get_nonce(sender)) if creates else None
        if creates:
            accounts.increment_nonce(sender)
        call = EvmMessage(
            gas=message.gas - intrinsic,
            to=_bytes20(message.to) if message.to else CREATE_CONTRACT_ADDRESS,
            sender=sender,
            value=message.value,
            data=b"" if creates else message.data,
            code=message.data if message.to is None else account(world, message.to).code,
            create_address=_bytes20(created) if created else None,  # type: ignore[arg-type]
        )
        for address in (sender, call.storage_address):
            accounts.mark_address_warm(address)
        context = CancunTransactionContext(gas_price=message.gas_price, origin=sender)
        apply = state.computation_class.apply_create_message if creates else state.computation_class.apply_message
        done = apply(state, call, context)
        spent = message.gas - done.get_gas_remaining()
        if done.is_error:
            error = REVERTED if isinstance(done.error, Revert) else _halt(done.error)
            return Outcome(world, bytes(done.output), spent, error=error)
        refund = min(done.get_gas_refund(), spent // _REFUND_QUOTIENT)
        logs = tuple(
            LogEntry("0x" + address.hex(), tuple(topic.to_bytes(32, "big") for topic in topics), data)
            for address, topics, data in done.get_log_entries()
        )
        output = b"" if creates else bytes(done.output)
        return Outcome(accounts.world(), output, spent - refund, refund, logs, created)


def _bytes20(address: Address) -> Bytes20:
    return Bytes20(bytes.fromhex(address[2:]))


def _halt(error: Exception) -> str:
    return "out of gas" if isinstance(error, OutOfGas) else f"{type(error).__name__}: {error}"


class _State(CancunState):
    """py-evm's state over our accounts; none of its databases and tries are used."""

    def __init__(self, accounts: _Accounts, block: BlockContext) -> None:
        self.execution_context = ExecutionContext(
            coinbase=_bytes20(block.coinbase),
            timestamp=block.time_s,
            block_number=BlockNumber(block.number),
            difficulty=0,
            mix_hash=Hash32(block.random),
            gas_limit=block.gas_limit,
            prev_hashes=(),
            chain_id=block.chain_id,
            base_fee_per_gas=block.base_fee,
            excess_blob_gas=0,
        )
        self._account_db: Any = accounts


class _Accounts:
    """What py-evm asks of its account database (`AccountDatabaseAPI`), over a world that stays as it is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._balances: dict[bytes, int] = {}
        self._nonces: dict[bytes, int] = {}
        self._codes: dict[bytes, bytes] = {}
        self._words: dict[tuple[bytes, int], int] = {}
        self._warm: dict[Any, bool] = {}
        self._undo: list[Callable[[], object]] = []
        self._marks: dict[int, int] = {}
        self.state_root = _NO_ROOT

    def world(self) -> World:
        """Return the world with what was changed."""
        changed = dict(self._world)
        words: dict[bytes, dict[int, int]] = {}
        for (address, slot), word in self._words.items():
            words.setdefault(address, {})[slot] = word
        for address in {*self._balances, *self._nonces, *self._codes, *words}:
            storage = self._before(address).storage
            if any(storage.get(slot, 0) != word for slot, word in words.get(address, {}).items()):
                storage = {slot: word for slot, word in {**storage, **words[address]}.items() if word}
            after = Account(self.get_balance(address), self.get_nonce(address), self.get_code(address), storage)
            if after != self._before(address):
                changed["0x" + address.hex()] = after
        return changed

    def _before(self, address: bytes) -> Account:
        return account(self._world, "0x" + address.hex())

    def _set(self, kept: dict[Any, Any], key: Any, value: Any) -> None:
        if key in kept:
            before = kept[key]
            self._undo.append(lambda: kept.__setitem__(key, before))
        else:
            self._undo.append(lambda: kept.pop(key))
        kept[key] = value

    # --- journal ----------------------------------------------------------------------------------------------

    def record(self) -> int:
        name = next(_CHECKPOINTS)
        self._marks[name] = len(self._undo)
        return name

    def discard(self, checkpoint: int) -> None:
        while len(self._undo) > self._marks[checkpoint]:
            self._undo.pop()()

    def commit(self, checkpoint: int) -> None:
        del self._marks[checkpoint]

    # --- accounts ---------------------------------------------------------------------------------------------

    def get_balance(self, address: bytes) -> int:
        return self._balances[address] if address in self._balances else self._before(address).balance

    def set_balance(self, address: bytes, balance: int) -> None:
        self._set(self._balances, address, balance)

    def get_nonce(self, address: bytes) -> int:
        return self._nonces[address] if address in self._nonces else self._before(address).nonce

    def set_nonce(self, address: bytes, nonce: int) -> None:
        self._set(self._nonces, address, nonce)

    def increment_nonce(self, address: bytes) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code(self, address: bytes) -> bytes:
        return self._codes[address] if address in self._codes else self._before(address).code

    def set_code(self, address: bytes, code: bytes) -> None:
        self._set(self._codes, address, code)

    def delete_code(self, address: bytes) -> None:
        self.set_code(address, b"")

    def get_code_hash(self, address: bytes) -> bytes:
        return keccak(self.get_code(address))

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        return bool(self.get_nonce(address) or self.get_code(address))

    def account_is_empty(self, address: bytes) -> bool:
        return not (self.get_balance(address) or self.account_has_code_or_nonce(address))

    def account_exists(self, address: bytes) -> bool:
        return not self.account_is_empty(address)

    def touch_account(self, address: bytes) -> None:
        """Do nothing: an account that is empty is as good as none."""

    # --- storage ----------------------------------------------------------------------------------------------

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        if from_journal and (address, slot) in self._words:
            return self._words[address, slot]
        return self._before(address).storage.get(slot, 0)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        self._set(self._words, (address, slot), value)

    def delete_storage(self, address: bytes) -> None:
        """Do nothing: called for the new address of a contract, which has none."""

    # --- warm and cold (EIP-2929) -----------------------------------------------------------------------------

    def is_address_warm(self, address: bytes) -> bool:
        return address in self._warm or int.from_bytes(address, "big") in range(1, 11)

    def mark_address_warm(self, address: bytes) -> None:
        self._set(self._warm, address, True)

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        self._set(self._warm, (address, slot), True)
