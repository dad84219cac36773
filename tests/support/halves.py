"""A weather station in two processes, without the processes: two hosts, and a wire that is a function call."""

from __future__ import annotations

from pathlib import Path

from support.weather import Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine.clock import Clock, seconds_to_ns
from engine.message import Message
from engine.run.journal import Journal
from engine.run.recording import Recorder, RecordingHost
from engine.topology.plan import Plan

PLACES = {"field": ("sensor", "smoother"), "house": ("siren", "diary")}


def station(**params: object) -> Plan:
    return plan_of(
        [
            node("sensor", Thermometer, values=[]),
            node("smoother", Smoother),
            node("siren", Siren),
            node("diary", Diary),
        ],
        [
            wire("sensor.reading", "smoother.reading"),
            wire("smoother.smooth", "siren.reading"),
            wire("siren.alarm", "diary.alarm"),
        ],
    )


class Half:
    """One process: a host with its nodes, its journal and its recording. It may crash, and be started again."""

    def __init__(self, plan: Plan, run: Path, name: str, epoch: int = 1) -> None:
        self.plan, self.run, self.name, self.epoch = plan, run, name, epoch
        self.recorder = Recorder(run / "recordings" / name, epoch)
        self.host = host = RecordingHost(Clock(), self.recorder, seed=3, run_dir=str(run))
        self.journal = Journal(run / "state" / f"{name}.sqlite", sync=False)
        own = [planned for planned in plan.nodes if planned.id in PLACES[name]]
        for planned in own:
            host.add(planned.id, planned.cls, planned.params)
        for port in (*host.ports.values(), *host.called.values()):
            port.epoch = epoch
        for each in plan.wires:
            if each.target[0] in host.nodes:
                if each.source not in host.ports:
                    cls = next(planned.cls for planned in plan.nodes if planned.id == each.source[0])
                    host.add_remote(*each.source, cls.spec.outputs[each.source[1]].message)
                host.wire(each.source, each.target)
        self.restored = self.journal.restore(host)
        if self.restored is None:
            host.start()
        else:
            host.resume()

    def take(self, key: tuple[str, str], number: int, epoch: int, message: Message) -> None:
        """Get a message from the other half."""
        port = self.host.ports[key]
        port.sent, port.epoch = number - 1, epoch
        self.host.inject(port, message)

    def commit(self) -> None:
        self.recorder.flush()
        self.journal.save(self.host, {}, self.name.encode())

    def crash(self) -> Half:
        """Die, with all that was not flushed, and come back."""
        self.recorder._shut()
        self.journal.close()
        return Half(self.plan, self.run, self.name, self.epoch + 1)

    def close(self) -> None:
        for each in self.host.nodes.values():
            self.host.call(each, "stop", ())
        self.recorder.close()
        self.journal.close()


class Station:
    """Both halves and the wire between them."""

    def __init__(self, run: Path) -> None:
        self.field, self.house = Half(station(), run, "field"), Half(station(), run, "house")
        self._join()

    def _join(self) -> None:
        port = self.field.host.ports["smoother", "smooth"]
        self.field.host.tap(
            ("smoother", "smooth"),
            lambda message: self.house.take(("smoother", "smooth"), port.sent, port.epoch, message),
        )

    def read(self, second: float, celsius: float) -> None:
        """Let the sensor speak, and both halves commit."""
        now_ns = seconds_to_ns(second)
        for half in (self.field, self.house):
            half.host.call_due(now_ns)
            half.host.clock.now_ns = now_ns
        self.field.host.inject(self.field.host.ports["sensor", "reading"], Reading(celsius, now_ns))
        self.field.commit()
        self.house.commit()

    def crash(self, name: str) -> None:
        """Kill one half, and start it again."""
        setattr(self, name, getattr(self, name).crash())
        if name == "field":
            self._join()

    def close(self) -> None:
        self.field.close()
        self.house.close()
