"""What node types there are, and a page about each: read from the classes, written by nobody."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.registry import UnknownType, node_class, type_names
from engine.spec import In, NodeSpec, Out, ParamSpec

UNITLESS = ("", "1")
EXAMPLE = re.compile(r"\bas in ([^\s,;]+?)[.,;]?(?:\s|$)")
"""A doc may hold an example of a text, `as in THIS`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One node type. `spec` is None where the type cannot be used here; `reason` says why."""

    name: str
    spec: NodeSpec | None
    reason: str = ""

    @property
    def title(self) -> str:
        """First line of the class's docstring."""
        return self.spec.doc.partition("\n")[0] if self.spec else f"cannot be used here: {self.reason}"

    @property
    def role(self) -> str:
        """Return what the runtime does with it: `history`, `driver` or `reactor`."""
        if self.spec is None:
            return "unusable"
        return "history" if self.spec.is_history else "driver" if self.spec.is_driver else "reactor"


def entries() -> Iterator[Entry]:
    """Yield every node type by name, also those that cannot be imported here."""
    for name in type_names():
        try:
            yield Entry(name, node_class(name).spec)
        except UnknownType:
            continue  # a file that helps other nodes
        except Exception as error:  # noqa: BLE001  a node file is foreign code: its import may raise anything
            yield Entry(name, None, str(error))


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain values, for `--json`."""
    spec = entry.spec
    if spec is None:
        return {"name": entry.name, "role": entry.role, "reason": entry.reason}
    return {
        "name": entry.name,
        "role": entry.role,
        "doc": spec.doc,
        "inputs": {name: _input_facts(port) for name, port in spec.inputs.items()},
        "outputs": {
            name: {"message": port.message.__name__, "doc": port.doc, "optional": port.optional}
            for name, port in spec.outputs.items()
        },
        "params": spec.params_schema()["properties"],
        "required": spec.params_schema()["required"],
        "stale_actions": dict(spec.stale_actions),
        "state": {name: field.doc for name, field in spec.state.items()},
    }


def _input_facts(port: In) -> dict[str, Any]:
    return {
        "message": port.message.__name__,
        "doc": port.doc,
        "policy": port.policy,
        "by": port.by,
        "n": port.n,
        "refuses": list(port.refuses),
        "optional": port.optional,
        "many": port.many,
        "critical": port.critical,
    }


def input_traits(port: In) -> str:
    """Return an input's message, policy and flags in words, as `Level, conflate by source, optional`."""
    policy = str(port.policy)
    if port.by:
        policy += f" by {port.by}"
    if port.n:
        policy += f" {port.n}"
    flags = [word for word in ("optional", "many", "critical") if getattr(port, word)]
    refuses = [f"refuses {', '.join(port.refuses)}"] if port.refuses else []
    return ", ".join([port.message.__name__, policy, *flags, *refuses])


def output_traits(port: Out) -> str:
    """Return an output's message and flags in words."""
    return port.message.__name__ + (", optional" if port.optional else "")


def param_traits(param: ParamSpec) -> str:
    """Return a parameter's type, unit, bounds and default in words, as `float in s, above 0; default 300.0`."""
    words = "one of " + ", ".join(map(str, param.enum)) if param.enum else type_text(param.type)
    if param.unit not in UNITLESS:
        words += f" in {param.unit}"
    signs = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    for word, bound in param.bounds.items():
        words += f", {signs[word]} {bound:g}"
    words += "; required" if param.required else f"; default {default_text(param)}"
    return words + ("; secret" if param.secret else "")


def default_text(param: ParamSpec) -> str:
    """Return the default as a topology would write it."""
    value = msgspec.to_builtins(param.default, builtin_types=(Decimal,))
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.12g}" if "e" not in f"{value:.12g}" or value == 0 else f"{value:g}"
    return str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()


def type_text(kind: Any) -> str:
    """Return a type in short words, as `int`, `list of str` or `float or null`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is type(None):
        return "null"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(part) for part in arguments)
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_text(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is typing.Annotated:
        return type_text(arguments[0])
    return getattr(kind, "__name__", str(kind))


def example(name: str, spec: NodeSpec) -> str:
    """Return the lines of a topology that use this type, with its needed inputs and all its parameters."""
    node_id = name.rpartition(".")[2]
    lines = ["nodes:", f"  {node_id}:", f"    use: {name}"]
    wanted = {key: port for key, port in spec.inputs.items() if not port.optional}
    if wanted:
        lines.append("    in:")
        lines += [f"      {key}: writer.output   # {port.message.__name__}" for key, port in wanted.items()]
    if spec.params:
        lines.append("    params:")
        for key, param in spec.params.items():
            value = example_text(param) if param.required or param.secret else default_text(param)
            lines.append(f"      {key}: {value}")
    return "\n".join(lines)


def example_text(param: ParamSpec) -> str:
    """Return a value that fits the parameter, as a topology would write it."""
    if param.secret:
        return f"${{secret:{param.name.upper()}}}"
    return msgspec.json.encode(example_value(param)).decode()


def example_value(param: ParamSpec) -> Any:
    """Return a plain value that the parameter accepts: its default, or one made from its type and bounds."""
    if not param.required:
        return msgspec.to_builtins(param.default)
    if param.enum:
        return param.enum[0]
    return _example_of(param.type, param)


def _example_of(kind: Any, param: ParamSpec) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in arguments else _example_of(arguments[0], param)
    if origin is typing.Annotated:
        return _example_of(arguments[0], param)
    if origin in (list, tuple, set, frozenset):
        fixed = origin is tuple and arguments[1:] != (...,)
        return [_example_of(part, param) for part in (arguments if fixed else arguments[:1])]
    if origin is dict:
        return {}
    if kind is bool:
        return False
    if kind in (int, float, Decimal):
        number = _number_within(param)
        return round(number) if kind is int else number
    if kind is str:
        return _text_for(param)
    raise TypeError(f"param {param.name!r}: no example is known for the type {type_text(kind)}")


def _number_within(param: ParamSpec) -> float:
    low = param.bounds.get("minimum", param.bounds.get("exclusiveMinimum"))
    high = param.bounds.get("maximum", param.bounds.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return low + 1
    return 1.0 if high is None else high - 1


def _text_for(param: ParamSpec) -> str:
    written = EXAMPLE.search(param.doc)
    if written:
        return written[1]
    return f"{param.name}.data" if param.path else param.name.upper()
