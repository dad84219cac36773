"""The run's pages for machines, as `pipeline up` serves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.cli._watch import Watch
    from engine.process.run import Run

METRICS_FILE = "metrics.url"


class Metrics:
    """The pages for machines, served in the supervisor's loop from the first status on."""

    def __init__(self, run: Run, port: int, watch: Watch, note: Callable[[str], None]) -> None:
        self.run = run
        self.port = port
        self.watch = watch
        self.note = note
        self._task: Any = None

    def start(self) -> None:
        """Begin to serve, once every process does its work. Called in the loop; a second call does nothing."""
        import asyncio

        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        import asyncio
        import importlib

        from engine.cli._watch import is_ready
        from engine.errors import UsageError

        while self.watch.last is None or not is_ready(self.watch.last):
            await asyncio.sleep(0.1)  # until then the processes need the machine
        try:
            # In a thread: it takes a second on a busy machine, in which the supervisor would hear nobody.
            await asyncio.to_thread(importlib.import_module, "engine.process.web")
            from engine.process.web import Web
        except ModuleNotFoundError as error:
            self.note(f"no metrics: {error.name} is missing; install it with `pip install 'asymmetric-lp[run]'`")
            return
        web = Web(lambda: self.watch.last or {}, {node.id: node.cls.spec.metrics for node in self.run.plan.nodes})
        file = self.run.folder / METRICS_FILE
        try:
            address = await web.start(self.port)
            file.write_text(f"{address}/metrics\n", encoding="utf-8")
            self.note(f"metrics: {address}/metrics")
            await asyncio.Event().wait()  # until the supervisor's loop ends
        except (UsageError, OSError) as error:
            self.note(f"no metrics: {error}")
        finally:
            file.unlink(missing_ok=True)
            await web.close()
