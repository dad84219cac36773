"""`pipeline up`: run a topology in processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli._common import TopologyFile, needed, overlay_option, set_option

if TYPE_CHECKING:
    from engine.cli._watch import Watch
    from engine.process.run import Run
    from engine.process.view import Status

OURS = frozenset({"run.json", "report.txt", "topology.json", "state.json", "supervisor.lock", "metrics.url"})


@click.command()
@click.argument("file", type=TopologyFile())
@overlay_option
@set_option
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return once the run has begun.")
@click.option("--wait", is_flag=True, help="Run in the background; return once every process does its work.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Run folder; else runs/<topology>.")
@click.option("--seed", type=int, help="Seed of every node's own stream of chance; else 0.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of recorded time that pass in one; else what the topology says, or 1.",
)
@click.option("--record/--no-record", default=None, help="Record what every node receives; else as the topology says.")
@click.option("--port-offset", type=int, help="Add this to every fixed port, so that a second run finds them free.")
@click.option("--machine", metavar="NAME", help="Start only what belongs on this machine; the others do the rest.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the metrics on 127.0.0.1; else a free one.",
)
@click.option("--resume", is_flag=True, help="Go on where the last run in the folder has ended, with its state.")
@click.option("--force", is_flag=True, help="Replace whatever run the folder holds, or resume with a changed topology.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the summary, as JSON.")
def command(
    file: Path,
    overlays: tuple[Path, ...],
    sets: tuple[str, ...],
    detach: bool,
    wait: bool,
    out: Path | None,
    seed: int | None,
    speed: float | None,
    record: bool | None,
    port_offset: int | None,
    machine: str | None,
    metrics_port: int,
    resume: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Run a topology in the processes that it declares, and watch over them until it ends.

    What fails is started again as the topology says, with its state. Ctrl-c ends the run in order: sources first, then
    along the graph until all is handled and put away; a second ctrl-c ends it at once. A run whose sources come to
    their end does so by itself.

    Exit code 0 when the run has ended by itself or by `pipeline down`, 130 by ctrl-c, 1 when something has failed for
    good, 2 when nothing was started.

    \b
    Examples:
      pipeline up topologies/quickstart.yaml
      pipeline up topologies/quickstart.yaml --wait && pipeline top
      pipeline up topologies/quickstart.yaml --resume
      pipeline up base.yaml -f paper.yaml --set fee_tier=3000 --out runs/paper --port-offset 100
    """
    needed("zmq", "rich")
    from engine.process.limits import pin_threads

    pin_threads()  # before anything imports a library that makes threads
    from engine.process.prepare import Asked, prepare

    asked = Asked([file, *overlays], list(sets), out, seed, speed, record, port_offset, resume, force, machine)
    run = prepare(asked)
    if not as_json:
        for line in banner(run, resume):
            click.echo(line)
    if detach or wait:
        return _in_background(run, resume, metrics_port, wait, as_json)
    return _in_foreground(run, resume, metrics_port, as_json)


def banner(run: Run, resume: bool) -> list[str]:
    """Return what is about to run, and what in it is only simulated."""
    from engine.wire.table import WireTable

    plan = run.plan
    processes = [name for name in WireTable(plan).processes if plan.topology.processes[name].machine == run.machine]
    nodes = sum(len(plan.topology.processes[name].nodes) for name in processes)
    where = "" if run.machine is None else f" on {run.machine}"
    pace = "" if run.speed is None else f", {run.speed:g} s of recorded time in one"
    lines = [
        f"{run.id}{' goes on' if resume else ''}: {nodes} nodes in {len(processes)} processes{where}{pace}, "
        f"seed {run.seed}, in {run.folder}"
    ]
    pretending = [(node.id, node.cls.simulated) for node in plan.nodes if node.cls.simulated]
    lines += [f"simulated: {id}: {what}" for id, what in pretending]
    if not pretending:
        lines.append("simulated: nothing; what the nodes of this run do, they do for real")
    return lines


# --- in the foreground ------------------------------------------------------------------------------------------------


def _in_foreground(run: Run, resume: bool, metrics_port: int, as_json: bool) -> int:
    import os
    import sys

    from engine.cli._watch import LiveScreen, PlainScreen, Silent, Watch

    screen = Silent if as_json else LiveScreen if sys.stdout.isatty() else PlainScreen
    watch = Watch(run.folder, screen)
    try:
        code = _supervised(run, resume, watch, metrics_port, watch.note)
    finally:
        watch.close()
    try:
        _print_result(run, watch.last, code, as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody looks on any more; the exit code says how the run went all the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _supervised(run: Run, resume: bool, watch: Watch, metrics_port: int, note: Callable[[str], None]) -> int:
    """Supervise the run until its end; note in its folder how that was."""
    from engine.cli._metrics import Metrics
    from engine.errors import PipelineError
    from engine.process.prepare import ended
    from engine.process.supervisor import supervise
    from engine.process.worker import run_worker
    from engine.wire.hub import run_hubs

    metrics = Metrics(run, metrics_port, watch, note)
    has_begun = resume

    def show(status: Status) -> None:
        nonlocal has_begun
        has_begun = has_begun or status["run"]["state"] == "running"
        watch(status)
        metrics.start()

    try:
        code = supervise(run, worker=run_worker, hubs=run_hubs, resume=resume, show=show)
    except PipelineError:
        if not has_begun:
            ended(run, in_order=True)  # no node has been started: there is nothing to be kept
        raise
    ended(run, in_order=watch.last is not None and not watch.last["run"]["hurried"])
    return code


# --- in the background ------------------------------------------------------------------------------------------------


def _in_background(run: Run, resume: bool, metrics_port: int, wait: bool, as_json: bool) -> int:
    """Start the run in a child of its own session; return when it has begun, or does its work, or has failed."""
    import json

    from engine.process.detach import detach
    from engine.process.logs import FOLDER

    (run.folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    child = detach(lambda say: _background_life(run, resume, metrics_port, say), run.folder / FOLDER / "printed.txt")
    for word in child.words():
        if "error" in word:
            click.echo(f"error: {word['error']}", err=True)
        elif word["state"] == ("ready" if wait else "begun"):
            halted = word["halted"]
            if as_json:
                click.echo(json.dumps({"run": run.id, "folder": str(run.folder), "pid": child.pid, "halted": halted}))
            else:
                click.echo(f"{word['state']}: in the background, process {child.pid}; `pipeline down` ends it")
                if halted:
                    click.echo(f"halted: {halted}; until `pipeline rearm --run {run.folder}` nothing acts")
            return 0
    return child.exit_code()


def _background_life(run: Run, resume: bool, metrics_port: int, say: Callable[[dict[str, Any]], None]) -> int:
    from engine.cli import report_error
    from engine.cli._watch import Silent, Watch, is_ready

    told: set[str] = set()

    class Telling(Watch):
        def __call__(self, status: Status) -> None:
            self.last = status
            state = "ready" if is_ready(status) else "begun"
            if state not in told:
                told.add(state)
                say({"state": state, "halted": status["run"]["halted"]})

    try:
        return _supervised(run, resume, Telling(run.folder, Silent), metrics_port, click.echo)
    except Exception as error:  # noqa: BLE001  (the one place where every exception of this process ends)
        say({"error": str(error)})
        return report_error(error)


# --- the end ----------------------------------------------------------------------------------------------------------


def summary(run: Run, last: Status | None, code: int) -> dict[str, Any]:
    """Return what is to be said of a run that has ended."""
    status = last or {"run": {}, "processes": {}, "nodes": {}, "wires": {}}
    return {
        "run": run.id,
        "topology": run.plan.name,
        "out": str(run.folder),
        "exit_code": code,
        "wall_s": status["run"].get("up_s"),
        "sent": sum(node.get("sent", 0) for node in status["nodes"].values()),
        "restarts": sum(each.get("restarts", 0) for each in status["processes"].values()),
        "lost": sum(wire.get("lost", 0) for wire in status["wires"].values()),
        "halted": status["run"].get("halted"),
        "written": written(run.folder),
    }


def written(folder: Path) -> list[str]:
    """Return what the nodes have written into a run folder, and where recordings and logs are."""
    found = [path for path in sorted(folder.iterdir()) if path.name not in OURS and not path.name.startswith(".")]
    return [f"{path}/" if path.is_dir() else str(path) for path in found]


def _print_result(run: Run, last: Status | None, code: int, as_json: bool) -> None:
    import json

    from engine.process.view import span
    from engine.run.folder import PAGE

    result = summary(run, last, code)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    page = run.folder / PAGE
    if page.exists():
        click.echo(page.read_text(encoding="utf-8"))
    click.echo(
        f"{result['sent']:,} messages in {span(result['wall_s'])}, {result['restarts']} restarts, {result['lost']} lost"
    )
    for path in result["written"]:
        click.echo(f"  {path}")
