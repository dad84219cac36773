"""`pipeline why`: the causes of a message, back to what came from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli._runs import RunName

if TYPE_CHECKING:
    from engine.run.why import Reason, Story

EARLIEST_DATE_NS = 10**17
MOST_FIELDS = 6
LONGEST_VALUE = 40
MOST_CARRIERS = 20
LONGEST_CHAIN = 6
ROLES = {"": "", "cause": "because of ", "known": "knowing ", "first": ""}


@click.command()
@click.argument("id", metavar="ID")
@click.argument("run", type=RunName(), required=False)
@click.option("--full", is_flag=True, help="Tell of every message on the way what its node knew besides.")
@click.option("--json", "as_json", is_flag=True, help="Print the tree as JSON, with every field.")
def command(id: str, run: str | None, full: bool, as_json: bool) -> None:
    """Tell why a message was sent, from the recording of RUN, which may still be running.

    ID names a message, node.port#number (with @start after a restart of its process), or is an id that messages carry
    (see `Message.identity`). Shown are its cause, the cause of that, and so on through all processes; what the node
    knew besides; and the first message about the same thing. Times are those of sending; "on the wire" is what passed
    until the next node had it. Without RUN it is the run that is alive here, or else the newest.

    \b
    Examples:
      pipeline why gate.approved#12 runs/asymmetric_lp
      pipeline why hedger-7
      pipeline why hedger-7 --json | jq .reason
    """
    import json
    from dataclasses import asdict

    from engine.run.lookup import Records
    from engine.run.why import why

    story = why(Records(_run(run) / "recordings"), id, full=full)
    if as_json:
        click.echo(json.dumps(asdict(story), indent=1, default=_as_text))
        return
    for line in _lines(story):
        click.echo(line)


def _run(name: str | None) -> Path:
    from engine.cli._runs import RUNS, find_run, is_run, running_here
    from engine.errors import UsageError

    if name is not None or running_here():
        return find_run(name)
    ended = [folder for folder in RUNS.glob("*") if is_run(folder) and (folder / "recordings").is_dir()]
    if not ended:
        raise UsageError(f"no recorded run in {RUNS.resolve()}; name its folder")
    return max(ended, key=lambda folder: (folder / "recordings").stat().st_mtime_ns)


def _lines(story: Story) -> list[str]:
    lines = list(_tree(story.reason, "", ""))
    if story.carriers:
        shown = story.carriers[:MOST_CARRIERS]
        lines += ["", f"{len(story.carriers):,} messages carry {story.asked}:"]
        first_ns = shown[0].time_ns
        width = max(len(each.id) for each in shown)
        lines += [
            f"  {each.id:{width}}  {each.type}  {_span(each.time_ns - first_ns)} after the first{_placed(each)}"
            for each in shown
        ]
        if len(shown) < len(story.carriers):
            lines.append(f"  and {len(story.carriers) - len(shown):,} more; --json lists all")
    return lines


def _tree(reason: Reason, lead: str, branch: str) -> list[str]:
    lines = [f"{lead}{branch}{_line(reason)}"]
    below = lead + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    for index, child in enumerate(reason.reasons):
        is_last = index == len(reason.reasons) - 1
        if child.role == "known":
            lines.append(f"{below}{'└─ ' if is_last else '├─ '}{_line(child)}{_chain(child)}")
        else:
            lines += _tree(child, below, "└─ " if is_last else "├─ ")
    return lines


def _line(reason: Reason) -> str:
    label = f"{reason.about}, first in " if reason.about else ROLES[reason.role]
    when = _time(reason.time_ns) if not reason.role else f"{_span(reason.before_ns)} before"
    if reason.wire_ns:
        when += f" ({_span(reason.wire_ns)} on the wire)"
    through = f", through {' and '.join(f'{name}()' for name in reversed(reason.through))}" if reason.through else ""
    note = f" [{reason.note}]" if reason.note and reason.role != "known" else ""
    fields = _fields(reason)
    return f"{label}{reason.id} {reason.type}, {when}{through}{_placed(reason)}{': ' if fields else ''}{fields}{note}"


def _chain(reason: Reason) -> str:
    """Return what led to a message that was known, in one line."""
    text = ""
    for _ in range(LONGEST_CHAIN):
        if not reason.reasons:
            break
        reason = next((child for child in reason.reasons if child.role == "cause"), reason.reasons[0])
        text += f" ← {reason.id}"
    else:
        return f"{text} ← …"
    return f"{text} [{reason.note}]" if reason.note else text


def _placed(reason: Reason) -> str:
    return f", in {reason.process}" if reason.process else ""


def _fields(reason: Reason) -> str:
    """Return the fields that tell most: ids first, then what is short; times are told already."""
    told = {name: value for name, value in reason.fields.items() if not name.endswith("_ns") and _tells(value)}
    ids = [name for name in told if name.endswith("_id")]
    names = [*ids, *(name for name in told if name not in ids)][:MOST_FIELDS]
    return " ".join(f"{name}={_value(told[name])}" for name in names)


def _tells(value: Any) -> bool:
    return value not in ("", None, b"", []) and not isinstance(value, list | dict | bytes)


def _value(value: Any) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _time(ns: int) -> str:
    if ns < EARLIEST_DATE_NS:
        return f"{ns / 1e9:g} s"
    whole, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}"


def _span(ns: int) -> str:
    """Return a length of time in the unit that suits it."""
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if abs(ns) >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"
