"""Signed transactions, against what eth_account makes."""

from __future__ import annotations

import pytest
from support.chain import CHAIN_ID, GWEI

pytest.importorskip("eth_account", reason="the extra `chain` is not installed")

from eth_account import Account

from tools.chain.transactions import BadTransaction, decode, sign

KEY = bytes.fromhex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
TO = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DYNAMIC = {
    "type": 2,
    "chainId": CHAIN_ID,
    "nonce": 7,
    "maxPriorityFeePerGas": GWEI,
    "maxFeePerGas": 3 * GWEI,
    "gas": 90_000,
    "to": TO,
    "value": 5,
    "data": "0x00ff",
}
LEGACY = {"nonce": 0, "gasPrice": 2 * GWEI, "gas": 21_000, "to": TO, "value": 1, "data": "0x"}


def signed(fields: dict[str, object]):
    return Account.sign_transaction(fields, KEY)


@pytest.mark.parametrize(
    "fields", [DYNAMIC, DYNAMIC | {"nonce": 0, "value": 0}, LEGACY, LEGACY | {"chainId": CHAIN_ID}]
)
def test_sender_and_hash_are_those_of_eth_account(fields):
    expected = signed(fields)
    found = decode(bytes(expected.raw_transaction))
    assert found.sender == Account.from_key(KEY).address.lower()
    assert found.hash == bytes(expected.hash)
    assert (found.nonce, found.gas, found.value) == (fields["nonce"], fields["gas"], fields["value"])
    assert found.to == TO.lower()
    assert found.chain_id == fields.get("chainId")


def test_a_creation_has_no_recipient():
    fields = {name: value for name, value in DYNAMIC.items() if name != "to"}
    found = decode(bytes(signed(fields).raw_transaction))
    assert found.to is None
    assert found.intrinsic_gas == 21_000 + 32_000 + 2 + 4 + 16


def test_our_signature_is_the_same():
    ours = sign(
        KEY,
        chain_id=CHAIN_ID,
        nonce=7,
        max_priority_fee=GWEI,
        max_fee=3 * GWEI,
        gas=90_000,
        to=TO,
        value=5,
        data=b"\0\xff",
    )
    assert ours == bytes(signed(DYNAMIC).raw_transaction)


def test_a_tip_is_limited_by_the_cap():
    found = decode(bytes(signed(DYNAMIC).raw_transaction))
    assert found.tip(GWEI) == GWEI
    assert found.tip(int(2.5 * GWEI)) == int(0.5 * GWEI)
    assert found.tip(4 * GWEI) < 0


def test_the_other_half_of_signatures_is_refused():
    import rlp

    items = rlp.decode(bytes(signed(DYNAMIC).raw_transaction)[1:])
    parity, s = int.from_bytes(items[9], "big"), int.from_bytes(items[11], "big")
    items[9], items[11] = bytes([1 - parity]).lstrip(b"\0"), (N - s).to_bytes(32, "big")
    with pytest.raises(BadTransaction, match="invalid transaction v, r, s values"):
        decode(b"\2" + rlp.encode(items))


@pytest.mark.parametrize("raw", [b"", b"\2", b"\2\xc0", b"\3\xc0", b"\xc3\1\2\3", b"\xff" * 40, b"\1\xc0"])
def test_what_is_no_transaction_is_refused(raw):
    with pytest.raises(BadTransaction):
        decode(raw)
