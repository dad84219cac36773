"""A value derived from other messages by arithmetic that the topology writes down."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from engine import In, Message, Node, Out, param, state
from nodes._lib.expression import parse_expression
from nodes.messages import Value

INPUTS = ("a", "b", "c", "d")


class ExpressionModel(Node):
    """Compute `expression` from fields of the inputs' latest messages, as in `a.price / b.rate`.

    Sent on each message of an input that the expression reads, once all of those have spoken. A result that is not
    finite (1/0, log(-1), overflow) is withheld and counted. The event time is the latest of the inputs'.
    Raises ValueError at the start for an expression that is not allowed, and at an input's first message for a field
    that the message does not have or that is no number.
    """

    a = In(Message, doc="Any message; the expression reads its fields as a.NAME.")
    b = In(Message, optional=True, doc="The same as b.NAME.")
    c = In(Message, optional=True, doc="The same as c.NAME.")
    d = In(Message, optional=True, doc="The same as d.NAME.")
    value = Out(Value, doc="The result.")

    stale_actions = {"withhold": "send nothing until the input speaks again"}  # noqa: RUF012

    expression: str = param(doc="Arithmetic over fields of the inputs, as in a.price; see docs/expressions.md.")
    name: str = param("", doc="Name that the result carries.")

    withheld: int = state(0, doc="Results that were not finite, and therefore not sent.")
    values: list[float | None] = state(factory=list, doc="Last value of each field that is read; none while unknown.")
    unfit: set[int] = state(factory=set, doc="Places among the values of those that are there, but not finite.")
    event_time_ns: int = state(0, doc="Latest event time of the inputs.")

    def start(self) -> None:
        self.formula = parse_expression(self.expression, dict.fromkeys(INPUTS))
        if len(self.values) != len(self.formula.variables):
            self.values = [None] * len(self.formula.variables)
        self.reads: dict[str, list[tuple[int, str]]] = {input: [] for input in INPUTS}
        for index, variable in enumerate(self.formula.variables):
            input, _, field = variable.partition(".")
            self.reads[input].append((index, field))
        self.seen: dict[str, type[Message]] = {}

    def on_a(self, message: Message) -> None:
        self.take("a", message)

    def on_b(self, message: Message) -> None:
        self.take("b", message)

    def on_c(self, message: Message) -> None:
        self.take("c", message)

    def on_d(self, message: Message) -> None:
        self.take("d", message)

    def input_stale(self, name: str, action: str) -> None:
        for index, _ in self.reads[name]:
            self.values[index] = None
            self.unfit.discard(index)

    def take(self, input: str, message: Message) -> None:
        """Keep what the expression reads of an input, and send the result if it can be computed."""
        if not self.reads[input]:
            return
        if self.seen.get(input) is not type(message):
            check_fields(self.expression, input, type(message))
            self.seen[input] = type(message)
        for index, field in self.reads[input]:
            number = as_number(getattr(message, field), f"{input}.{field}")
            fits = math.isfinite(number)
            self.values[index] = number if fits else None
            (self.unfit.discard if fits else self.unfit.add)(index)
        self.event_time_ns = max(self.event_time_ns, getattr(message, "event_time_ns", self.now_ns))
        values = [value for value in self.values if value is not None]
        if len(values) + len(self.unfit) < len(self.values):
            return
        # An input that is no finite number must not become a finite result, as in min(a.price, 1).
        result = math.nan if self.unfit else self.formula(*values)
        if math.isfinite(result):
            self.value(event_time_ns=self.event_time_ns, value=result, name=self.name)
        else:
            self.withheld += 1


def readable_fields(message: type[Message]) -> tuple[str, ...]:
    """Return the fields and properties of a message type, which an expression may read."""
    properties = [
        name
        for base in message.__mro__
        for name, member in vars(base).items()
        if isinstance(member, property) and not name.startswith("_")
    ]
    return (*message.__struct_fields__, *properties)


def check_fields(expression: str, input: str, message: type[Message]) -> None:
    """Raise ExpressionError where the expression reads a field that the message on `input` does not have."""
    names: dict[str, tuple[str, ...] | None] = dict.fromkeys(INPUTS)
    names[input] = readable_fields(message)
    parse_expression(expression, names)


def as_number(value: Any, name: str) -> float:
    """Return a field's value as float; None, a value that is not there now, is NaN. Raise ValueError for others."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{name} is {value!r}, which is no number; an expression computes with numbers only")
    return float(value)
