"""Why a message was sent: its causes, back through all processes to what came from outside.

The cause of a message is what its node was handling when it sent it. Beside the cause stands what else the node knew:
the newest message on each of its other inputs. And where a message is about something that has an id (a field that
ends in `_id`), the message that first carried this id is a reason too: an answer follows from what the node was
handling, and from the question. A short story tells the latter two of what was asked for and of the first to carry its
ids only; a full one of every message on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UsageError
from engine.run.lookup import At, Records

ID = re.compile(r"(?P<writer>[^#\s]+\.[^#.\s]*)#(?P<number>\d+)(?:@(?P<epoch>\d+))?")
MOST_STEPS = 200
MOST_IDS = 6


@dataclass(slots=True)
class Reason:
    """A message, and the reasons for it.

    `role` is why it stands below another one: `cause`, `known` or `first` (the first to carry the same id, `about`).
    `through` are the node's own calls between the cause and the message: timers. `before_ns` is how long before the
    message above it was sent, `wire_ns` how much of that passed until the node had it. `note` tells why the tree ends.
    """

    id: str
    type: str
    process: str
    start: int
    time_ns: int
    fields: dict[str, Any]
    role: str = ""
    about: str = ""
    through: list[str] = field(default_factory=list)
    before_ns: int = 0
    wire_ns: int = 0
    note: str = ""
    reasons: list[Reason] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """The answer: the reasons for one message, and all messages that carry the id that was asked for."""

    asked: str
    reason: Reason
    carriers: list[Reason]


def why(records: Records, asked: str, *, full: bool = False) -> Story:
    """Return why a message was sent: `node.port#sequence[@start]`, or any id that a message carries.

    Of several messages with an id it is the first whose identity it is, or else the first. Raises UsageError when the
    recording has no such message.
    """
    if match := ID.fullmatch(asked):
        epoch = int(match["epoch"]) if match["epoch"] else None
        at = _by_id(records, match["writer"], int(match["number"]), epoch)
        return Story(asked, _Teller(records, full).tell(at), [])
    carriers = records.carrying(asked)
    if not carriers:
        raise UsageError(
            f"no message in {records.rows:,} rows has the value {asked!r}; an id is the whole text of a field, or "
            "names a message: node.port#number"
        )
    own = [at for at in carriers if asked in _identity(records, at).values()]
    teller = _Teller(records, full)
    return Story(asked, teller.tell((own or carriers)[0]), [teller.plain(at) for at in carriers])


def _by_id(records: Records, writer: str, number: int, epoch: int | None) -> At:
    find = records.call if writer.endswith(".") else records.sent
    if (found := find(writer, number, epoch)) is not None:
        return found
    from engine.topology.report import near

    ports = sorted(records.facts)
    if writer.endswith(".") or writer in records.facts:
        raise UsageError(f"{writer}#{number} is not in the recording; it may not have been sent, or not been recorded")
    meant = near(writer, ports)
    hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(ports)}"
    raise UsageError(f"no output {writer!r} in the recording; {hint}")


def _identity(records: Records, at: At) -> dict[str, Any]:
    facts, fields = records.fields(at)
    return {name: fields[name] for name in facts.identity if name in fields}


class _Teller:
    """Follow reasons; each message is told once."""

    def __init__(self, records: Records, full: bool) -> None:
        self.records = records
        self.full = full
        self.told: set[At] = set()
        self.ids: dict[tuple[str, str], At | None] = {}

    def tell(self, at: At) -> Reason:
        """Return a message with all its reasons."""
        reason = self.plain(at)
        if self.records.word(at, "kind") == "call":
            self.told.add(at)
            self._follow(reason, at, spread=True)
        else:
            self._expand(reason, at, spread=True)
        return reason

    def plain(self, at: At) -> Reason:
        """Return a message without its reasons."""
        records = self.records
        part = records.parts[at.part].segment
        common = (part.process, part.epoch or 1, records.value(at, "time_ns"))
        name = f"{records.word(at, 'writer')}#{records.value(at, 'number')}"
        if (epoch := records.value(at, "epoch")) > 1:
            name += f"@{epoch}"
        if records.word(at, "kind") == "call":
            return Reason(name, f"{records.word(at, 'name')}()", *common, {})
        facts, fields = records.fields(at)
        return Reason(name, facts.type, *common, fields)

    def _expand(self, reason: Reason, at: At, *, spread: bool) -> None:
        """Add the reasons of a sent message; with `spread` also what its node knew, and what its ids are about."""
        if at in self.told or len(self.told) >= MOST_STEPS:
            reason.note = "see above" if at in self.told else "and so on"
            return
        self.told.add(at)
        writer = self.records.word(at, "cause")
        if not writer:
            reason.note = "from outside"
            return
        origin = self.records.handled(at, writer, self.records.value(at, "cause_number"))
        if origin is None:
            reason.note = f"the recording does not hold its cause, {writer}#{self.records.value(at, 'cause_number')}"
            return
        self._follow(reason, origin, spread=spread)

    def _follow(self, reason: Reason, origin: At, *, spread: bool) -> None:
        """Add the message that led to `origin`, an event of the node, through the node's own calls; then the rest."""
        records = self.records
        event: At | None = origin
        through: list[str] = []
        while event is not None and records.word(event, "kind") == "call":
            through.append(records.word(event, "name"))
            writer = records.word(event, "cause")
            event = records.handled(event, writer, records.value(event, "cause_number")) if writer else None
        if event is not None:
            self._add(reason, event, "cause", spread=self.full).through = through
        elif through:
            reason.through = through
        if spread and (self.full or reason.role != "first"):
            self._add_first_carriers(reason)
        if spread or event is None:
            got = (records.word(origin, "name"), records.word(origin, "writer"))
            for key, known in sorted(records.known(origin).items()):
                if key != got and known != event and self._sent(known) not in self.told:
                    self._add(reason, known, "known", spread=False)

    def _add(self, reason: Reason, got: At, role: str, *, spread: bool) -> Reason:
        """Add the message of a row in which a node got it."""
        records = self.records
        sent = self._sent(got)
        child = self.plain(got if sent is None else sent)
        child.role = role
        child.before_ns = reason.time_ns - child.time_ns
        child.wire_ns = records.value(got, "time_ns") - child.time_ns
        if sent is None:
            child.note = "its sending is not recorded"
        else:
            self._expand(child, sent, spread=spread)
        reason.reasons.append(child)
        return child

    def _sent(self, got: At) -> At | None:
        """Return the row in which the message of a row was sent."""
        records = self.records
        return records.sent(records.word(got, "writer"), records.value(got, "number"), records.value(got, "epoch"))

    def _add_first_carriers(self, reason: Reason) -> None:
        for name, value in reason.fields.items():
            if not name.endswith("_id") or not isinstance(value, str) or not value:
                continue
            if (name, value) not in self.ids:
                if len(self.ids) >= MOST_IDS:
                    continue
                self.ids[name, value] = next(iter(self.records.carrying(value, name)), None)
            first = self.ids[name, value]
            if first is None or first in self.told:
                continue
            child = self.plain(first)
            child.role, child.about = "first", f"{name} {value}"
            child.before_ns = reason.time_ns - child.time_ns
            self._expand(child, first, spread=True)
            reason.reasons.append(child)
