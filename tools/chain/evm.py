"""What runs a message: the contract between the chain and an EVM, and which EVM there is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.errors import UsageError
from tools.chain.transactions import intrinsic_gas
from tools.chain.world import Address, World, account


class BlockContext(NamedTuple):
    """What a contract can see of the block it runs in. `time_s` is Unix time; fees in wei a gas."""

    chain_id: int
    number: int
    time_s: int
    base_fee: int
    gas_limit: int
    coinbase: Address
    random: bytes


class Message(NamedTuple):
    """A call, or the creation of a contract where `to` is None. Gas is metered but not paid for here."""

    sender: Address
    to: Address | None
    data: bytes
    value: int
    gas: int
    gas_price: int


class LogEntry(NamedTuple):
    """An event that a contract has emitted."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


class Outcome(NamedTuple):
    """What a message did. `world` is as before when `error` says why it failed; `output` may then hold the reason.

    `gas_used` is a transaction's: intrinsic gas, cold slots and refunds are in it; `gas_refunded` is what was taken
    off. A creation raises its sender's nonce; a call does not.
    """

    world: World
    output: bytes
    gas_used: int
    gas_refunded: int = 0
    logs: tuple[LogEntry, ...] = ()
    created: Address | None = None
    error: str = ""


REVERTED = "execution reverted"


class InvalidMessage(Exception):
    """The message cannot even start: too little gas for its size, or value that the sender does not have."""


def check(message: Message, world: World) -> None:
    """Raise InvalidMessage when a message cannot start."""
    needed = intrinsic_gas(message.data, creates=message.to is None)
    if message.gas < needed:
        raise InvalidMessage(f"intrinsic gas too low: gas {message.gas}, minimum needed {needed}")
    balance = account(world, message.sender).balance
    if balance < message.value:
        raise InvalidMessage(
            f"insufficient funds for gas * price + value: address {message.sender} have {balance} want {message.value}"
        )


class Evm(Protocol):
    """Runs messages, each as a transaction of its own."""

    name: str

    def run(self, world: World, block: BlockContext, message: Message) -> Outcome:
        """Run a message over a world; raise InvalidMessage when it cannot start."""


def open_evm(name: str = "") -> Evm:
    """Return the EVM of that name (`pyrevm`, `py-evm`), or the fastest that is installed."""
    if name not in ("", "pyrevm", "py-evm"):
        raise UsageError(f"no EVM {name!r}; there are pyrevm and py-evm")
    if name in ("", "pyrevm"):
        try:
            from tools.chain.revm import Revm
        except ImportError as error:
            if name:
                raise UsageError("pyrevm is not installed; it has wheels for Python 3.11 and 3.12") from error
        else:
            return Revm()
    try:
        from tools.chain.pyevm import PyEvm
    except ImportError as error:
        raise UsageError("no EVM is installed; do `pip install 'asymmetric-lp[chain]'`") from error
    return PyEvm()
