"""`pipeline logs`: what the processes of a run have to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli._runs import LogName, run_option

POLL_S = 0.2
LEVEL_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "bright_red"}


@click.command()
@click.argument("processes", metavar="[PROCESS]...", type=LogName(), nargs=-1)
@run_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what is being written, until the run ends.")
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    default="debug",
    help="Only lines of this level and above.",
)
@click.option("--since", default="", metavar="TIME", help="Only lines from then on: `10m` ago, or 2026-11-24T12:00.")
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), help="Only the last so many lines.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are in the files: JSON.")
def command(
    processes: tuple[str, ...],
    run: str | None,
    follow: bool,
    level: str,
    since: str,
    count: int | None,
    as_json: bool,
) -> None:
    """Show the logs of a run's processes, merged by time; of all, or of those that are named.

    `supervisor` is the one that starts and watches the others. Logs can also be read of a run that has ended: without
    --run, when none is alive, of the last one. Times are UTC.

    \b
    Examples:
      pipeline logs -f
      pipeline logs trader gate --level warning --since 10m
      pipeline logs --run runs/quickstart --json | jq 'select(.node == "gate")'
    """
    from collections import deque

    from engine.cli._runs import checked_names, find_run
    from engine.errors import UsageError
    from engine.process.log_reader import Follower, Wanted, logged_processes, read_logs

    folder = find_run(run, or_last=True)
    known = logged_processes(folder)
    if not known and not follow:
        raise UsageError(f"{folder} has no logs: nothing was run there by `pipeline up`")
    if known:
        checked_names(processes, known, "process with a log")
    wanted = Wanted(processes, level, moment(since))
    show = Printer(as_json)
    follower = Follower(folder, Wanted(processes, level)) if follow else None
    for line in deque(read_logs(folder, wanted), count) if count is not None else read_logs(folder, wanted):
        show(line)
    if follower is not None:
        _follow(folder, follower, show)


def _follow(folder: Path, follower: Any, show: Printer) -> None:
    import time

    from engine.process.places import is_locked

    try:
        alive = True
        while alive:
            alive = is_locked(folder)  # before the last look: what was written until the end is shown
            for line in follower.poll():
                show(line)
            if alive:
                time.sleep(POLL_S)
    finally:
        follower.close()


def moment(text: str) -> str:
    """Return a time as logs write it, from an ISO time (UTC unless it says otherwise) or how long ago it was."""
    from datetime import UTC, datetime, timedelta

    from engine import units
    from engine.errors import UsageError

    if not text:
        return ""
    try:
        when = datetime.fromisoformat(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except ValueError:
        try:
            when = datetime.now(UTC) - timedelta(seconds=units.convert(text, "s"))
        except (ValueError, OverflowError):
            raise UsageError(f"--since {text!r} is no time; write 90s, 10m, 2h, 1d or 2026-11-24T12:00") from None
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Printer:
    """Print lines of a log: the time of day, process, level, node and message; a traceback below it."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._day = ""
        self._width = 0

    def __call__(self, line: dict[str, Any]) -> None:
        import msgspec

        if self.as_json:
            click.echo(msgspec.json.encode(line).decode())
            return
        day, _, time = line["time"].partition("T")
        if day != self._day and day:
            self._day = day
            click.echo(click.style(f"-- {day} UTC", dim=True))
        self._width = max(self._width, len(line["process"]))
        level = line["level"]
        words = "" if level == "info" else click.style(f"{level}: ", fg=LEVEL_COLOURS.get(level))
        node = f"[{line['node']}] " if line.get("node") else ""
        fields = " ".join(f"{name}={value}" for name, value in line.get("fields", {}).items())
        text = f"{words}{node}{printable(str(line['message']))}" + (f"  {printable(fields)}" if fields else "")
        click.echo(f"{time[:12]:12}  {line['process']:{self._width}}  {text}")
        for part in str(line.get("error", "")).splitlines():
            click.echo(f"{'':14}{printable(part)}")


def printable(text: str) -> str:
    """Return text without characters by which it could steer the terminal."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
