"""A node in another process, met by AsyncWeb3 and by plain sockets: subscriptions, forks, faults, the end."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

pytest.importorskip("web3", reason="the extra `chain` is not installed")

from support.chain import node
from web3 import AsyncHTTPProvider, AsyncWeb3, WebSocketProvider
from web3.exceptions import TransactionNotFound, Web3RPCError
from websockets.exceptions import ConnectionClosedError

PATIENCE_S = 20


@pytest.fixture(scope="module")
def page():
    with node() as page:
        yield page


@pytest.fixture
def rpc(page):
    """Call a method; faults are off again after the test, and blocks are made on transactions."""

    def call(method: str, *params: Any, timeout: float = PATIENCE_S) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(page["http"], body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = json.loads(response.read())
        return answer["result"] if "result" in answer else answer["error"]

    yield call
    call("fault_clear")
    call("evm_setAutomine", True)


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE_S))


def transfer(rpc, page, amount: int = 1, **fields: str) -> str:
    """USDC from the first account to the second."""
    sender, receiver = list(page["accounts"])[:2]
    data = "0xa9059cbb" + "0" * 24 + receiver[2:] + f"{amount:064x}"
    call = {"from": sender, "to": page["contracts"]["usdc"], "data": data, "gas": "0x20000", **fields}
    return rpc("eth_sendTransaction", call)


async def messages(web3: AsyncWeb3, count: int) -> list[Any]:
    found = []
    async for message in web3.socket.process_subscriptions():
        found.append(message["result"])
        if len(found) == count:
            return found
    raise AssertionError("the subscriptions have ended")


def test_heads_and_logs_arrive_and_a_reorg_takes_them_back(page, rpc):
    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            usdc = web3.to_checksum_address(page["contracts"]["usdc"])
            await web3.eth.subscribe("newHeads")
            await web3.eth.subscribe("logs", {"address": usdc})
            sent = await asyncio.to_thread(transfer, rpc, page, 77)
            head, log = await messages(web3, 2)
            assert head["hash"] == log["blockHash"]
            assert log["transactionHash"].to_0x_hex() == sent
            assert log["removed"] is False
            assert int(log["data"].hex(), 16) == 77

            (new,) = await asyncio.to_thread(rpc, "fault_reorg", {"depth": 1})
            removed, new_head, again = await messages(web3, 3)
            assert (removed["removed"], removed["blockHash"], removed["logIndex"]) == (True, head["hash"], 0)
            assert (new_head["number"], new_head["parentHash"]) == (head["number"], head["parentHash"])
            assert new_head["hash"].to_0x_hex() == new == again["blockHash"].to_0x_hex()
            receipt = await web3.eth.get_transaction_receipt(sent)
            assert receipt["blockHash"] == new_head["hash"]

            await asyncio.to_thread(rpc, "fault_reorg", {"depth": 1, "transactions": "drop"})
            await messages(web3, 2)
            with pytest.raises(TransactionNotFound):
                await web3.eth.get_transaction_receipt(sent)

    run(test())


def test_pending_transactions_are_announced(page, rpc):
    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            await web3.eth.subscribe("newPendingTransactions")
            await asyncio.to_thread(rpc, "evm_setAutomine", False)
            sent = await asyncio.to_thread(transfer, rpc, page)
            (heard,) = await messages(web3, 1)
            assert heard.to_0x_hex() == sent
            sender = web3.to_checksum_address(next(iter(page["accounts"])))
            latest = await web3.eth.get_transaction_count(sender)
            assert await web3.eth.get_transaction_count(sender, "pending") == latest + 1
            await asyncio.to_thread(rpc, "evm_mine")

    run(test())


def test_a_dropped_websocket_ends_without_a_word(page, rpc):
    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            await web3.eth.subscribe("newHeads")
            assert await asyncio.to_thread(rpc, "fault_dropWebsockets") == 1
            with pytest.raises(ConnectionClosedError):
                await messages(web3, 1)

    run(test())
    rpc("fault_set", {"websockets_refused_next": 1})
    with pytest.raises(urllib.error.HTTPError, match="503"):
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        urllib.request.urlopen(urllib.request.Request(page["http"], headers=upgrade), timeout=PATIENCE_S)


def test_a_stale_head_says_nothing_and_stays(page, rpc):
    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            await web3.eth.subscribe("newHeads")
            stopped = int(rpc("eth_blockNumber"), 16)
            rpc("fault_set", {"stale_head_block": stopped})
            sent = transfer(rpc, page)
            assert (
                int(rpc("eth_blockNumber"), 16)
                == int(rpc("eth_getBlockByNumber", "latest", False)["number"], 16)
                == stopped
            )
            assert rpc("eth_getTransactionReceipt", sent) is None
            assert rpc("eth_getTransactionByHash", sent)["blockNumber"] is None
            assert rpc("eth_getBlockByNumber", hex(stopped + 1), False) is None
            rpc("fault_clear")
            rpc("evm_mine")
            (head,) = await messages(web3, 1)
            assert head["number"] == stopped + 2
            assert rpc("eth_getTransactionReceipt", sent)["blockNumber"] == hex(stopped + 1)

    run(test())


def test_receipts_come_late_or_never(page, rpc):
    rpc("fault_set", {"receipt_delay_blocks": 2})
    late = transfer(rpc, page)
    assert rpc("eth_getTransactionReceipt", late) is None
    assert rpc("eth_getTransactionByHash", late)["blockHash"] is not None
    rpc("evm_mine")
    assert rpc("eth_getTransactionReceipt", late) is None
    rpc("evm_mine")
    assert rpc("eth_getTransactionReceipt", late)["status"] == "0x1"
    rpc("fault_set", {"receipt_delay_blocks": 0, "receipts_dropped_next": 1})
    never, next_one = transfer(rpc, page), transfer(rpc, page)
    assert rpc("eth_getTransactionReceipt", never) is None
    assert rpc("eth_getTransactionReceipt", next_one)["status"] == "0x1"


def test_a_cheap_transaction_is_stuck_until_it_is_replaced(page, rpc):
    rpc("fault_set", {"stuck_below_tip_wei": 5 * 10**9})
    stuck = transfer(rpc, page, maxPriorityFeePerGas=hex(10**9), maxFeePerGas=hex(20 * 10**9))
    assert rpc("eth_getTransactionReceipt", stuck) is None
    nonce = rpc("eth_getTransactionByHash", stuck)["nonce"]
    same_cap = {"maxPriorityFeePerGas": hex(6 * 10**9), "maxFeePerGas": hex(20 * 10**9)}
    little = transfer(rpc, page, nonce=nonce, **same_cap)
    assert little["message"] == "replacement transaction underpriced"
    dear = {"maxPriorityFeePerGas": hex(6 * 10**9), "maxFeePerGas": hex(90 * 10**9)}
    replaced = transfer(rpc, page, nonce=nonce, **dear)
    assert rpc("eth_getTransactionReceipt", replaced)["status"] == "0x1"
    assert rpc("eth_getTransactionByHash", stuck) is None


def test_gas_spikes_and_falls_back_by_an_eighth(page, rpc):
    rpc("fault_set", {"base_fee_wei": 400 * 10**9})
    cheap = transfer(rpc, page)
    rpc("evm_mine")
    assert int(rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16) == 400 * 10**9
    assert int(rpc("eth_gasPrice"), 16) > 400 * 10**9
    rpc("fault_clear")
    rpc("evm_mine")
    assert int(rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16) == 350 * 10**9
    rpc("anvil_setNextBlockBaseFeePerGas", 10**9)
    rpc("evm_mine")
    assert rpc("eth_getTransactionReceipt", cheap)["status"] == "0x1"


def test_lost_transactions_wrong_chain_and_empty_logs(page, rpc):
    rpc("fault_set", {"transactions_lost_next": 1, "chain_id": 1, "logs_empty": True})
    lost = transfer(rpc, page)
    assert rpc("eth_getTransactionByHash", lost) is None
    assert (rpc("eth_chainId"), rpc("net_version")) == ("0x1", "1")
    kept = transfer(rpc, page)
    block = rpc("eth_getTransactionReceipt", kept)["blockNumber"]
    assert rpc("eth_getLogs", {"fromBlock": block, "toBlock": block}) == []
    rpc("fault_clear")
    assert rpc("eth_chainId") == "0x7a69"
    assert len(rpc("eth_getLogs", {"fromBlock": block, "toBlock": block})) == 1


def test_limits_and_timeouts_hit_the_methods_they_are_for(page, rpc):
    rpc("fault_set", {"rate_limited_next": 1, "methods": ["eth_call"]})
    assert int(rpc("eth_blockNumber"), 16) > 0
    with pytest.raises(urllib.error.HTTPError) as caught:
        rpc("eth_call", {"to": page["contracts"]["usdc"], "data": "0x18160ddd"}, "latest")
    assert (caught.value.code, caught.value.headers["Retry-After"]) == (429, "1")
    caught.value.close()
    assert int(rpc("eth_call", {"to": page["contracts"]["usdc"], "data": "0x18160ddd"}, "latest"), 16) == 10**18
    rpc("fault_set", {"timeout_next": 1, "methods": []})
    with pytest.raises(TimeoutError):
        rpc("eth_blockNumber", timeout=0.3)
    assert int(rpc("eth_blockNumber"), 16) > 0

    before = int(rpc("eth_getTransactionCount", next(iter(page["accounts"])), "latest"), 16)
    rpc("fault_set", {"answers_lost_next": 1, "methods": ["eth_sendTransaction"]})
    with pytest.raises(TimeoutError):
        transfer(lambda *call: rpc(*call, timeout=0.3), page)
    assert int(rpc("eth_getTransactionCount", next(iter(page["accounts"])), "latest"), 16) == before + 1

    rpc("fault_clear")

    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            await asyncio.to_thread(rpc, "fault_set", {"rate_limited_next": 1})
            with pytest.raises(Web3RPCError, match="limit exceeded"):
                await web3.eth.block_number

    run(test())


def test_a_fault_that_does_not_exist_changes_nothing(rpc):
    before = rpc("fault_get")
    assert "no fault 'chain'" in rpc("fault_set", {"chain_id": 5, "chain": 1})["message"]
    assert "takes a int" in rpc("fault_set", {"chain_id": "5"})["message"]
    assert rpc("fault_get") == before


def test_bad_requests_are_answered_as_json_rpc_has_it(page, rpc):
    assert rpc("eth_nothing")["code"] == -32601
    assert rpc("eth_getBalance")["code"] == -32602
    assert rpc("eth_getBalance", "0x12")["code"] == -32602
    assert rpc("eth_subscribe", "newHeads")["message"].startswith("notifications not supported")

    async def test() -> None:
        web3 = AsyncWeb3(AsyncHTTPProvider(page["http"]))
        async with web3.batch_requests() as batch:
            batch.add(web3.eth.get_block("latest"))
            batch.add(web3.eth.gas_price)
            block, price = await batch.async_execute()
        assert price > block["baseFeePerGas"]
        await web3.provider.disconnect()

    run(test())
    request = urllib.request.Request(page["http"], b"{", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        assert json.loads(response.read())["error"]["code"] == -32700


def test_blocks_come_at_an_interval(page, rpc):
    async def test() -> None:
        async with AsyncWeb3(WebSocketProvider(page["ws"])) as web3:
            await web3.eth.subscribe("newHeads")
            await asyncio.to_thread(rpc, "evm_setIntervalMining", 0.05)
            first, second, third = await messages(web3, 3)
            assert [second["number"] - first["number"], third["number"] - second["number"]] == [1, 1]
            await asyncio.to_thread(rpc, "evm_setIntervalMining", 0)
            stopped = await asyncio.to_thread(rpc, "eth_blockNumber")
            await asyncio.sleep(0.2)
            assert await asyncio.to_thread(rpc, "eth_blockNumber") == stopped

    run(test())
