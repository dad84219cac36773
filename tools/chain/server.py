"""JSON-RPC over HTTP and websocket on one port, with subscriptions."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tools.chain.blocks import LogFilter
from tools.chain.chain import Event, NewHead, NewLogs
from tools.chain.faults import Faults
from tools.chain.rpc import Rpc
from tools.chain.wire import (
    INTERNAL,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    RpcError,
    data,
    header_page,
    log_page,
    quantity,
    read_filter,
)

PARSE_ERROR = -32700
_MOST_BYTES = 16 * 2**20
_RETRY_AFTER_S = 1
_HELPERS = ("fault_", "evm_", "anvil_")
"""Methods that faults of single requests leave alone, so that a test can always get its hands on the chain."""


class RateLimited(Exception):
    """The request is over the node's limit."""


@dataclass(slots=True, eq=False)
class _Connection:
    """One websocket: what it has subscribed to, and what is on its way to it."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    outbox: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    subscriptions: dict[str, tuple[str, LogFilter]] = field(default_factory=dict)

    def offer(self, event: Event) -> None:
        for name, (kind, wanted) in self.subscriptions.items():
            for result in _results(event, kind, wanted):
                params = {"subscription": name, "result": result}
                self.outbox.put_nowait(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))


def _results(event: Event, kind: str, wanted: LogFilter) -> list[Any]:
    if isinstance(event, NewHead):
        return [header_page(event.block)] if kind == "newHeads" else []
    if isinstance(event, NewLogs):
        return [log_page(log) for log in event.logs if wanted.takes(log.entry)] if kind == "logs" else []
    return [data(event.transaction.hash)] if kind == "newPendingTransactions" else []


class Server:
    """Serves one chain. `interval_s` makes a block so often; 0 leaves that to transactions and `evm_mine`."""

    def __init__(self, rpc: Rpc, interval_s: float = 0.0) -> None:
        self.rpc = rpc
        self._interval_s = interval_s
        self._block_maker: asyncio.Task[None] | None = None
        self._connections: set[_Connection] = set()
        self._names = itertools.count(1)
        rpc.chain.listeners.append(self._tell)

    @property
    def _faults(self) -> Faults:
        return self.rpc.chain.faults

    async def run(self, host: str, port: int, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` is called with the port once it listens (0 takes any free one)."""
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post("/{tail:.*}", self._post)
        app.router.add_get("/{tail:.*}", self._websocket)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            assert site._server is not None
            ready(runner.addresses[0][1])
            self.make_blocks_every(self._interval_s)
            await asyncio.Event().wait()
        finally:
            self.make_blocks_every(0.0)
            await self.drop_websockets()
            await runner.cleanup()

    def make_blocks_every(self, interval_s: float) -> None:
        """Make a block so often from now on; 0 makes none."""
        if self._block_maker is not None:
            self._block_maker.cancel()
        self._block_maker = asyncio.create_task(self._make_blocks(interval_s)) if interval_s else None

    async def _make_blocks(self, interval_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # Blocks that the machine was too slow for are left out, not made in a burst.
            due = max(due + interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
            self.rpc.chain.mine()

    async def drop_websockets(self) -> int:
        """Break every websocket off without a close frame; return how many there were."""
        dropped = list(self._connections)
        for connection in dropped:
            if connection.transport is not None:
                connection.transport.abort()
        return len(dropped)

    def _tell(self, event: Event) -> None:
        if self._faults.websocket_silent or (isinstance(event, NewHead | NewLogs) and self._is_stale()):
            return
        for connection in self._connections:
            connection.offer(event)

    def _is_stale(self) -> bool:
        return self.rpc.head() is not self.rpc.chain.head

    # --- requests ---------------------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.Response:
        try:
            answer = await self._answer(await request.text(), None)
        except RateLimited:
            headers = {"Retry-After": str(_RETRY_AFTER_S)}
            return web.json_response({"error": "too many requests"}, status=429, headers=headers)
        return web.Response(text=answer, content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(text="JSON-RPC: POST a request, or open a websocket here\n")
        if self._faults.take("websockets_refused_next"):
            return web.Response(status=503, text="no more connections\n")
        socket = web.WebSocketResponse(max_msg_size=_MOST_BYTES)
        await socket.prepare(request)
        connection = _Connection(socket, request.transport)
        self._connections.add(connection)
        tasks = {asyncio.create_task(self._send(connection))}
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    reply = asyncio.create_task(self._reply(connection, message.data))
                    tasks.add(reply)
                    reply.add_done_callback(tasks.discard)
        finally:
            self._connections.discard(connection)
            # Among them may be requests that a fault leaves without an answer for ever.
            for task in tasks:
                task.cancel()
        return socket

    async def _reply(self, connection: _Connection, text: str | bytes) -> None:
        try:
            answer = await self._answer(text, connection)
        except RateLimited:
            answer = json.dumps(_error_page(None, RpcError(LIMIT_EXCEEDED, "limit exceeded")))
        if answer:
            connection.outbox.put_nowait(answer)

    async def _send(self, connection: _Connection) -> None:
        while True:
            text = await connection.outbox.get()
            try:
                await connection.socket.send_str(text)
            except ConnectionError:
                return  # the reader's side of this connection ends too, and with it the connection

    async def _answer(self, text: str | bytes, connection: _Connection | None) -> str:
        try:
            page = json.loads(text)
        except ValueError as error:
            return json.dumps(_error_page(None, RpcError(PARSE_ERROR, f"parse error: {error}")))
        if isinstance(page, list):
            return json.dumps([await self._one(request, connection) for request in page])
        return json.dumps(await self._one(page, connection))

    async def _one(self, request: Any, connection: _Connection | None) -> dict[str, Any]:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error_page(None, RpcError(INVALID_REQUEST, "invalid request: expected an object with a method"))
        name, method, params = request.get("id"), request["method"], request.get("params") or []
        try:
            await self._misbehave(method)
            result: Any
            if method in ("eth_subscribe", "eth_unsubscribe"):
                result = self._subscribe(connection, method, params)
            elif method == "fault_dropWebsockets":
                result = await self.drop_websockets()
            elif method == "evm_setIntervalMining":
                self.make_blocks_every(_seconds(params))
                result = None
            else:
                result = self.rpc.handle(method, params)
            await self._lose_answer(method)
        except RpcError as error:
            return _error_page(name, error)
        except RateLimited:
            if connection is None:
                raise
            return _error_page(name, RpcError(LIMIT_EXCEEDED, "limit exceeded"))
        except Exception as error:  # noqa: BLE001  a client must get an answer, and a test see what went wrong
            return _error_page(name, RpcError(INTERNAL, f"internal error: {type(error).__name__}: {error}"))
        return {"jsonrpc": "2.0", "id": name, "result": result}

    async def _misbehave(self, method: str) -> None:
        if not self._may_misbehave(method):
            return
        if self._faults.take("rate_limited_next"):
            raise RateLimited
        if self._faults.take("timeout_next"):
            await asyncio.Event().wait()
        if self._faults.delay_s:
            await asyncio.sleep(self._faults.delay_s)

    async def _lose_answer(self, method: str) -> None:
        if self._may_misbehave(method) and self._faults.take("answers_lost_next"):
            await asyncio.Event().wait()

    def _may_misbehave(self, method: str) -> bool:
        return not method.startswith(_HELPERS) and self._faults.concerns(method)

    def _subscribe(self, connection: _Connection | None, method: str, params: Any) -> str | bool:
        if connection is None:
            raise RpcError(INVALID_REQUEST, "notifications not supported: open a websocket")
        if method == "eth_unsubscribe":
            return connection.subscriptions.pop(str(params[0]) if params else "", None) is not None
        kind = params[0] if params else None
        if kind not in ("newHeads", "logs", "newPendingTransactions"):
            raise RpcError(INVALID_PARAMS, f"no {kind!r} subscription in eth namespace")
        wanted = read_filter(params[1]) if kind == "logs" and len(params) > 1 else LogFilter()
        name = quantity(next(self._names))
        connection.subscriptions[name] = (kind, wanted)
        return name


def _seconds(params: Any) -> float:
    if len(params) != 1 or not isinstance(params[0], int | float) or params[0] < 0:
        raise RpcError(INVALID_PARAMS, "evm_setIntervalMining takes one number of seconds, 0 or more")
    return float(params[0])


def _error_page(name: Any, error: RpcError) -> dict[str, Any]:
    page: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        page["data"] = error.data
    return {"jsonrpc": "2.0", "id": name, "error": page}
