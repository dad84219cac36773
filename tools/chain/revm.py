"""The EVM of pyrevm, made to run every message as a transaction of its own.

pyrevm has one journal and no boundary between transactions: whatever was touched once stays warm, and gas comes out too
low. So the state is put in its database, beneath the journal; a message runs between `snapshot` and `revert`, after
which the journal is empty and all is cold again; what it changed is read before that, from the text of the journal.
"""

from __future__ import annotations

import re

from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

from tools.chain.evm import REVERTED, BlockContext, InvalidMessage, LogEntry, Message, Outcome, check
from tools.chain.world import EMPTY_ACCOUNT, Account, Address, World

_SPEC = "CANCUN"
_CODE_PADDING = 33
_TOUCHED_ACCOUNT = re.compile(r"(?:address|from|to|target): (0x[0-9a-f]{40})")
_TOUCHED_SLOT = re.compile(r"StorageChange \{ address: (0x[0-9a-f]{40}), key: (\d+), had_value: Some")
_OUTPUT = re.compile(r"^Revert \{.* output: 0x([0-9a-f]*)")
_HALT = re.compile(r"^Halt \{ reason: (\w+)")
_HALTS = {"OutOfGas": "out of gas", "InvalidFEOpcode": "invalid opcode: INVALID", "StackUnderflow": "stack underflow"}


class Revm:
    """One EVM whose database follows the world that a message is to run over."""

    name = "pyrevm"

    def __init__(self) -> None:
        self._world: World = {}
        self._block: BlockContext | None = None
        self._evm: EVM | None = None

    def run(self, world: World, block: BlockContext, message: Message) -> Outcome:
        check(message, world)
        evm = self._at(world, block)
        checkpoint = evm.snapshot()
        try:
            return self._run(evm, world, message)
        finally:
            evm.revert(checkpoint)

    def _at(self, world: World, block: BlockContext) -> EVM:
        if self._evm is None or self._block is None or self._block.chain_id != block.chain_id:
            self._evm = EVM(spec_id=_SPEC, env=Env(cfg=CfgEnv(chain_id=block.chain_id)))
            self._world = {}
        if block != self._block:
            self._evm.set_block_env(_block_env(block))
            self._block = block
        if world is not self._world:
            for address in world.keys() | self._world.keys():
                before, after = self._world.get(address, EMPTY_ACCOUNT), world.get(address, EMPTY_ACCOUNT)
                if before is not after:
                    _load(self._evm, address, before, after)
            self._world = world
        return self._evm

    def _run(self, evm: EVM, world: World, message: Message) -> Outcome:
        created = None
        try:
            if message.to is None:
                created = evm.deploy(message.sender, message.data, value=message.value, gas=message.gas).lower()
                output = b""
            else:
                output = evm.message_call(
                    message.sender, message.to, message.data, message.value, message.gas, message.gas_price
                )
        except RuntimeError as error:
            return _failed(str(error), world, evm, message)
        result = evm.result
        assert result is not None
        logs = tuple(
            LogEntry(log.address.lower(), tuple(bytes.fromhex(topic[2:]) for topic in log.topics), bytes(log.data[1]))
            for log in result.logs
        )
        return Outcome(_changed(evm, world), output, result.gas_used, result.gas_refunded, logs, created)


def _block_env(block: BlockContext) -> BlockEnv:
    return BlockEnv(
        number=block.number,
        coinbase=block.coinbase,
        timestamp=block.time_s,
        prevrandao=block.random,
        basefee=block.base_fee,
        gas_limit=block.gas_limit,
        excess_blob_gas=0,
    )


def _load(evm: EVM, address: Address, before: Account, after: Account) -> None:
    code = after.code or None
    info = AccountInfo(balance=after.balance, nonce=after.nonce, code=code)  # type: ignore[call-arg]
    evm.insert_account_info(address, info)
    if before.storage is after.storage:
        return
    for slot in before.storage.keys() | after.storage.keys():
        word = after.storage.get(slot, 0)
        if before.storage.get(slot, 0) != word:
            # The insertion also warms the account; the revert takes that back and leaves the database as it is.
            checkpoint = evm.snapshot()
            evm.insert_account_storage(address, slot, word)
            evm.revert(checkpoint)


def _changed(evm: EVM, world: World) -> World:
    text = evm.journal_str
    journal = text[text.rindex(", journal: [") :]
    journal = journal[: journal.rindex("], spec: ")]
    slots: dict[Address, set[int]] = {}
    for address, slot in _TOUCHED_SLOT.findall(journal):
        slots.setdefault(address, set()).add(int(slot))
    changed = dict(world)
    for address in set(_TOUCHED_ACCOUNT.findall(journal)):
        before = world.get(address, EMPTY_ACCOUNT)
        info = evm.basic(address)
        storage = before.storage
        if address in slots:
            words = {slot: evm.storage(address, slot) for slot in slots[address]}
            if any(storage.get(slot, 0) != word for slot, word in words.items()):
                storage = {slot: word for slot, word in {**storage, **words}.items() if word}
        code = before.code or _created_code(evm, address)
        after = Account(evm.get_balance(address), info.nonce, code, storage)
        if after != before:
            changed[address] = after
    return changed


def _created_code(evm: EVM, address: Address) -> bytes:
    # What a creation has left is padded, so that the interpreter need not look where the code ends.
    code = bytes(evm.get_code(address) or b"")
    return code[:-_CODE_PADDING] if code else code


def _failed(text: str, world: World, evm: EVM, message: Message) -> Outcome:
    gas_used = evm.result.gas_used if evm.result else message.gas
    if reverted := _OUTPUT.match(text):
        return Outcome(world, bytes.fromhex(reverted[1]), gas_used, error=REVERTED)
    if halted := _HALT.match(text):
        return Outcome(world, b"", gas_used, error=_HALTS.get(halted[1], halted[1]))
    raise InvalidMessage(text)
