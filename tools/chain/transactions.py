"""Signed transactions: decoding, recovery of the sender, hashes.

Sources: EIP-155 and the yellow paper (legacy), EIP-1559 (type 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import rlp
from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from tools.chain.world import Address

LEGACY, DYNAMIC_FEE = 0, 2
_SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_EIP155 = 35
_ADDRESS_BYTES = 20
_LEGACY_FIELDS, _DYNAMIC_FIELDS = 9, 12
_TX_GAS, _CREATION_GAS, _INIT_WORD_GAS, _ZERO_BYTE_GAS, _BYTE_GAS = 21_000, 32_000, 2, 4, 16


class BadTransaction(ValueError):
    """The bytes are no transaction that this chain takes; the message is the node's answer."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One signed transaction. Fees in wei a gas; a legacy one bids its gas price as both."""

    kind: int
    chain_id: int | None
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: Address | None
    value: int
    data: bytes
    signature: tuple[int, int, int]
    """(v, r, s) as signed; v is the parity for type 2."""
    sender: Address
    hash: bytes
    raw: bytes

    def tip(self, base_fee: int) -> int:
        """Return what the block's maker gets a gas; below 0 the block cannot take it."""
        return min(self.max_priority_fee, self.max_fee - base_fee)

    @property
    def cost(self) -> int:
        """Return what the sender has to hold, wei."""
        return self.gas * self.max_fee + self.value

    @property
    def intrinsic_gas(self) -> int:
        """Return the gas that is spent before the first instruction."""
        return intrinsic_gas(self.data, creates=self.to is None)


def intrinsic_gas(data: bytes, *, creates: bool) -> int:
    """Return the gas that a transaction costs for its size. Sources: EIP-2, EIP-2028, EIP-3860."""
    zeros = data.count(0)
    gas = _TX_GAS + zeros * _ZERO_BYTE_GAS + (len(data) - zeros) * _BYTE_GAS
    return gas + _CREATION_GAS + init_code_gas(data) if creates else gas


def init_code_gas(data: bytes) -> int:
    """Return the part of it that is for the words of a contract's creation code."""
    return -(-len(data) // 32) * _INIT_WORD_GAS


def decode(raw: bytes) -> Transaction:
    """Decode a signed transaction and recover its sender; raise BadTransaction with the reason."""
    if not raw:
        raise BadTransaction("typed transaction too short")
    try:
        if raw[0] >= 0xC0:
            return _decode_legacy(raw, _items(raw, _LEGACY_FIELDS))
        if raw[0] == DYNAMIC_FEE:
            return _decode_dynamic(raw, _items(raw[1:], _DYNAMIC_FIELDS))
    except rlp.exceptions.DecodingError as error:
        raise BadTransaction(f"rlp: {error}") from error
    raise BadTransaction("transaction type not supported")


def sign(
    key: bytes,
    *,
    chain_id: int,
    nonce: int,
    max_priority_fee: int,
    max_fee: int,
    gas: int,
    to: Address | None,
    value: int = 0,
    data: bytes = b"",
) -> bytes:
    """Return a signed transaction of type 2, as bytes that can be sent."""
    target = bytes.fromhex(to[2:]) if to else b""
    fields = [*map(_bytes, (chain_id, nonce, max_priority_fee, max_fee, gas)), target, _bytes(value), data, []]
    prefix = bytes([DYNAMIC_FEE])
    signature = PrivateKey(key).sign_msg_hash(keccak(prefix + rlp.encode(fields)))
    return bytes(prefix + rlp.encode([*fields, *map(_bytes, signature.vrs)]))


def _items(data: bytes, count: int) -> list[bytes]:
    items = rlp.decode(data)
    if not isinstance(items, list) or len(items) != count:
        raise BadTransaction(f"rlp: expected {count} fields of a transaction")
    return items


def _decode_legacy(raw: bytes, items: list[bytes]) -> Transaction:
    nonce, price, gas, to, value, data = items[:6]
    v, r, s = (_number(item) for item in items[6:])
    if v in (27, 28):
        chain_id, parity, unsigned = None, v - 27, items[:6]
    elif v >= _EIP155:
        chain_id, parity = divmod(v - _EIP155, 2)
        unsigned = [*items[:6], _bytes(chain_id), b"", b""]
    else:
        raise BadTransaction("invalid transaction v, r, s values")
    sender = _recover(keccak(rlp.encode(unsigned)), parity, r, s)
    return Transaction(
        kind=LEGACY,
        chain_id=chain_id,
        nonce=_number(nonce),
        max_priority_fee=_number(price),
        max_fee=_number(price),
        gas=_number(gas),
        to=_address(to),
        value=_number(value),
        data=data,
        signature=(v, r, s),
        sender=sender,
        hash=keccak(raw),
        raw=raw,
    )


def _decode_dynamic(raw: bytes, items: list[bytes]) -> Transaction:
    chain_id, nonce, tip, cap, gas, to, value, data, access_list = items[:9]
    v, r, s = (_number(item) for item in items[9:])
    if access_list:
        raise BadTransaction("access lists are not supported by this chain; send the transaction without one")
    sender = _recover(keccak(raw[:1] + rlp.encode(items[:9])), v, r, s)
    return Transaction(
        kind=DYNAMIC_FEE,
        chain_id=_number(chain_id),
        nonce=_number(nonce),
        max_priority_fee=_number(tip),
        max_fee=_number(cap),
        gas=_number(gas),
        to=_address(to),
        value=_number(value),
        data=data,
        signature=(v, r, s),
        sender=sender,
        hash=keccak(raw),
        raw=raw,
    )


def _recover(digest: bytes, parity: int, r: int, s: int) -> Address:
    if not (parity in (0, 1) and 0 < r < _SECP256K1_N and 0 < s <= _SECP256K1_N // 2):
        raise BadTransaction("invalid transaction v, r, s values")
    try:
        public = Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError) as error:
        raise BadTransaction(f"invalid sender: {error}") from error
    return public.to_address()


def created_address(sender: Address, nonce: int) -> Address:
    """Return where a creation by this sender at this nonce puts the contract."""
    return "0x" + keccak(rlp.encode([bytes.fromhex(sender[2:]), _bytes(nonce)]))[12:].hex()


def _number(item: bytes) -> int:
    if not isinstance(item, bytes) or len(item) > 32 or item[:1] == b"\0":
        raise BadTransaction("rlp: expected an integer without leading zeros")
    return int.from_bytes(item, "big")


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _address(item: bytes) -> Address | None:
    if not isinstance(item, bytes) or len(item) not in (0, _ADDRESS_BYTES):
        raise BadTransaction("rlp: expected an address of 20 bytes, or none")
    return "0x" + item.hex() if item else None
