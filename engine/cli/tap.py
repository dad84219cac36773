"""`pipeline tap`: watch what leaves outputs of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli._common import needed
from engine.cli._runs import PortName, run_option

if TYPE_CHECKING:
    from engine.process.control import Client

POLL_MS = 500
LONGEST_VALUE = 60


@click.command()
@click.argument("ports", metavar="NODE.PORT...", type=PortName(), nargs=-1, required=True)
@run_option
@click.option("--once", is_flag=True, help="End after the first message.")
@click.option(
    "--per-s",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Show at most so many messages in a second, of all ports together in each process; 0 shows all.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End when nothing comes for so long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each message as one line of JSON.")
def command(
    ports: tuple[str, ...], run: str | None, once: bool, per_s: float, timeout_s: float | None, as_json: bool
) -> int:
    """Show messages as they leave outputs of a run, each with its id and its cause, from which `pipeline why` goes on.

    NODE.PORT may be a pattern with `*` and `?`, in quotes; an input stands for what is wired to it. A tap can be set
    at any time and on any output. The run does not wait for it: what the tap cannot take is dropped and counted. Fields
    are as in `pipeline nodes show`, bytes are base64; long ones are cut, except with --json. Exit code 1 when nothing
    came.

    \b
    Examples:
      pipeline tap gate.approved
      pipeline tap 'binance.*' --per-s 5
      pipeline tap net.exposure --once --json | jq .message
    """
    needed("zmq")
    from engine.cli._runs import find_run
    from engine.process.control import Client
    from engine.process.places import find_sockets

    folder = find_run(run)
    seen = 0
    with Client.of(folder) as client, _inbox(find_sockets(folder)) as (socket, address):
        chosen = matching(ports, client.ask("plan"))
        tap = client.ask("tap", ports=chosen, per_s=per_s or None, to=address)
        try:
            for frame in _frames(client, socket, timeout_s):
                seen += 1
                click.echo(frame if as_json else as_text(frame))
                if once:
                    break
        finally:
            if not once and (missed := _missed(client, tap["id"])):
                click.echo(missed, err=True)
    return 0 if seen else 1


def _missed(client: Client, tap: str) -> str:
    """Return what was not shown, and why; nothing when all was, or the run is over."""
    from engine.process.control import ControlError

    try:
        processes = client.ask("status")["status"]["processes"]
    except ControlError:
        return ""
    found = [taps[tap] for each in processes.values() if tap in (taps := each.get("taps") or {})]
    left_out, dropped = (sum(counts[word] for counts in found) for word in ("left_out", "dropped"))
    return f"not shown: {left_out:,} beyond --per-s, {dropped:,} dropped" if left_out or dropped else ""


def matching(patterns: Iterable[str], plan: dict[str, Any]) -> list[str]:
    """Return the outputs that the patterns match; an input stands for the outputs that are wired to it.

    Raises UsageError for a pattern that matches nothing.
    """
    from fnmatch import fnmatchcase

    from engine.cli._runs import checked_names, outputs
    from engine.errors import UsageError

    known = outputs(plan)
    readers: dict[str, list[str]] = {}
    for wire in plan["wires"]:
        source, _, target = wire["wire"].partition(" -> ")
        readers.setdefault(target, []).append(source)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [port for port in known if fnmatchcase(port, pattern)]
        found = found or [source for source in readers.get(pattern, []) if source in known]
        if not found and any(sign in pattern for sign in "*?["):
            raise UsageError(f"no output of this run matches {pattern!r}; `pipeline tap '*'` would show them all")
        chosen.update(dict.fromkeys(found or checked_names([pattern], known, "output")))
    return list(chosen)


@contextmanager
def _inbox(sockets: Path) -> Iterator[tuple[Any, str]]:
    """Give a socket that messages can be pushed to, and its address, in the run's own folder of sockets."""
    import os

    import zmq

    path = sockets / f"tap-{os.getpid()}.sock"
    try:
        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.linger = 0
            socket.bind(f"ipc://{path}")
            yield socket, f"ipc://{path}"
    finally:
        path.unlink(missing_ok=True)


def _frames(client: Client, socket: Any, timeout_s: float | None) -> Iterator[bytes]:
    """Yield what the tapped outputs send, until the run ends, or nothing comes for `timeout_s`."""
    import time

    import zmq

    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(client, zmq.POLLIN)
    last_s = time.monotonic()
    while True:
        ready = dict(poller.poll(POLL_MS if timeout_s is None else min(POLL_MS, round(timeout_s * 1_000))))
        if socket in ready:
            last_s = time.monotonic()
            yield socket.recv()
        elif ready:
            click.echo("the run has ended", err=True)
            return
        elif timeout_s is not None and time.monotonic() - last_s >= timeout_s:
            click.echo(f"nothing has come for {timeout_s:g} s", err=True)
            return


def as_text(frame: bytes) -> str:
    """Return a message as one line: the time that nodes see, its id, its cause, and its fields."""
    import json
    from datetime import UTC, datetime

    shown = json.loads(frame)
    when = datetime.fromtimestamp(shown["time_ns"] / 1e9, UTC)
    fields = " ".join(f"{name}={_value(value)}" for name, value in shown["message"].items())
    cause = f" <- {shown['cause']}" if shown["cause"] else ""
    return f"{when:%H:%M:%S}.{when.microsecond // 1000:03}  {shown['id']}{cause}  {fields}"


def _value(value: Any) -> str:
    """Return a field's value; one that is too long for a line is cut, and what is cut is counted."""
    import json

    text = value if isinstance(value, str) and value.isprintable() and " " not in value else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…({len(text) - LONGEST_VALUE} more)"
