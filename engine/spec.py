"""A node's declaration: parameters, ports and state, read once from the class and used by everything else.

The checker, `schemas/`, the catalogue, `pipeline nodes show`, defaults, secret masking and the contract tests all read
the `NodeSpec` built here. Nobody writes a second copy.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

import msgspec

from engine.message import Message

MISSING: Any = msgspec.UNSET
RESERVED_HANDLERS = frozenset({"input_stale", "input_closed", "input_recovered", "start", "stop", "run", "history"})


@dataclass(slots=True)
class In:
    """Declare an input port.

    `policy`, `by` and `n` are the default delivery policy of a wire that ends here; `refuses` lists the policies that
    a topology may not choose instead. `optional` inputs may stay open; `many` inputs take several writers, delivered
    in declared order when their times tie. `critical` says that deciding on a silent input is dangerous, so that the
    topology has to declare what happens when it is stale. `tags` are free facts for graph rules of node packages.
    """

    message: type[Message]
    policy: Literal["block", "conflate", "drop_oldest", "reliable"] | None = None
    doc: str = ""
    by: str | None = None
    n: int | None = None
    refuses: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False
    critical: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if self.policy is None:
            self.policy = "reliable" if self.message.delivery == "reliable" else "block"


@dataclass(slots=True)
class Out:
    """Declare an output port. On a live node the attribute is a function that sends one message: `self.value(...)`.

    `optional` outputs may stay unread without a warning. `tags` are free facts for graph rules of node packages.
    """

    message: type[Message]
    doc: str = ""
    optional: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __call__(self, **fields: Any) -> None:
        """Send one message, given by its fields."""
        raise TypeError(f"output {self.name!r} belongs to a class; only a node in a host can send")

    def whole(self, message: Message) -> None:
        """Send a message that is already made."""
        self(message=message)


@dataclass(slots=True)
class ParamSpec:
    """One declared parameter: its type, default, unit, bounds and meaning."""

    type: Any
    default: Any
    doc: str
    unit: str = ""
    secret: bool = False
    path: bool = False
    enum: tuple[Any, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def convert(self, value: Any) -> Any:
        """Return `value` in the parameter's type; raise ValueError with the reason when it does not fit."""
        if self.enum and isinstance(value, str) and all(isinstance(one, str) for one in self.enum):
            self._check_choice(value)
        try:
            result = msgspec.convert(_decimal_text(value, self.type), self.type, strict=True)
        except msgspec.ValidationError as error:
            raise ValueError(f"{_plain(str(error))}, got {_written(value)}") from None
        for number in _numbers(result):
            if not math.isfinite(number):
                raise ValueError(f"needs a finite number, got {value!r}")
            for word, (compare, text) in _BOUNDS.items():
                if word in self.bounds and not compare(number, type(number)(self.bounds[word])):
                    raise ValueError(f"must be {text} {self.bounds[word]:g}, got {value!r}")
        self._check_choice(result)
        return result

    def _check_choice(self, value: Any) -> None:
        if self.enum and value not in self.enum:
            raise ValueError(f"must be one of {', '.join(map(str, self.enum))}, got {_written(value)}")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameter."""
        result: dict[str, Any] = msgspec.json.schema(self.type)
        if result.get("format") == "decimal":
            result = {"type": ["number", "string"]}
        result["description"] = f"{self.doc} [{self.unit}]" if self.unit else self.doc
        if self.enum:
            result["enum"] = list(self.enum)
        result.update({word: bound for word, bound in self.bounds.items() if word in _BOUNDS})
        if self.unit:
            result["unit"] = self.unit
            if result.get("type") in ("number", "integer"):
                result["type"] = [result["type"], "string"]
        if not self.required:
            result["default"] = msgspec.to_builtins(self.default)
        return result


_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda a, b: bool(a >= b), "at least"),
    "maximum": (lambda a, b: bool(a <= b), "at most"),
    "exclusiveMinimum": (lambda a, b: bool(a > b), "above"),
    "exclusiveMaximum": (lambda a, b: bool(a < b), "below"),
}


def _plain(text: str) -> str:
    wanted = text.removeprefix("Expected ").replace(" - at `$`", "").split(", got")[0].replace("`", "")
    return "needs " + " or ".join(_WORDS.get(word, word) for word in wanted.split(" | "))


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def _written(value: Any) -> str:
    """Return a value as a topology writes it: `true`, `null`, text in quotes."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _decimal_text(value: Any, kind: Any) -> Any:
    # A YAML number becomes a Decimal through its shortest text, never through binary digits.
    if kind is Decimal and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float | Decimal):
        return [value]
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    return []


def param(
    default: Any = MISSING,
    *,
    doc: str,
    unit: str = "",
    secret: bool = False,
    path: bool = False,
    enum: tuple[Any, ...] = (),
    **bounds: float,
) -> Any:
    """Declare a parameter; its type is the attribute's annotation.

    `unit` is the unit of the number (`s`, `bps`, `1/quote`, ...; a topology may write `5m` for a parameter in s).
    `path` marks a file path, taken relative to the file in which it is written. Bounds are JSON Schema's words:
    minimum, maximum, exclusiveMinimum, exclusiveMaximum.
    """
    unknown = set(bounds) - set(_BOUNDS)
    if unknown:
        raise TypeError(f"param() knows the bounds {', '.join(_BOUNDS)}, not {', '.join(sorted(unknown))}")
    return ParamSpec(type=None, default=default, doc=doc, unit=unit, secret=secret, path=path, enum=enum, bounds=bounds)


@dataclass(slots=True)
class StateSpec:
    """One declared field of state that survives a restart."""

    type: Any
    default: Any
    factory: Callable[[], Any] | None
    doc: str
    name: str = ""

    def fresh(self) -> Any:
        return self.factory() if self.factory else self.default


def state(default: Any = MISSING, *, factory: Callable[[], Any] | None = None, doc: str) -> Any:
    """Declare a field of state. The engine journals it and gives it back after a restart.

    Its type is the annotation and must be one that msgspec can encode. Raise the class's `state_version` when its
    meaning changes, and write `migrate(version, fields)`.
    """
    if (default is MISSING) == (factory is None):
        raise TypeError("state() needs either a default or a factory")
    return StateSpec(type=None, default=default, factory=factory, doc=doc)


@dataclass(slots=True)
class MetricSpec:
    """One declared gauge: a number that a node shows while it runs."""

    doc: str
    unit: str = ""
    name: str = ""


def metric(*, doc: str, unit: str = "") -> Any:
    """Declare a gauge. The node assigns a number to it; None, as at the start, means not known."""
    return MetricSpec(doc=doc, unit=unit)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """All that a node class declares."""

    doc: str
    params: dict[str, ParamSpec]
    inputs: dict[str, In]
    outputs: dict[str, Out]
    state: dict[str, StateSpec]
    state_version: int
    stale_actions: Mapping[str, str]
    is_driver: bool
    is_history: bool
    metrics: dict[str, MetricSpec]

    def params_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the node's `params:` mapping."""
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: spec.schema() for name, spec in self.params.items()},
            "required": [name for name, spec in self.params.items() if spec.required],
        }


def read_spec(cls: type) -> NodeSpec:
    """Build the spec of a node class; raise TypeError naming what is wrong with the class."""
    hints = _hints(cls)
    params: dict[str, ParamSpec] = {}
    inputs: dict[str, In] = {}
    outputs: dict[str, Out] = {}
    fields: dict[str, StateSpec] = {}
    metrics: dict[str, MetricSpec] = {}
    for name, value in _declared(cls).items():
        if not isinstance(value, In | Out | ParamSpec | StateSpec | MetricSpec):
            continue
        value.name = name
        if isinstance(value, In):
            inputs[name] = value
            if not callable(getattr(cls, f"on_{name}", None)):
                raise TypeError(f"{cls.__qualname__}: input {name!r} has no handler; write on_{name}(self, message)")
        elif isinstance(value, Out):
            outputs[name] = value
        elif isinstance(value, MetricSpec):
            metrics[name] = value
        else:
            if name not in hints:
                raise TypeError(f"{cls.__qualname__}: annotate {name!r} with its type, as in `{name}: float = ...`")
            value.type = hints[name]
            if isinstance(value, ParamSpec):
                params[name] = _with_literals(value)
            else:
                fields[name] = value
    for name, member in inspect.getmembers(cls, callable):
        if name.startswith("on_") and name[3:] not in inputs and not getattr(member, "is_timer", False):
            near = f" (inputs: {', '.join(inputs) or 'none'})"
            raise TypeError(f"{cls.__qualname__}: {name} handles no declared input{near}; timers carry another name")
    doc = inspect.getdoc(cls) or ""
    return NodeSpec(
        doc=doc,
        params=params,
        inputs=inputs,
        outputs=outputs,
        state=fields,
        state_version=getattr(cls, "state_version", 1),
        stale_actions=getattr(cls, "stale_actions", {}),
        is_driver=inspect.iscoroutinefunction(getattr(cls, "run", None)),
        is_history=callable(getattr(cls, "history", None)),
        metrics=metrics,
    )


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise TypeError(f"{cls.__qualname__}: an annotation cannot be read: {error}") from None


def _declared(cls: type) -> dict[str, Any]:
    # Declarations of a base are in its spec: `Node` takes them off the class once they are read.
    result: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        spec = vars(base).get("spec")
        if isinstance(spec, NodeSpec):
            for part in (spec.inputs, spec.outputs, spec.params, spec.state, spec.metrics):
                result.update({name: copy(value) for name, value in part.items()})
        result.update(vars(base))
    return result


def take_off(cls: type) -> None:
    """Remove the declarations from the class itself.

    An attribute of an instance that has a namesake on the class is found the slow way by CPython (a fifth of a
    handler's time was measured to go there), and a declaration is of no use to an instance.
    """
    for name, value in list(vars(cls).items()):
        if isinstance(value, In | Out | ParamSpec | StateSpec | MetricSpec):
            delattr(cls, name)


def _with_literals(spec: ParamSpec) -> ParamSpec:
    if get_origin(spec.type) is Literal and not spec.enum:
        spec.enum = get_args(spec.type)
    return spec
