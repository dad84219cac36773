"""What the commands that act on a run share: which run is meant, its supervisor, and completion of its names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from engine.process.control import Client

F = TypeVar("F", bound=Callable[..., Any])
RUNS = Path("runs")
COMPLETION_S = 0.5


# --- which run --------------------------------------------------------------------------------------------------------


def running_here() -> list[Path]:
    """Return the folders below ./runs in which a run is alive. Those of other checkouts are never among them."""
    from engine.process.places import is_locked

    return [folder for folder in sorted(_folders(RUNS)) if is_locked(folder)]


def _folders(parent: Path) -> list[Path]:
    return [item for item in parent.iterdir() if item.is_dir()] if parent.is_dir() else []


def find_run(name: str | None, *, or_last: bool = False) -> Path:
    """Return the folder of the run that is meant: a folder, a name below ./runs, or without one the only one alive.

    With `or_last`, when none is alive, the one that was alive last. Raises UsageError, with what there is to choose
    from.
    """
    from engine.errors import UsageError
    from engine.process.places import LOCK, NotRunning
    from engine.topology.report import listed, near

    if name is None:
        alive = running_here()
        if len(alive) == 1:
            return alive[0]
        if alive:
            raise UsageError(f"{len(alive)} runs are alive here: {listed(run.name for run in alive)}; name one of them")
        if or_last and (ended := [folder for folder in _folders(RUNS) if (folder / LOCK).exists()]):
            return max(ended, key=lambda folder: (folder / LOCK).stat().st_mtime)
        raise NotRunning(f"no run is alive in {RUNS.resolve()}; `pipeline up FILE` starts one, `pipeline ps` lists all")
    for folder in (RUNS / name, Path(name)):
        if is_run(folder):
            return folder
    known = [folder.name for folder in _folders(RUNS) if is_run(folder)]
    meant = near(name, known)
    hint = f"did you mean {meant!r}?" if meant else f"runs here: {listed(sorted(known))}"
    raise UsageError(f"no run {name!r}: neither a folder of a run nor a name in {RUNS.resolve()}; {hint}")


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run, alive or ended."""
    from engine.process.places import LOCK
    from engine.run.folder import MARK

    return (folder / MARK).is_file() or (folder / LOCK).is_file()


def connect(name: str | None, timeout_s: float = 5.0) -> Client:
    """Return a connection to the supervisor of the run that is meant; raise UsageError where there is none."""
    from engine.process.control import Client

    return Client.of(find_run(name), timeout_s)


# --- arguments and options --------------------------------------------------------------------------------------------


class RunName(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A run: its folder, or its name below ./runs; completes those that are alive."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [run.name for run in running_here() if run.name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="dir")]


class _OfRun(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A name that the run's supervisor knows."""

    def names(self, plan: dict[str, Any]) -> list[str]:
        raise NotImplementedError

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from engine.errors import PipelineError

        try:
            with connect(ctx.params.get("run"), COMPLETION_S) as client:
                names = self.names(client.ask("plan"))
        except PipelineError:
            return []  # a shell that completes has nowhere to tell that nothing runs
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class ProcessName(_OfRun):
    """A process of the run; completes from its supervisor."""

    name = "process"

    def names(self, plan: dict[str, Any]) -> list[str]:
        return sorted(plan["processes"])


class LogName(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A process of a run, alive or ended; completes from the files of its logs."""

    name = "process"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from engine.errors import PipelineError
        from engine.process.log_reader import logged_processes

        try:
            names = logged_processes(find_run(ctx.params.get("run"), or_last=True))
        except PipelineError:
            return []  # a shell that completes has nowhere to tell that there is no run
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class PortName(_OfRun):
    """An output of a node of the run; completes from its supervisor."""

    name = "node.port"

    def names(self, plan: dict[str, Any]) -> list[str]:
        return outputs(plan)


def run_argument(function: F) -> F:
    """Add the argument RUN."""
    return click.argument("run", type=RunName(), required=False)(function)


def run_option(function: F) -> F:
    """Add `--run`."""
    return click.option(
        "--run", "run", type=RunName(), help="Run folder, or its name below ./runs; else the only one that is alive."
    )(function)


# --- what several commands do -----------------------------------------------------------------------------------------


def outputs(plan: dict[str, Any]) -> list[str]:
    """Return every output of a run as NODE.PORT."""
    return sorted(f"{id}.{port}" for id, node in plan["nodes"].items() for port in node["outputs"])


def checked_names(names: Sequence[str], known: Iterable[str], what: str) -> Sequence[str]:
    """Return the names; raise UsageError for one that is not known, with what it may have been meant for."""
    from engine.errors import UsageError
    from engine.topology.report import suggestion

    choice = sorted(known)
    for name in names:
        if name not in choice:
            raise UsageError(f"no {what} {name!r} in this run; {suggestion(name, choice, what='there are')}")
    return names


def tell_all(run: str | None, question: str, done: str, as_json: bool, **fields: Any) -> int:
    """Ask for something that every process has to confirm; print who has, and return the exit code."""
    import json

    with connect(run, timeout_s=10.0) as client:
        answer = client.ask(question, **fields)
    confirmed, silent = answer["confirmed"], answer["silent"]
    if as_json:
        click.echo(json.dumps({**fields, "confirmed": confirmed, "silent": silent}))
    else:
        if confirmed:
            click.echo(f"{done}: {', '.join(confirmed)}")
        for process in silent:
            click.echo(f"no answer from {process}; it is told as soon as it listens", err=True)
    return 1 if silent else 0
