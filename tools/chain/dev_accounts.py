"""Funded accounts whose keys everybody knows: the first of the mnemonic that Foundry and Hardhat start with.

Anything sent to them on a real chain is taken at once.
"""

from __future__ import annotations

from eth_keys.datatypes import PrivateKey

from tools.chain.world import Address

MNEMONIC = "test test test test test test test test test test test junk"
BALANCE_WEI = 1_000_000 * 10**18
# Derived along m/44'/60'/0'/0/n.
_KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
)


class DevAccounts:
    """The accounts and their keys; the first of them deploys the contracts."""

    def __init__(self) -> None:
        self._keys = {PrivateKey(bytes.fromhex(key)).public_key.to_address(): bytes.fromhex(key) for key in _KEYS}

    @property
    def addresses(self) -> list[Address]:
        """Return their addresses in order."""
        return list(self._keys)

    def key(self, address: Address) -> bytes:
        """Return the private key of one of them."""
        return self._keys[address]
