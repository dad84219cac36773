"""The flat topology: what is left when includes, loops, overlays and parameters are resolved.

Everything after expansion (checks, plan, drawing, runs) reads these records and nothing else. Each record carries
`place`, where it was written, and `used`, the chain of places (includes, loops) through which it came to be here,
outermost first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal

from engine.errors import Place

PolicyKind = Literal["block", "conflate", "drop_oldest", "reliable"]
POLICY_KINDS: tuple[PolicyKind, ...] = ("block", "conflate", "drop_oldest", "reliable")
LOSSY_KINDS = frozenset({"conflate", "drop_oldest"})
LOOPBACK_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a thing was written, and through which includes or loops it was used (outermost first)."""

    place: Place
    used: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a parameter as plain Python data, with its origin.

    `value` is str, int, float, bool, None, list or dict. `secret` is set when a `${secret:X}` went into it: then
    `value` is a `SecretRef` (or a container of them) until start, and it prints as `***`.
    `places` maps paths inside the value ("levels.0.size") to their own places. `unit` is that of the topology's
    parameter through which the whole value came, "" where there is none; `units` has, by path, those of what is
    inside.
    """

    value: Any
    origin: Origin
    secret: bool = False
    places: dict[str, Place] = field(default_factory=dict, compare=False)
    unit: str = field(default="", compare=False)
    units: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret by name; resolved at start only, never printed, never on disk."""

    name: str

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class SecretText:
    """Text with secrets in it, as in `https://node.example/${secret:KEY}`; resolved at start like a `SecretRef`."""

    parts: tuple[str | SecretRef, ...]

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Secret(str):
    """A resolved secret. It is text to whoever uses it, and `***` in a repr; YAML and JSON writers refuse it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class OnStale:
    """What a reader is told when an input is silent: `after_s` seconds without a message, then `action`."""

    after_s: float
    action: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Delivery policy of one wire. Fields that were not written are None and come from the port's default."""

    kind: PolicyKind | None = None
    by: str | None = None
    n: int | None = None
    ttl_s: float | None = None
    on_stale: OnStale | None = None


@dataclass(frozen=True, slots=True)
class PortRef:
    """`node.port` of a node, or `hub:name/topic`."""

    node: str
    port: str
    hub: bool = False

    def __str__(self) -> str:
        return f"hub:{self.node}/{self.port}" if self.hub else f"{self.node}.{self.port}"


@dataclass(frozen=True, slots=True)
class Wire:
    """One output port → input port. `rank` is the place among several writers of the same input (ties go by it)."""

    source: PortRef
    target: PortRef
    policy: Policy
    rank: int
    origin: Origin
    feedback: bool = False


@dataclass(frozen=True, slots=True)
class NodeDecl:
    """One node of the flat graph."""

    id: str
    use: str
    params: dict[str, Setting]
    origin: Origin
    use_origin: Origin
    about: str = ""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where something listens: a numeric address of a machine (IPv6 without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class HubDecl:
    """A named meeting point: publishers connect to the `publish` ports, subscribers to the `subscribe` port.

    Its ports are open on the address `listen` of `machine`; no machine is the one of whatever names none. `outside`
    are the topics that programs outside the topology may publish.
    """

    name: str
    publish: tuple[int, ...]
    subscribe: int
    codec: Literal["msgpack", "json"]
    origin: Origin
    listen: str | None = None
    machine: str | None = None
    outside: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return self.listen or LOOPBACK_HOST


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart policy of a process: at most `max` restarts within `window_s`, and what becomes of the run `then`."""

    policy: Literal["never", "on_failure", "always"] = "on_failure"
    max: int = 5
    window_s: float = 600.0
    then: Literal["halt", "stop", "go_on"] = "halt"


@dataclass(frozen=True, slots=True)
class ProcessDecl:
    """One OS process and the nodes it hosts (ids; patterns are already expanded).

    `files` is a limit of open files. A process that is not up within `start_timeout_s`, or gives no sign of life for
    `liveness_s`, has failed; where None, the supervisor's own settings hold. Processes of another `machine` reach it
    at `listen`; no machine is the one of whatever names none.
    """

    name: str
    nodes: tuple[str, ...]
    origin: Origin
    restart: Restart = Restart()
    memory_bytes: int | None = None
    cpus: float | None = None
    patterns: tuple[tuple[str, Place], ...] = ()
    files: int | None = None
    start_timeout_s: float | None = None
    liveness_s: float | None = None
    listen: TcpAddress | None = None
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What processes write into their logs: from `level` up; `keep` full files of `size_bytes` stay beside the last."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    size_bytes: int = 16 << 20
    keep: int = 5


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run in processes goes.

    `speed` is how many seconds of a history pass in one second; None was not written and means 1. Recording and logs
    stop growing while less than `free_disk_bytes` are free on the disk, or when the run's folder holds `disk_bytes`;
    when all runs beside it hold more than `keep_runs_bytes`, the oldest lose their recordings and logs. `keys` is the
    folder of the keys by which processes of two machines know each other, from the root.
    """

    speed: float | None = None
    record: bool = True
    free_disk_bytes: int = 500 << 20
    disk_bytes: int | None = None
    keep_runs_bytes: int | None = None
    log: LogOptions = LogOptions()
    keys: str | None = None
    origin: Origin = field(default=Origin(Place("", 1, 1)), compare=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """A named set of parameter changes; a backtest runs each beside the base so that a report can compare them."""

    name: str
    about: str
    set: dict[str, Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Topology:
    """The flat graph.

    `wires` holds every input connection, and every `out:` to a hub as a wire whose target is the hub.
    `files` lists every file that went in, with its text (for carets in errors and for the run's own record).
    """

    name: str
    about: str
    origin: Origin
    params: dict[str, Setting]
    nodes: dict[str, NodeDecl]
    wires: tuple[Wire, ...]
    hubs: dict[str, HubDecl]
    processes: dict[str, ProcessDecl]
    feedback: tuple[tuple[PortRef, PortRef, Origin], ...]
    variants: dict[str, Variant] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    run: RunOptions = RunOptions()
