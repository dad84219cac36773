"""What a client may ask of a supervisor, and the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.process.control_server import Connection, Refused
from engine.process.kill_switch import Round
from engine.process.lifecycle import State
from engine.wire.table import WireTable, wire_name

if TYPE_CHECKING:
    from engine.process.supervisor import Supervisor

Answer = dict[str, Any] | Awaitable[dict[str, Any]]
LONGEST_REASON = 500
GIVEN_UP = (State.PERMANENT, State.FATAL)


class Answers:
    """Answer clients of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._questions: dict[str, Callable[[dict[str, Any], Connection], Answer]] = {
            "status": self._status,
            "plan": self._plan,
            "stop": self._stop,
            "restart": self._restart,
            "halt": self._halt,
            "rearm": self._rearm,
            "tap": self._tap,
            "untap": self._untap,
        }

    def answer(self, question: str, message: dict[str, Any], connection: Connection) -> Answer:
        """Answer a question; raise Refused when it cannot be."""
        if question not in self._questions:
            raise Refused(f"no question {question!r}; there are {', '.join(self._questions)}")
        return self._questions[question](message, connection)

    def _status(self, message: dict[str, Any], connection: Connection) -> Answer:
        return {"status": self._supervisor.status()}

    def _plan(self, message: dict[str, Any], connection: Connection) -> Answer:
        plan = self._supervisor.run.plan
        table = WireTable(plan)
        return {
            "topology": plan.name,
            "processes": {name: list(nodes) for name, nodes in table.processes.items()},
            "nodes": {node.id: {"use": node.use, "outputs": list(node.cls.spec.outputs)} for node in plan.nodes},
            "wires": [
                {
                    "wire": wire_name(wire),
                    "policy": wire.policy.kind,
                    "feedback": wire.feedback,
                    "remote": table.remote(wire),
                }
                for wire in plan.wires
            ],
        }

    def _stop(self, message: dict[str, Any], connection: Connection) -> Answer:
        self._supervisor.stop("a client asks for it", hurry=message.get("hurry") is True)
        return {}

    def _restart(self, message: dict[str, Any], connection: Connection) -> Answer:
        name = _text(message, "process")
        if name not in self._supervisor.fleet.members:
            raise Refused(f"no process {name!r}; there are {', '.join(self._supervisor.fleet.members)}")
        if self._supervisor.fleet.members[name].state in GIVEN_UP:
            raise Refused(
                f"process {name!r} was given up, and the others go on without it until the run is begun again: "
                "`pipeline down`, then `pipeline up --resume`"
            )
        if not self._supervisor.restart(name):
            raise Refused(f"the run is {self._supervisor.fleet.phase}: process {name!r} cannot be restarted now")
        return {}

    def _halt(self, message: dict[str, Any], connection: Connection) -> Answer:
        return self._confirmed(self._supervisor.switch.halt(_text(message, "reason")[:LONGEST_REASON]))

    def _rearm(self, message: dict[str, Any], connection: Connection) -> Answer:
        try:
            return self._confirmed(self._supervisor.switch.rearm())
        except OSError as error:
            raise Refused(f"the run stays halted, because the disk does not take it: {error}") from error

    async def _confirmed(self, order: Round) -> dict[str, Any]:
        """Wait for all processes; those that did not say so, or do not work now, are silent."""
        await order.wait()
        workers = [member.name for member in self._supervisor.fleet.members.values() if member.going or member.alive]
        return {
            "confirmed": sorted(order.confirmed),
            "silent": [name for name in workers if name not in order.confirmed],
        }

    def _tap(self, message: dict[str, Any], connection: Connection) -> Answer:
        ports, per_s, to = message.get("ports"), message.get("per_s"), message.get("to")
        if not isinstance(ports, list) or not ports or not all(isinstance(port, str) for port in ports):
            raise Refused("a tap needs 'ports': a list of NODE.PORT")
        if per_s is not None and (isinstance(per_s, bool) or not isinstance(per_s, int | float) or not per_s > 0):
            raise Refused("'per_s' of a tap is a number above 0")
        if not isinstance(to, str) or not to.startswith(f"ipc://{self._supervisor.run.sockets}/"):
            raise Refused("'to' of a tap is ipc:// and a socket in the run's own folder of sockets")
        return self._supervisor.taps.add(ports, per_s, to, connection)

    def _untap(self, message: dict[str, Any], connection: Connection) -> Answer:
        self._supervisor.taps.remove(connection)
        return {}


def _text(message: dict[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f"{key!r} is missing or is no text")
    return value
