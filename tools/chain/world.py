"""The state of the chain: accounts by address. Values are never changed in place, so a block can keep its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Address = str
"""0x and forty lower-case hexadecimal digits."""

EMPTY_STORAGE: Mapping[int, int] = MappingProxyType({})


class Account(NamedTuple):
    """One account. `balance` in wei; `storage` maps slot to word and leaves zeros out."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = EMPTY_STORAGE


EMPTY_ACCOUNT = Account()
World = Mapping[Address, Account]


def account(world: World, address: Address) -> Account:
    """Return an account; one that was never used is empty."""
    return world.get(address, EMPTY_ACCOUNT)


def with_account(world: World, address: Address, **changes: Any) -> World:
    """Return the world with fields of one account replaced."""
    return {**world, address: account(world, address)._replace(**changes)}


def with_paid(world: World, address: Address, wei: int) -> World:
    """Return the world after an account was paid `wei` (or has paid, below 0)."""
    return with_account(world, address, balance=account(world, address).balance + wei)
