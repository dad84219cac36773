"""The supervisor's page for machines: metrics, health, readiness and status over HTTP on the loopback interface.

Only reading is possible here. What acts on a run goes through its control socket, which knows who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from engine.errors import UsageError
from engine.process.metrics import StatusCollector, not_ready

if TYPE_CHECKING:
    from engine.process.view import Status
    from engine.spec import MetricSpec

HOST = "127.0.0.1"


class Web:
    """An HTTP server in the running loop: `/metrics`, `/health`, `/ready` and `/status`."""

    def __init__(self, status: Callable[[], Status], gauges: Mapping[str, Mapping[str, MetricSpec]]) -> None:
        self._status = status
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(StatusCollector(status, gauges))
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1, for 0 on any free port; return the address. Raises UsageError where it is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/status", self._show_status),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise UsageError(
                f"metrics cannot be shown on {HOST}:{port}: {error.strerror or error}; "
                "choose another --metrics-port, or 0 for a free one"
            ) from error
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening. May be called twice, and without `start`."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, request: web.Request) -> web.Response:
        # That this is answered says that the supervisor's loop turns.
        return _json({"health": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        status = self._status()
        waiting = not_ready(status)
        halted = status["run"].get("halted")
        body = {"ready": not waiting, "waiting": waiting, "halted": halted}
        return _json(body, 503 if waiting else 200)

    async def _show_status(self, request: web.Request) -> web.Response:
        return _json(self._status())


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
