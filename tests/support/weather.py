"""A small graph that has nothing to do with markets: a weather station. Used by the tests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from engine import NS_PER_S, In, Message, Node, Out, param, state
from engine.errors import Place
from engine.topology.model import Origin, Policy, Topology
from engine.topology.plan import Plan, PlannedNode, PlannedWire

HERE = Origin(Place("weather.yaml", 1, 1))


class Reading(Message):
    """A temperature."""

    celsius: float
    event_time_ns: int


class Alarm(Message):
    """A call for attention."""

    delivery = "reliable"

    text: str
    event_time_ns: int
    level: int = 1


class Thermometer(Node):
    """Replays a list of temperatures, one each `step_s`."""

    reading = Out(Reading, doc="One per step.")

    values: list[float] = param(doc="Temperatures.", unit="°C")
    step_s: float = param(1.0, unit="s", exclusiveMinimum=0, doc="Time between two readings.")
    first_s: float = param(0.0, unit="s", doc="Time of the first reading.")

    def history(self) -> Iterator[tuple[int, Message]]:
        for index, value in enumerate(self.values):
            now_ns = round((self.first_s + index * self.step_s) * NS_PER_S)
            yield now_ns, Reading(value, now_ns)

    def history_end_ns(self) -> int:
        return round((self.first_s + (len(self.values) - 1) * self.step_s) * NS_PER_S)


class Smoother(Node):
    """Exponential mean of the readings, with a little noise of its own."""

    reading = In(Reading, doc="What to smooth.")
    smooth = Out(Reading, doc="The mean.")

    weight: float = param(0.5, unit="1", minimum=0, maximum=1, doc="Weight of the newest reading.")
    mean: float | None = state(None, doc="The mean so far.")

    def on_reading(self, reading: Reading) -> None:
        old = reading.celsius if self.mean is None else self.mean
        self.mean = old + self.weight * (reading.celsius - old)
        self.smooth(celsius=self.mean + self.random.random() * 1e-3, event_time_ns=reading.event_time_ns)


class Siren(Node):
    """Raises an alarm above a limit, a second late, and a reminder each minute."""

    stale_actions: ClassVar = {"warn": "raise an alarm of level 2"}

    reading = In(Reading, doc="What to watch.", critical=True)
    alarm = Out(Alarm, doc="Alarms and reminders.")

    limit: float = param(30.0, unit="°C", doc="Alarm above this.")
    raised: int = state(0, doc="Alarms so far.")

    def start(self) -> None:
        self.every(60.0, self.remind)

    def on_reading(self, reading: Reading) -> None:
        if reading.celsius > self.limit:
            self.after(1.0, self.sound, reading.celsius)

    def sound(self, celsius: float) -> None:
        self.raised += 1
        self.alarm(text=f"{celsius:.3f}", event_time_ns=self.now_ns)

    def remind(self) -> None:
        self.alarm(text=f"{self.raised} so far", event_time_ns=self.now_ns, level=0)

    def input_stale(self, name: str, action: str) -> None:
        self.alarm(text=f"{name} is silent: {action}", event_time_ns=self.now_ns, level=2)

    def input_recovered(self, name: str) -> None:
        self.alarm(text=f"{name} is back", event_time_ns=self.now_ns, level=0)


class Diary(Node):
    """Keeps what it hears in memory, with the time."""

    alarm = In(Alarm, doc="Alarms.", many=True)
    reading = In(Reading, doc="Readings.", optional=True)

    def start(self) -> None:
        self.lines: list[str] = []

    def on_alarm(self, alarm: Alarm) -> None:
        self.lines.append(f"{self.clock.now_s:g} {alarm.text}")

    def on_reading(self, reading: Reading) -> None:
        self.lines.append(f"{self.clock.now_s:g} {reading.celsius:.3f}")

    def input_closed(self, name: str) -> None:
        self.lines.append(f"{self.clock.now_s:g} {name} closed")

    def stop(self) -> None:
        self.lines.append(f"{self.clock.now_s:g} stop")


def plan_of(nodes: list[PlannedNode], wires: list[PlannedWire]) -> Plan:
    """Return a plan made by hand."""
    topology = Topology("weather", "", HERE, {}, {}, (), {}, {}, ())
    return Plan("weather", topology, tuple(nodes), tuple(wires))


def node(id: str, cls: type[Node], **params: object) -> PlannedNode:
    """Return a planned node with defaults filled in."""
    values = {name: params.get(name, spec.default) for name, spec in cls.spec.params.items()}
    return PlannedNode(id, id, cls, values)


def wire(source: str, target: str, policy: Policy | None = None) -> PlannedWire:
    """Return a planned wire between `node.port` and `node.port`."""
    from_node, from_port = source.split(".")
    to_node, to_port = target.split(".")
    return PlannedWire((from_node, from_port), (to_node, to_port), policy or Policy("block"), feedback=False)
