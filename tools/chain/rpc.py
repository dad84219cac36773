"""The JSON-RPC methods. One method here is one method there, called with the parameters as they came."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tools.chain.blocks import Block, LogFilter, logs_of, next_base_fee
from tools.chain.chain import Chain, NoSuchBlock, StateUnknown, reason_of
from tools.chain.dev_accounts import DevAccounts
from tools.chain.evm import REVERTED, InvalidMessage, Message, Outcome
from tools.chain.faults import BadFault
from tools.chain.mempool import Refused
from tools.chain.rpc_control import Control
from tools.chain.transactions import BadTransaction, decode, sign
from tools.chain.wire import (
    EXECUTION_REVERTED,
    INVALID_PARAMS,
    NO_METHOD,
    SERVER_ERROR,
    RpcError,
    block_page,
    data,
    log_page,
    quantity,
    read_address,
    read_data,
    read_filter,
    read_quantity,
    receipt_page,
    transaction_page,
)
from tools.chain.world import EMPTY_STORAGE, World, account, with_account

DEFAULT_TIP = 10**9
CONFIRMATIONS = {"safe": 32, "finalized": 64}
"""So many blocks behind the head stand these tags."""
_MOST_BLOCKS_OF_HISTORY = 1024
_ZERO = "0x" + "0" * 40


class Rpc:
    """Answers requests about one chain. `handle` is all that a server needs."""

    def __init__(self, chain: Chain, dev: DevAccounts) -> None:
        self.chain = chain
        self.dev = dev
        self._hidden_receipts: set[bytes] = set()
        own = {name: getattr(self, name) for name in dir(self) if name.startswith("eth_")}
        self._methods: dict[str, Callable[..., Any]] = {
            **own,
            **Control(chain).methods(),
            "net_version": lambda: str(self._chain_id()),
            "web3_clientVersion": lambda: f"asymmetric-lp-chain/{self.chain.evm_name}",
        }

    def names(self) -> list[str]:
        """Return the methods that there are."""
        return sorted(self._methods)

    def handle(self, method: str, params: Any) -> Any:
        """Return a method's result; raise RpcError for every error that a client can make."""
        call = self._methods.get(method)
        if call is None:
            raise RpcError(NO_METHOD, f"the method {method} does not exist/is not available")
        arguments = [params] if isinstance(params, Mapping) else list(params or [])
        try:
            inspect.signature(call).bind(*arguments)
        except TypeError as error:
            raise RpcError(INVALID_PARAMS, f"{method}: {error}") from error
        try:
            return call(*arguments)
        except (Refused, BadTransaction, StateUnknown, NoSuchBlock, InvalidMessage) as error:
            raise RpcError(SERVER_ERROR, str(error)) from error
        except BadFault as error:
            raise RpcError(INVALID_PARAMS, str(error)) from error

    # --- blocks -----------------------------------------------------------------------------------------------

    def head(self) -> Block:
        """Return the newest block that the node admits to."""
        stale = self.chain.faults.stale_head_block
        return self.chain.blocks[min(stale, self.chain.head.number)] if stale >= 0 else self.chain.head

    def eth_chainId(self) -> str:
        return quantity(self._chain_id())

    def _chain_id(self) -> int:
        return self.chain.faults.chain_id or self.chain.chain_id

    def eth_blockNumber(self) -> str:
        return quantity(self.head().number)

    def eth_syncing(self) -> bool:
        return False

    def eth_getBlockByNumber(self, tag: Any, full: bool = False) -> dict[str, Any] | None:
        block = self._find_block(tag)
        return block_page(block, full) if block else None

    def eth_getBlockByHash(self, block_hash: Any, full: bool = False) -> dict[str, Any] | None:
        block = self.chain.by_hash.get(read_data(block_hash, "block hash", 32))
        return block_page(block, full) if block else None

    def eth_getBlockReceipts(self, tag: Any) -> list[dict[str, Any]] | None:
        block = self._find_block(tag)
        return [receipt_page(block, receipt) for receipt in block.receipts] if block else None

    def _find_block(self, tag: Any) -> Block | None:
        # A number, a name, or an object with blockNumber or blockHash (EIP-1898).
        if isinstance(tag, Mapping):
            if "blockHash" in tag:
                return self.chain.by_hash.get(read_data(tag["blockHash"], "blockHash", 32))
            tag = tag.get("blockNumber")
        head = self.head()
        if tag in (None, "latest", "pending"):
            return head
        if tag == "earliest":
            return self.chain.blocks[0]
        if tag in CONFIRMATIONS:
            return self.chain.blocks[max(0, head.number - CONFIRMATIONS[tag])]
        if isinstance(tag, str) and len(tag) == 66:
            return self.chain.by_hash.get(read_data(tag, "block", 32))
        number = read_quantity(tag, "block")
        return self.chain.blocks[number] if 0 <= number <= head.number else None

    def _block(self, tag: Any) -> Block:
        block = self._find_block(tag)
        if block is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return block

    # --- state ------------------------------------------------------------------------------------------------

    def eth_getBalance(self, address: Any, tag: Any = "latest") -> str:
        return quantity(account(self.chain.world_at(self._block(tag)), read_address(address)).balance)

    def eth_getCode(self, address: Any, tag: Any = "latest") -> str:
        return data(account(self.chain.world_at(self._block(tag)), read_address(address)).code)

    def eth_getStorageAt(self, address: Any, slot: Any, tag: Any = "latest") -> str:
        storage = account(self.chain.world_at(self._block(tag)), read_address(address)).storage
        return data(storage.get(read_quantity(slot, "slot"), 0).to_bytes(32, "big"))

    def eth_getTransactionCount(self, address: Any, tag: Any = "latest") -> str:
        world = self.chain.world_at(self._block(tag))
        if tag == "pending":
            return quantity(self.chain.pool.next_nonce(read_address(address), self.chain.world))
        return quantity(account(world, read_address(address)).nonce)

    def eth_call(self, call: Any, tag: Any = "latest", overrides: Any = None) -> str:
        return data(self._succeeded(self._run(self.chain.call, call, tag, overrides)).output)

    def eth_estimateGas(self, call: Any, tag: Any = "latest", overrides: Any = None) -> str:
        return quantity(self._succeeded(self._run(self.chain.estimate, call, tag, overrides)).gas_used)

    def _run(self, run: Callable[..., Outcome], call: Any, tag: Any, overrides: Any) -> Outcome:
        if not isinstance(call, Mapping):
            raise RpcError(INVALID_PARAMS, "invalid argument 0: expected an object with from, to, data")
        block = self._block(tag)
        world = _overridden(self.chain.world_at(block), overrides or {})
        return run(_message(call, block, world), block, world, pending=tag == "pending")

    def _succeeded(self, outcome: Outcome) -> Outcome:
        if outcome.error == REVERTED:
            raise RpcError(EXECUTION_REVERTED, reason_of(outcome), data(outcome.output))
        if outcome.error:
            raise RpcError(SERVER_ERROR, outcome.error)
        return outcome

    # --- fees -------------------------------------------------------------------------------------------------

    def eth_maxPriorityFeePerGas(self) -> str:
        return quantity(self._usual_tip())

    def eth_gasPrice(self) -> str:
        return quantity(self._usual_tip() + self.head().header.base_fee)

    def _usual_tip(self) -> int:
        # The median of what was paid lately, as geth samples it; a quiet chain takes the usual gwei.
        tips = sorted(
            receipt.price - block.header.base_fee
            for block in self.chain.blocks[max(0, self.head().number - 19) : self.head().number + 1]
            for receipt in block.receipts
        )
        return tips[len(tips) // 2] if tips else DEFAULT_TIP

    def eth_feeHistory(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        last = self._block(newest).number
        wanted = min(read_quantity(count, "block count"), _MOST_BLOCKS_OF_HISTORY, last + 1)
        ranks = list(percentiles or [])
        if any(not 0 <= rank <= 100 for rank in ranks) or ranks != sorted(ranks):
            raise RpcError(SERVER_ERROR, "invalid reward percentile: they have to rise from 0 to 100")
        if wanted <= 0:
            return {"oldestBlock": "0x0", "baseFeePerGas": [], "gasUsedRatio": []}
        blocks = self.chain.blocks[last - wanted + 1 : last + 1]
        fees = [block.header.base_fee for block in blocks]
        after = self.chain.blocks[last + 1].header.base_fee if last < self.head().number else None
        fees.append(next_base_fee(blocks[-1].header) if after is None else after)
        page: dict[str, Any] = {
            "oldestBlock": quantity(blocks[0].number),
            "baseFeePerGas": [quantity(fee) for fee in fees],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if ranks:
            page["reward"] = [[quantity(tip) for tip in _tips_at(block, ranks)] for block in blocks]
        return page

    # --- transactions -----------------------------------------------------------------------------------------

    def eth_accounts(self) -> list[str]:
        return self.dev.addresses

    def eth_sendRawTransaction(self, raw: Any) -> str:
        transaction = decode(read_data(raw, "transaction"))
        self.chain.submit(transaction)
        if self.chain.faults.take("receipts_dropped_next"):
            self._hidden_receipts.add(transaction.hash)
        return data(transaction.hash)

    def eth_sendTransaction(self, call: Any) -> str:
        """Sign with a funded key of the chain and send; for set-up and tests."""
        sender = read_address(call.get("from"), "from")
        if sender not in self.dev.addresses:
            raise RpcError(SERVER_ERROR, f"unknown account {sender}; eth_accounts lists those whose key is here")
        tip = read_quantity(call.get("maxPriorityFeePerGas") or DEFAULT_TIP, "maxPriorityFeePerGas")
        cap = call.get("maxFeePerGas") or 2 * self.chain.head.header.base_fee + tip
        nonce = call.get("nonce")
        raw = sign(
            self.dev.key(sender),
            chain_id=self.chain.chain_id,
            nonce=read_quantity(self.eth_getTransactionCount(sender, "pending") if nonce is None else nonce, "nonce"),
            max_priority_fee=tip,
            max_fee=read_quantity(cap, "maxFeePerGas"),
            gas=read_quantity(call.get("gas") or hex(int(self.eth_estimateGas(call), 16) * 5 // 4), "gas"),
            to=read_address(call["to"], "to") if call.get("to") else None,
            value=read_quantity(call.get("value") or 0, "value"),
            data=read_data(call.get("data") or call.get("input") or "0x", "data"),
        )
        return self.eth_sendRawTransaction(data(raw))

    def eth_getTransactionByHash(self, transaction_hash: Any) -> dict[str, Any] | None:
        wanted = read_data(transaction_hash, "transaction hash", 32)
        found = self.chain.find(wanted)
        if found is not None and found[0].number <= self.head().number:
            return transaction_page(found[1].transaction, *found)
        waiting = found[1].transaction if found else self.chain.pool.by_hash.get(wanted)
        return transaction_page(waiting, None, None) if waiting else None

    def eth_getTransactionReceipt(self, transaction_hash: Any) -> dict[str, Any] | None:
        wanted = read_data(transaction_hash, "transaction hash", 32)
        found = self.chain.find(wanted)
        if found is None or wanted in self._hidden_receipts:
            return None
        block, receipt = found
        shown = block.number + self.chain.faults.receipt_delay_blocks <= self.head().number
        return receipt_page(block, receipt) if shown else None

    # --- logs -------------------------------------------------------------------------------------------------

    def eth_getLogs(self, query: Any) -> list[dict[str, Any]]:
        if not isinstance(query, Mapping):
            raise RpcError(INVALID_PARAMS, "invalid argument 0: expected a filter object")
        wanted = read_filter(query)
        if "blockHash" in query:
            block = self.chain.by_hash.get(read_data(query["blockHash"], "blockHash", 32))
            if block is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            return self._logs([block], wanted)
        head = self.head().number
        first, last = (self._number(query.get(name), head) for name in ("fromBlock", "toBlock"))
        if first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        return self._logs(self.chain.blocks[first : min(last, head) + 1], wanted)

    def _number(self, tag: Any, head: int) -> int:
        if isinstance(tag, str) and tag.startswith("0x"):
            return read_quantity(tag, "block")
        block = self._find_block(tag)
        return block.number if block else head + 1

    def _logs(self, blocks: list[Block], wanted: LogFilter) -> list[dict[str, Any]]:
        if self.chain.faults.logs_empty:
            return []
        return [log_page(log) for block in blocks for log in logs_of(block) if wanted.takes(log.entry)]


def _tips_at(block: Block, percentiles: list[float]) -> list[int]:
    # Percentiles by gas, as geth has them: the tip of the transaction in which that part of the block's gas falls.
    paid = sorted((receipt.price - block.header.base_fee, receipt.gas_used) for receipt in block.receipts)
    tips, place, gas = [], 0, paid[0][1] if paid else 0
    for rank in percentiles:
        if not paid:
            tips.append(0)
            continue
        while gas < block.header.gas_used * rank / 100 and place < len(paid) - 1:
            place += 1
            gas += paid[place][1]
        tips.append(paid[place][0])
    return tips


def _message(call: Mapping[str, Any], block: Block, world: World) -> Message:
    sender = read_address(call.get("from") or _ZERO, "from")
    value = read_quantity(call.get("value") or 0, "value")
    price = read_quantity(call.get("maxFeePerGas") or call.get("gasPrice") or 0, "gasPrice")
    gas = min(read_quantity(call.get("gas") or block.header.gas_limit, "gas"), block.header.gas_limit)
    if price:
        funds = account(world, sender).balance - value
        if price < block.header.base_fee:
            raise RpcError(
                SERVER_ERROR,
                f"err: max fee per gas less than block base fee: address {sender}, "
                f"maxFeePerGas: {price}, baseFee: {block.header.base_fee} (supplied gas {gas})",
            )
        if funds < gas * price and call.get("gas"):
            raise RpcError(
                SERVER_ERROR,
                f"err: insufficient funds for gas * price + value: address {sender} have {funds + value} "
                f"want {gas * price + value} (supplied gas {gas})",
            )
        gas = min(gas, max(funds, 0) // price)
    to = read_address(call["to"], "to") if call.get("to") else None
    code = read_data(call.get("data") or call.get("input") or "0x", "data")
    return Message(sender, to, code, value, gas, price)


def _overridden(world: World, overrides: Mapping[str, Any]) -> World:
    for name, changes in overrides.items():
        address = read_address(name)
        fields: dict[str, Any] = {}
        if "balance" in changes:
            fields["balance"] = read_quantity(changes["balance"], "balance")
        if "nonce" in changes:
            fields["nonce"] = read_quantity(changes["nonce"], "nonce")
        if "code" in changes:
            fields["code"] = read_data(changes["code"], "code")
        words = changes.get("state", changes.get("stateDiff"))
        if words is not None:
            kept = EMPTY_STORAGE if "state" in changes else account(world, address).storage
            given = {read_quantity(slot, "slot"): read_quantity(word, "word") for slot, word in words.items()}
            fields["storage"] = {**kept, **given}
        world = with_account(world, address, **fields)
    return world
